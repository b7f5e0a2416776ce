//! From measurements to the table: a ratio per round first, then the median of the ratios.

use super::Findings;
use crate::measurement::{Measurement, Mode, noise};
use crate::peer::{COVET, REFERENCE};
use crate::proof::Proof;
use crate::report::{mebibytes, median, spread, table};
use crate::wanting::Wanting;

/// The report: a table per mode, what more cores cost, and what runs in each server.
pub(super) fn markdown(findings: &Findings) -> String {
    let mut text = String::new();
    for mode in &findings.modes {
        let head = [
            "server and route",
            "CPU µs/request",
            "× raw hyper (lowest–highest round)",
            "requests/s",
            "× raw hyper",
            "p50 µs",
            "p99 µs",
            "RSS MiB",
        ];
        text += &format!("**{}**\n\n{}\n", mode.describe(findings.rounds), table(&head, &rows(findings, mode)));
    }
    text += &flatness(findings);
    for entrant in &findings.entrants {
        text += &format!("- `{}`: {}.\n", entrant.server, entrant.what);
    }
    text + &format!(
        "\n{}. Medians; other processes used at most {:.0} % of a core during a measurement.{}\n",
        findings.machine.line(),
        noise(&findings.measurements),
        books(findings)
    )
}

/// What a request costs on all cores over what it costs on one, where both were measured.
fn flatness(findings: &Findings) -> String {
    let [one, all] = findings.modes.as_slice() else { return String::new() };
    let rows: Vec<_> = servers(findings)
        .into_iter()
        .map(|server| {
            let routes = findings.routes.iter().map(|route| {
                spread(&over_modes(findings, one.name, all.name, route.pattern, server))
                    .unwrap_or_else(|| "–".to_owned())
            });
            [server.to_owned()].into_iter().chain(routes).collect()
        })
        .collect();
    let head = ["server", findings.routes[0].pattern, findings.routes[1].pattern];
    let cores = findings.machine.cores;
    format!("**CPU time per request on {cores} cores over that on one, within a round**\n\n{}\n", table(&head, &rows))
}

/// Of each round: the second mode's CPU time per request over the first mode's.
fn over_modes(findings: &Findings, first: &str, second: &str, route: &str, server: &str) -> Vec<f64> {
    select(findings, second, route, server)
        .filter_map(|one| {
            let other = select(findings, first, route, server).find(|other| other.round == one.round)?;
            Some(one.cpu_us_per_request / other.cpu_us_per_request)
        })
        .collect()
}

/// What the servers' own books hold, added up over all measurements and their warm-ups.
fn books(findings: &Findings) -> String {
    let mut text = String::new();
    for server in servers(findings) {
        let of_server = findings.measurements.iter().filter(|one| one.server == server);
        let proofs: Vec<_> = of_server.filter_map(|one| one.proof).collect();
        if proofs.is_empty() {
            continue;
        }
        let sum = |value: fn(&Proof) -> u64| proofs.iter().map(value).sum::<u64>();
        text += &format!(
            " {server} counted {} requests, logged {} lines, dropped {}, exported {} traces.",
            sum(|proof| proof.counted),
            sum(|proof| proof.logged),
            sum(|proof| proof.dropped),
            sum(|proof| proof.traces),
        );
    }
    text
}

/// In the order of a round.
fn servers(findings: &Findings) -> Vec<&str> {
    findings.entrants.iter().map(|entrant| entrant.server.as_str()).collect()
}

/// Compares Covet with its budget on one core, route by route.
///
/// # Errors
/// [`Wanting`] when it is exceeded; another error when Covet or the reference was not measured.
pub(super) fn check_budget(findings: &Findings, budget: f64) -> anyhow::Result<()> {
    let mut exceeded = Vec::new();
    for route in findings.routes {
        let ratios = ratios(findings, "one core", route.pattern, COVET, |one| one.cpu_us_per_request);
        let ratio = median(ratios).ok_or_else(|| {
            anyhow::anyhow!("--budget needs {COVET} and {REFERENCE} measured on one core; one of them was left out")
        })?;
        if ratio > budget {
            exceeded.push(format!("{} {ratio:.2} ×", route.pattern));
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(Wanting::error(format!("{COVET} costs more than {budget:.2} × {REFERENCE}: {}", exceeded.join(", "))))
}

fn rows(findings: &Findings, mode: &Mode) -> Vec<Vec<String>> {
    let of_route = |route| servers(findings).into_iter().map(move |server| row(findings, mode.name, route, server));
    findings.routes.iter().flat_map(|route| of_route(route.pattern)).collect()
}

fn row(findings: &Findings, mode: &str, route: &str, server: &str) -> Vec<String> {
    let of = |value: fn(&Measurement) -> f64| {
        median(select(findings, mode, route, server).map(value)).map_or(f64::NAN, |middle| middle)
    };
    let cpu_ratios = ratios(findings, mode, route, server, |one| one.cpu_us_per_request);
    let rate_ratios = ratios(findings, mode, route, server, |one| one.requests_per_second);
    vec![
        format!("{server} `{route}`"),
        format!("{:.2}", of(|one| one.cpu_us_per_request)),
        spread(&cpu_ratios).unwrap_or_else(|| "–".to_owned()),
        format!("{:.0}", of(|one| one.requests_per_second)),
        median(rate_ratios).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        format!("{:.0}", of(|one| one.p50_us)),
        format!("{:.0}", of(|one| one.p99_us)),
        format!("{:.1}", of(|one| mebibytes(one.resident_bytes))),
    ]
}

fn select<'a>(
    findings: &'a Findings,
    mode: &'a str,
    route: &'a str,
    server: &'a str,
) -> impl Iterator<Item = &'a Measurement> {
    findings.measurements.iter().filter(move |one| one.mode == mode && one.route == route && one.server == server)
}

/// Of each round in which both were measured: this server's value over the reference's.
fn ratios(findings: &Findings, mode: &str, route: &str, server: &str, value: fn(&Measurement) -> f64) -> Vec<f64> {
    select(findings, mode, route, server)
        .filter_map(|one| {
            let reference = select(findings, mode, route, REFERENCE).find(|other| other.round == one.round)?;
            Some(value(one) / value(reference))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{check_budget, markdown, ratios};
    use crate::commands::http::Findings;
    use crate::machine::Machine;
    use crate::measurement::{Measurement, Mode};
    use crate::peer::Entrant;
    use crate::report::median;
    use crate::route::ROUTES;
    use crate::wanting::Wanting;

    fn measurement(server: &str, round: u32, route: &'static str, cpu: f64) -> Measurement {
        Measurement {
            mode: "one core",
            round,
            route,
            server: server.to_owned(),
            requests: 1000,
            cpu_us_per_request: cpu,
            database_cpu_us_per_request: None,
            requests_per_second: 1e6 / cpu,
            p50_us: 100.0,
            p99_us: 200.0,
            resident_bytes: 5 << 20,
            strangers_percent: 0.0,
            proof: None,
        }
    }

    /// Three rounds on a machine that becomes slower and slower: Covet always costs 1.2 × the reference of its round.
    fn findings() -> Findings {
        let mut measurements = Vec::new();
        for (round, reference) in [(1, 5.0), (2, 10.0), (3, 7.0)] {
            for route in ROUTES {
                measurements.push(measurement("raw-hyper", round, route.pattern, reference));
                measurements.push(measurement("covet", round, route.pattern, reference * 1.2));
            }
        }
        let entrant = |server: &str| Entrant { server: server.to_owned(), what: "what it does" };
        Findings {
            schema: "test",
            machine: Machine::look().unwrap(),
            rounds: 3,
            modes: vec![Mode::one_core(8)],
            routes: ROUTES,
            entrants: vec![entrant("raw-hyper"), entrant("covet")],
            measurements,
        }
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let ratios = ratios(&findings(), "one core", "/json", "covet", |one| one.cpu_us_per_request);
        assert_eq!(ratios.len(), 3);
        assert!((median(ratios).unwrap() - 1.2).abs() < 1e-9);
    }

    #[test]
    fn a_round_without_the_reference_has_no_ratio() {
        let mut findings = findings();
        findings.measurements.retain(|one| one.server != "raw-hyper");
        assert!(ratios(&findings, "one core", "/json", "covet", |one| one.cpu_us_per_request).is_empty());
        assert!(!check_budget(&findings, 9.0).unwrap_err().is::<Wanting>());
    }

    #[test]
    fn every_server_and_route_has_a_row() {
        let text = markdown(&findings());
        assert!(text.contains("| covet `/json` | 8.40 | **1.20** | 119048 | 0.83 | 100 | 200 | 5.0 |"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 5, "{text}");
        assert!(text.contains("- `covet`: what it does.\n"), "{text}");
    }

    #[test]
    fn what_more_cores_cost_is_told_where_both_were_measured() {
        let mut findings = findings();
        assert!(!markdown(&findings).contains("over that on one"));
        findings.modes.push(Mode::all_cores(8, &findings.machine));
        let more = findings.measurements.clone();
        findings.measurements.extend(more.into_iter().map(|one| {
            let cpu_us_per_request = one.cpu_us_per_request * if one.server == "covet" { 1.5 } else { 1.0 };
            Measurement { mode: "all cores", cpu_us_per_request, ..one }
        }));
        let text = markdown(&findings);
        assert!(text.contains("| covet | **1.50** | **1.50** |\n"), "{text}");
        assert!(text.contains("| raw-hyper | **1.00** | **1.00** |\n"), "{text}");
    }

    #[test]
    fn a_budget_is_kept_or_wanting() {
        assert!(check_budget(&findings(), 1.21).is_ok());
        assert!(check_budget(&findings(), 1.19).unwrap_err().is::<Wanting>());
    }
}
