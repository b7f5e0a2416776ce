//! From measurements to the table: a ratio per round first, then the median of the ratios.

use super::{Findings, Measurement, Mode};
use crate::peer::{COVET, REFERENCE};
use crate::report::{mebibytes, median, table};
use crate::wanting::Wanting;

/// The report, one table per mode.
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
        text += &format!("**{}**\n\n{}\n", describe(mode, findings.rounds), table(&head, &rows(findings, mode)));
    }
    text + &format!(
        "{}. Medians; other processes used at most {:.0} % of a core during a measurement.{}\n",
        findings.machine.line(),
        noise(findings),
        books(findings)
    )
}

/// Whether Covet's counters and log held all that was measured.
fn books(findings: &Findings) -> String {
    let proofs: Vec<_> = findings.measurements.iter().filter_map(|one| one.proof).collect();
    if proofs.is_empty() {
        return String::new();
    }
    let dropped: u64 = proofs.iter().map(|proof| proof.dropped).sum();
    let lines: u64 = proofs.iter().map(|proof| proof.logged + proof.dropped).sum();
    format!(
        " Covet counted and logged every request; its log writer gave up {dropped} of {lines} lines and counted them too."
    )
}

/// The largest share of one core that strangers used during a measurement, in percent.
pub(super) fn noise(findings: &Findings) -> f64 {
    findings.measurements.iter().map(|one| one.strangers_percent).fold(0.0, f64::max)
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

fn describe(mode: &Mode, rounds: u32) -> String {
    let placed = match (mode.server_core, mode.load.core) {
        (Some(server), Some(load)) => format!("One core: server on core {server}, wrk on core {load}"),
        _ => "All cores: nothing bound".to_owned(),
    };
    let (workers, threads) = (mode.workers, mode.load.threads);
    let (connections, seconds) = (mode.load.connections, mode.load.seconds);
    let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    format!("{placed}; {workers}, `wrk -t{threads} -c{connections}`, rounds of {seconds} s: {rounds}, interleaved")
}

fn rows(findings: &Findings, mode: &Mode) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for route in findings.routes {
        let mut servers: Vec<&str> = Vec::new();
        for one in &findings.measurements {
            if !servers.contains(&one.server.as_str()) {
                servers.push(&one.server);
            }
        }
        rows.extend(servers.into_iter().map(|server| row(findings, mode.name, route.pattern, server)));
    }
    rows
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
        spread(&cpu_ratios),
        format!("{:.0}", of(|one| one.requests_per_second)),
        median(rate_ratios).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        format!("{:.0}", of(|one| one.p50_us)),
        format!("{:.0}", of(|one| one.p99_us)),
        format!("{:.1}", of(|one| mebibytes(one.resident_bytes))),
    ]
}

/// The median and, for more than one different value, the range.
fn spread(ratios: &[f64]) -> String {
    let Some(middle) = median(ratios.iter().copied()) else { return "–".to_owned() };
    let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if format!("{lowest:.2}") == format!("{highest:.2}") {
        format!("**{middle:.2}**")
    } else {
        format!("**{middle:.2}** ({lowest:.2}–{highest:.2})")
    }
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
    use crate::commands::http::{Findings, Measurement, Mode};
    use crate::load::Load;
    use crate::machine::Machine;
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
        let load = Load { threads: 1, connections: 64, seconds: 8, core: Some(1) };
        Findings {
            schema: "test",
            machine: Machine::look().unwrap(),
            rounds: 3,
            modes: vec![Mode { name: "one core", workers: 1, server_core: Some(0), load }],
            routes: ROUTES,
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
    }

    #[test]
    fn a_budget_is_kept_or_wanting() {
        assert!(check_budget(&findings(), 1.21).is_ok());
        assert!(check_budget(&findings(), 1.19).unwrap_err().is::<Wanting>());
    }
}
