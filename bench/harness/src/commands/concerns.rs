//! `harness concerns`: what each thing that Covet does for a request costs.
//!
//! What a setting switches off is switched off, one at a time, and CPU time is compared within a round. What is always on
//! cannot be taken away, so its instructions are counted in the one program that is measured ([`attribution`]); which
//! functions those are stands in [`groups`].
//!
//! Both with the request of a browser's page behind a proxy ([`BROWSER`]), on one route: a concern that a request does not
//! ask for costs next to nothing, and what it costs does not depend on the route.

mod attribution;
mod groups;

use clap::Args;
use serde::Serialize;

use self::groups::GROUPS;
use crate::callgrind::{self, Life};
use crate::interrupt::Interrupt;
use crate::load;
use crate::machine::Machine;
use crate::measurement::{Bench, Measurement, Mode, noise, warn_of_noise};
use crate::peer::{COVET, Contestant, REFERENCE};
use crate::report::{Outputs, median, spread, table};
use crate::route::{ROUTES, Route};
use crate::span_receiver::SpanReceiver;
use crate::terminal;
use crate::verification::{BROWSER, Duties, Forwarded, RateLimit};

const ROUTE: &Route = &ROUTES[0];
const EVERYTHING: &str = "everything on";
const NOTHING: &str = "all of these off";
/// What a service that stands behind a proxy is told.
const TRUSTED_PROXIES: (&str, &str) = ("COVET_HTTP__TRUSTED_PROXIES", "127.0.0.0/8");

/// Something that a setting switches off.
struct Switch {
    concern: &'static str,
    setting: (&'static str, &'static str),
    /// What is then not done any more.
    off: fn(Duties) -> Duties,
}

const SWITCHES: &[Switch] = &[
    Switch {
        concern: "access line",
        setting: ("LOG_LEVEL", "info,covet.api=warn"),
        off: |duties| Duties { access_line: false, ..duties },
    },
    Switch {
        concern: "traces",
        setting: ("OTEL_SDK_DISABLED", "true"),
        off: |duties| Duties { traces: false, ..duties },
    },
    Switch {
        concern: "security headers",
        setting: ("COVET_SECURITY_HEADERS__PRESET", "off"),
        off: |duties| Duties { security_headers: false, ..duties },
    },
    Switch {
        concern: "CORS",
        setting: ("COVET_CORS__ALLOWED_ORIGINS", ""),
        off: |duties| Duties { cors: false, ..duties },
    },
    Switch {
        concern: "compression",
        setting: ("COVET_HTTP__COMPRESSION", "false"),
        off: |duties| Duties { compression: false, ..duties },
    },
    Switch {
        concern: "rate limit",
        setting: ("COVET_RATE_LIMIT__ENABLED", "false"),
        off: |duties| Duties { rate_limit: RateLimit::Untold, ..duties },
    },
    Switch {
        concern: "client address from `X-Forwarded-For`",
        setting: ("COVET_HTTP__TRUSTED_PROXIES", ""),
        off: |duties| Duties { forwarded: Forwarded::Ignored, ..duties },
    },
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures Covet whole twice and without each concern once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Requests whose instructions are counted, after a tenth as many that are not.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    requests: u32,
    #[command(flatten)]
    outputs: Outputs,
}

/// A concern and the setting that switches it off.
#[derive(Debug, Serialize)]
struct Switched {
    concern: String,
    setting: String,
}

/// Instructions of a request that are a concern's.
#[derive(Debug, Serialize)]
struct Counted {
    concern: &'static str,
    instructions_per_request: f64,
}

#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    rounds: u32,
    mode: Mode,
    route: Route,
    headers: [crate::client::Header<'static>; BROWSER.len()],
    switched: Vec<Switched>,
    measurements: Vec<Measurement>,
    requests: u32,
    counted: Vec<Counted>,
    covet_instructions_per_request: f64,
    reference_instructions_per_request: f64,
}

/// Counts, then measures, so that a function that is gone is told before minutes are spent.
///
/// # Errors
/// [`Wanting`](crate::wanting::Wanting) when Covet does not do its duties, or does what is switched off; any other error
/// when nothing could be measured or counted.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    load::check_installed()?;
    callgrind::check_installed()?;
    options.outputs.check("concerns")?;
    let machine = Machine::look()?;
    machine.check_cores()?;
    let receiver = SpanReceiver::start()?;
    let reference = Contestant::called_by_name(REFERENCE, &receiver)?;
    let covet = behind_a_proxy(Contestant::called_by_name(COVET, &receiver)?);

    let (counts, counted) = count(&covet, options.requests, interrupt)?;
    let (reference_counts, _) = lives(&reference, options.requests, interrupt)?;

    let mode = Mode::one_core(options.seconds);
    let bench = Bench { receiver: &receiver, interrupt, headers: &BROWSER, routes: &ROUTES, databases: None };
    let contestants = contestants(reference, &covet);
    let mut measurements = Vec::new();
    for round in 1..=options.rounds {
        for contestant in &contestants {
            measurements.push(bench.measure(contestant, mode, round, ROUTE)?);
        }
    }
    let findings = Findings {
        schema: "covet-bench/concerns/1",
        machine,
        rounds: options.rounds,
        mode,
        route: *ROUTE,
        headers: BROWSER,
        switched: switched(),
        measurements,
        requests: options.requests,
        counted,
        covet_instructions_per_request: counts,
        reference_instructions_per_request: reference_counts,
    };
    options.outputs.write("concerns", &markdown(&findings), &findings)?;
    warn_of_noise(&findings.measurements);
    Ok(())
}

fn behind_a_proxy(covet: Contestant) -> Contestant {
    let duties = |duties| Duties { forwarded: Forwarded::Believed, ..duties };
    covet.with(&[owned(TRUSTED_PROXIES)]).with_duties(duties).called(EVERYTHING)
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn switched() -> Vec<Switched> {
    let entry = |switch: &Switch| {
        let (name, value) = switch.setting;
        Switched { concern: switch.concern.to_owned(), setting: format!("`{name}={value}`") }
    };
    let all = Switched { concern: NOTHING.to_owned(), setting: String::new() };
    SWITCHES.iter().map(entry).chain([all]).collect()
}

/// A round: Covet whole at its begin and end, since every difference is taken from it.
fn contestants(reference: Contestant, covet: &Contestant) -> Vec<Contestant> {
    let without = |covet: Contestant, switch: &Switch| covet.with(&[owned(switch.setting)]).with_duties(switch.off);
    let one_off = SWITCHES.iter().map(|switch| without(covet.clone(), switch).called(switch.concern));
    let all_off = SWITCHES.iter().fold(covet.clone(), without).called(NOTHING);
    [reference, covet.clone()].into_iter().chain(one_off).chain([all_off, covet.clone()]).collect()
}

/// Instructions per request of a program, and the two lives they come from.
fn lives(
    contestant: &Contestant,
    requests: u32,
    interrupt: &Interrupt,
) -> anyhow::Result<(f64, [callgrind::Counts; 2])> {
    terminal::progress(&format!("counting the instructions of {}", contestant.label));
    let life = Life { contestant, route: ROUTE, headers: &BROWSER };
    let short = life.live(requests / 10, interrupt)?;
    let long = life.live(requests / 10 + requests, interrupt)?;
    Ok((per_request(long.total()?.saturating_sub(short.total()?), requests), [short, long]))
}

fn count(covet: &Contestant, requests: u32, interrupt: &Interrupt) -> anyhow::Result<(f64, Vec<Counted>)> {
    let (all, [short, long]) = lives(covet, requests, interrupt)?;
    let (short, long) = (short.instructions(&covet.program)?, long.instructions(&covet.program)?);
    let counts = attribution::attribute(&covet.program, &long.since(&short), GROUPS)?;
    let counted = GROUPS.iter().zip(counts).map(|(group, count)| Counted {
        concern: group.concern,
        instructions_per_request: per_request(count, requests),
    });
    Ok((all, counted.collect()))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 instructions")]
fn per_request(instructions: u64, requests: u32) -> f64 {
    instructions as f64 / f64::from(requests)
}

/// Of each round: what Covet whole costs more than this server, in µs of CPU time per request.
fn differences(findings: &Findings, server: &str) -> Vec<f64> {
    let cpu = |server, round| {
        let of = findings.measurements.iter().filter(move |one| one.server == server && one.round == round);
        median(of.map(|one| one.cpu_us_per_request))
    };
    (1..=findings.rounds).filter_map(|round| Some(cpu(EVERYTHING, round)? - cpu(server, round)?)).collect()
}

fn markdown(findings: &Findings) -> String {
    let cpu = |server: &str| {
        let of = findings.measurements.iter().filter(|one| one.server == server);
        median(of.map(|one| one.cpu_us_per_request)).unwrap_or(f64::NAN)
    };
    let everything = cpu(EVERYTHING);
    let mut rows =
        vec![vec![EVERYTHING.to_owned(), String::new(), format!("{everything:.2}"), String::new(), String::new()]];
    let raw_hyper = Switched { concern: REFERENCE.to_owned(), setting: String::new() };
    for Switched { concern, setting } in findings.switched.iter().chain([&raw_hyper]) {
        let differences = differences(findings, concern);
        let share = median(differences.iter().copied()).map_or(f64::NAN, |middle| 100.0 * middle / everything);
        rows.push(vec![
            concern.clone(),
            setting.clone(),
            format!("{:.2}", cpu(concern)),
            spread(&differences).unwrap_or_else(|| "–".to_owned()),
            format!("{share:.0}"),
        ]);
    }
    let head = ["off", "by", "CPU µs/request", "saves µs (lowest–highest round)", "% of everything"];
    let switched = table(&head, &rows);

    let all = findings.covet_instructions_per_request;
    let row =
        |name: &str, count: f64| vec![name.to_owned(), format!("{count:.0}"), format!("{:.1}", 100.0 * count / all)];
    let mut rows: Vec<_> = findings.counted.iter().map(|one| row(one.concern, one.instructions_per_request)).collect();
    let rest = all - findings.counted.iter().map(|one| one.instructions_per_request).sum::<f64>();
    rows.push(row("the rest: hyper, tokio, allocator, router, extractors, JSON", rest));
    rows.push(row("everything", all));
    rows.push(row(REFERENCE, findings.reference_instructions_per_request));
    let counted = table(&["instructions of a request", "number", "% of everything"], &rows);

    let headers: Vec<_> = findings.headers.iter().map(|(name, value)| format!("`{name}: {value}`")).collect();
    format!(
        "`GET {}` with {}.\n\n**{}**\n\n{switched}\n**Instructions, without the kernel's, {} requests**\n\n{counted}\n{}. \
         Medians; other processes used at most {:.0} % of a core during a measurement.\n",
        findings.route.path,
        headers.join(", "),
        findings.mode.describe(findings.rounds),
        findings.requests,
        findings.machine.line(),
        noise(&findings.measurements),
    )
}

#[cfg(test)]
mod tests {
    use super::{Counted, EVERYTHING, Findings, NOTHING, Switched, differences, markdown};
    use crate::machine::Machine;
    use crate::measurement::{Measurement, Mode};
    use crate::peer::REFERENCE;
    use crate::route::ROUTES;
    use crate::verification::BROWSER;

    fn measurement(server: &str, round: u32, cpu_us_per_request: f64) -> Measurement {
        Measurement {
            mode: "one core",
            round,
            route: "/json",
            server: server.to_owned(),
            requests: 1000,
            cpu_us_per_request,
            database_cpu_us_per_request: None,
            requests_per_second: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            resident_bytes: 1,
            strangers_percent: 0.0,
            proof: None,
        }
    }

    /// Covet whole became slower within each round; its mean is 10.
    fn findings() -> Findings {
        let of_round = |round| {
            let costs = [(REFERENCE, 5.0), (EVERYTHING, 9.0), ("access line", 8.5), (NOTHING, 6.0), (EVERYTHING, 11.0)];
            costs.map(|(server, cpu)| measurement(server, round, cpu))
        };
        let switched =
            |concern: &str, setting: &str| Switched { concern: concern.to_owned(), setting: setting.to_owned() };
        Findings {
            schema: "test",
            machine: Machine::look().unwrap(),
            rounds: 2,
            mode: Mode::one_core(8),
            route: ROUTES[0],
            headers: BROWSER,
            switched: vec![switched("access line", "`LOG_LEVEL=warn`"), switched(NOTHING, "")],
            measurements: [1, 2].into_iter().flat_map(of_round).collect(),
            requests: 1000,
            counted: vec![Counted { concern: "metrics", instructions_per_request: 500.0 }],
            covet_instructions_per_request: 10_000.0,
            reference_instructions_per_request: 5_000.0,
        }
    }

    #[test]
    fn a_concern_costs_what_is_saved_against_covet_at_begin_and_end_of_the_round() {
        assert_eq!(differences(&findings(), "access line"), [1.5, 1.5]);
    }

    #[test]
    fn every_concern_has_a_row() {
        let text = markdown(&findings());
        for row in [
            "| everything on |  | 10.00 |  |  |",
            "| access line | `LOG_LEVEL=warn` | 8.50 | **1.50** | 15 |",
            "| all of these off |  | 6.00 | **4.00** | 40 |",
            "| raw-hyper |  | 5.00 | **5.00** | 50 |",
            "| metrics | 500 | 5.0 |",
            "| the rest: hyper, tokio, allocator, router, extractors, JSON | 9500 | 95.0 |",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
    }
}
