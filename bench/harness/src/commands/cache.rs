//! `harness cache`: what a request costs that is answered from the cache, or reads from it, in interleaved rounds.
//!
//! One program, its cache in memory or in Redis, with its rate limit and without; its plain route is what the others are compared
//! with. The server has one core; Redis shares the other with wrk.

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use crate::database::Databases;
use crate::interrupt::Interrupt;
use crate::load;
use crate::machine::Machine;
use crate::measurement::{Bench, Measurement, Mode, middle, noise, ratios, service, warn_of_noise};
use crate::peer::{COVET, Contestant, Entrant, Selection};
use crate::report::{Outputs, median, spread, table};
use crate::route::{CACHED, ROUTES, Route};
use crate::span_receiver::SpanReceiver;
use crate::wanting::Wanting;

/// What nothing is cached for.
const PLAIN: Route = ROUTES[0];
/// A route and what is done for it.
const TASKS: [(Route, &str); 5] = [
    (PLAIN, "the answer is made each time"),
    (CACHED[0], "the response is kept"),
    (CACHED[1], "the response is kept, with a tag"),
    (Route { pattern: "/value", path: "/value", ..PLAIN }, "the handler takes a value from the cache (`get_or_load`)"),
    (
        Route { pattern: "/session", path: "/session", login: Some("/login"), ..PLAIN },
        "the handler reads the session that the cookie names",
    ),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every server on every route once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Exit with 1 when a response kept in memory costs more than this many times the plain route.
    #[arg(long, value_name = "RATIO")]
    budget: Option<f64>,
    #[command(flatten)]
    peers: Selection,
    #[command(flatten)]
    outputs: Outputs,
}

/// Everything a run found, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    redis: String,
    rounds: u32,
    mode: Mode,
    entrants: Vec<Entrant>,
    measurements: Vec<Measurement>,
}

/// Builds, starts Redis, verifies, measures, reports.
///
/// # Errors
/// [`Wanting`] when an answer is wrong, a request fails or the budget is exceeded; any other error when nothing could be measured.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    load::check_installed()?;
    options.outputs.check("cache")?;
    let machine = Machine::look()?.with_built_elsewhere(options.peers.built_elsewhere());
    machine.check_cores()?;
    let mode = Mode::one_core(options.seconds);
    let receiver = SpanReceiver::start()?;
    let databases = Databases::of_redis(mode.load.core)?;
    let contestants = options.peers.with_caches(&receiver, &databases)?;
    let entrants = contestants.iter().map(Contestant::entrant).collect();
    let routes = TASKS.map(|(route, _)| route);
    let bench = Bench { receiver: &receiver, interrupt, headers: &[], routes: &routes, databases: Some(&databases) };
    let measurements = bench.rounds(options.rounds, &[mode], &contestants)?;
    let findings = Findings {
        schema: "covet-bench/cache/1",
        machine,
        redis: databases.versions(),
        rounds: options.rounds,
        mode,
        entrants,
        measurements,
    };
    options.outputs.write("cache", &markdown(&findings), &findings)?;
    warn_of_noise(&findings.measurements);
    options.budget.map_or(Ok(()), |budget| check_budget(&findings.measurements, budget))
}

fn markdown(findings: &Findings) -> String {
    let head = [
        "server and route",
        "CPU µs/request",
        "× its `/json` (lowest–highest round)",
        "× `/json` in memory",
        "Redis CPU µs/request",
        "requests/s",
        "p50 µs",
        "p99 µs",
    ];
    let servers = || findings.entrants.iter().map(|entrant| entrant.server.as_str());
    let rows: Vec<_> =
        TASKS.iter().flat_map(|(route, _)| servers().map(|server| row(findings, route.pattern, server))).collect();
    let mode = findings.mode.describe_with("wrk and Redis", findings.rounds);
    let mut text = format!("**{mode}**\n\n{}\n", table(&head, &rows));
    for (route, what) in &TASKS {
        text += &format!("- `{}`: {what}.\n", route.pattern);
    }
    for entrant in findings.entrants.iter().filter(|entrant| !entrant.server.ends_with("no limit")) {
        text += &format!("- `{}`: {}.\n", entrant.server, entrant.what);
    }
    text + &format!(
        "\n{}, {}. Medians; other processes used at most {:.0} % of a core during a measurement.\n",
        findings.machine.line(),
        findings.redis,
        noise(&findings.measurements),
    )
}

fn row(findings: &Findings, route: &str, server: &str) -> Vec<String> {
    let measurements = &findings.measurements;
    let middle = |decimals, value| middle(measurements, (route, server), decimals, value);
    let over = |other: &str| {
        spread(&ratios(measurements, (route, server), (PLAIN.pattern, other), service))
            .unwrap_or_else(|| "–".to_owned())
    };
    vec![
        format!("{server} `{route}`"),
        middle(2, service),
        over(server),
        over(COVET),
        middle(2, |one| one.database_cpu_us_per_request),
        middle(0, |one| Some(one.requests_per_second)),
        middle(0, |one| Some(one.p50_us)),
        middle(0, |one| Some(one.p99_us)),
    ]
}

/// What is kept in memory against what is made each time.
fn check_budget(measurements: &[Measurement], budget: f64) -> anyhow::Result<()> {
    let mut exceeded = Vec::new();
    for route in &CACHED {
        let ratio = median(ratios(measurements, (route.pattern, COVET), (PLAIN.pattern, COVET), service));
        let ratio = ratio.with_context(|| format!("--budget needs {COVET} among the peers"))?;
        if ratio > budget {
            exceeded.push(format!("{} {ratio:.2} ×", route.pattern));
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    let routes = exceeded.join(", ");
    Err(Wanting::error(format!("a kept response costs more than {budget:.2} × {}: {routes}", PLAIN.pattern)))
}

#[cfg(test)]
mod tests {
    use super::{Entrant, Findings, PLAIN, TASKS, check_budget, markdown};
    use crate::machine::Machine;
    use crate::measurement::{Measurement, Mode};
    use crate::wanting::Wanting;

    /// Two rounds on a machine that becomes slower. In memory a kept response costs `cached` and all else 10; on Redis 30.
    fn findings(cached: f64) -> Findings {
        let servers = ["covet", "covet, no limit", "covet-redis"];
        let measurement = |round: u32, route: &'static str, server: &str| Measurement {
            mode: "one core",
            round,
            route,
            server: server.to_owned(),
            requests: 1000,
            cpu_us_per_request: f64::from(round)
                * match (server, route) {
                    ("covet-redis", _) => 30.0,
                    (_, "/cached") => cached,
                    _ => 10.0,
                },
            database_cpu_us_per_request: (server == "covet-redis").then_some(8.0),
            requests_per_second: 80_000.0,
            p50_us: 100.0,
            p99_us: 200.0,
            resident_bytes: 5 << 20,
            strangers_percent: 0.0,
            proof: None,
        };
        let routes = || TASKS.iter().map(|(route, _)| route.pattern);
        let of_round = |round| routes().flat_map(move |route| servers.map(|server| measurement(round, route, server)));
        Findings {
            schema: "test",
            machine: Machine::look().unwrap(),
            redis: "Redis 7".to_owned(),
            rounds: 2,
            mode: Mode::one_core(5),
            entrants: servers.map(|server| Entrant { server: server.to_owned(), what: "what it does" }).into(),
            measurements: [1, 2].into_iter().flat_map(of_round).collect(),
        }
    }

    #[test]
    fn every_server_has_a_row_for_every_route() {
        let text = markdown(&findings(12.0));
        for row in [
            "| covet `/cached` | 18.00 | **1.20** | **1.20** | – | 80000 | 100 | 200 |\n",
            "| covet-redis `/session` | 45.00 | **1.00** | **3.00** | 8.00 | 80000 | 100 | 200 |\n",
            "- `covet-redis`: what it does.\n",
        ] {
            assert!(text.contains(row), "{row} is not in\n{text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("| ")).count(), 1 + 3 * TASKS.len(), "{text}");
    }

    #[test]
    fn a_kept_response_is_judged_by_the_median_of_ratios_within_rounds() {
        assert!(check_budget(&findings(12.0).measurements, 1.25).is_ok());
        assert!(check_budget(&findings(13.0).measurements, 1.25).unwrap_err().is::<Wanting>());
        let others: Vec<_> = findings(12.0).measurements.into_iter().filter(|one| one.route != PLAIN.pattern).collect();
        assert!(!check_budget(&others, 1.25).unwrap_err().is::<Wanting>());
    }
}
