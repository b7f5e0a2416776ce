//! `harness http`: what a request costs, in interleaved rounds.
//!
//! Each measurement starts its server afresh, so that no server's background work, heap or cache luck reaches another
//! measurement, and every round has its own reference. The table is in [`table`].

mod table;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::interrupt::Interrupt;
use crate::load::{self, Load};
use crate::machine::Machine;
use crate::peer::{Contestant, Selection};
use crate::process::{MachineTime, cpu_time, resident_bytes};
use crate::proof::Proof;
use crate::report::Outputs;
use crate::route::{ROUTES, Route};
use crate::server::working_directory;
use crate::terminal;
use crate::wanting::Wanting;

const READY_LIMIT: Duration = Duration::from_secs(20);
const WARM_UP_SECONDS: u64 = 1;
/// After the load, before the last reading, so that work handed to background threads (log lines) is counted.
const AFTERGLOW: Duration = Duration::from_millis(500);
/// Share of one core used by strangers above which a warning is printed.
const NOISE_PERCENT: f64 = 5.0;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every peer on every route once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How servers and load share the machine.
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Exit with 1 when Covet's median CPU time on one core exceeds this many times raw hyper's, on any route.
    #[arg(long, value_name = "RATIO")]
    budget: Option<f64>,
    #[command(flatten)]
    peers: Selection,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Modes {
    /// One worker on core 0, wrk on core 1.
    OneCore,
    /// Nothing bound, a worker per core.
    AllCores,
    /// One after the other.
    Both,
}

/// How a server and its load share the machine.
#[derive(Debug, Clone, Copy, Serialize)]
struct Mode {
    name: &'static str,
    workers: usize,
    server_core: Option<usize>,
    load: Load,
}

impl Options {
    fn modes(&self, machine: &Machine) -> Vec<Mode> {
        let load = |threads, connections, core| Load { threads, connections, seconds: self.seconds, core };
        let one = Mode { name: "one core", workers: 1, server_core: Some(0), load: load(1, 64, Some(1)) };
        let cores = machine.cores;
        let all = Mode { name: "all cores", workers: cores, server_core: None, load: load(cores, 256, None) };
        match self.mode {
            Modes::OneCore => vec![one],
            Modes::AllCores => vec![all],
            Modes::Both => vec![one, all],
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Measurement {
    mode: &'static str,
    round: u32,
    route: &'static str,
    server: String,
    requests: u64,
    cpu_us_per_request: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    resident_bytes: u64,
    /// CPU time that neither server nor load used meanwhile, as a share of one core.
    strangers_percent: f64,
    /// What Covet's own books say; the other peers keep none.
    proof: Option<Proof>,
}

/// Everything a run found, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    rounds: u32,
    modes: Vec<Mode>,
    routes: [Route; 2],
    measurements: Vec<Measurement>,
}

/// Builds, verifies, measures, reports.
///
/// # Errors
/// [`Wanting`] when a peer answers wrongly, fails a request or exceeds the budget; any other error when the measurement
/// could not be made.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    load::check_installed()?;
    options.outputs.check("http")?;
    let machine = Machine::look()?.with_built_elsewhere(options.peers.built_elsewhere());
    let modes = options.modes(&machine);
    if machine.cores < 2 {
        bail!("a server and its load need a core each; this process may use {}", machine.cores);
    }
    let contestants = options.peers.contestants()?;
    let mut findings = Findings {
        schema: "covet-bench/http/1",
        machine,
        rounds: options.rounds,
        modes,
        routes: ROUTES,
        measurements: Vec::new(),
    };
    for mode in findings.modes.clone() {
        for round in 1..=options.rounds {
            for route in &ROUTES {
                for contestant in &contestants {
                    let measurement = measure(contestant, mode, round, route, interrupt)?;
                    terminal::progress(&format!(
                        "{}, round {round} of {}, {} {}: {:.2} µs",
                        mode.name, options.rounds, measurement.server, route.pattern, measurement.cpu_us_per_request
                    ));
                    findings.measurements.push(measurement);
                }
            }
        }
    }
    options.outputs.write("http", &table::markdown(&findings), &findings)?;
    let noise = table::noise(&findings);
    if noise > NOISE_PERCENT {
        terminal::warn(&format!(
            "strangers used up to {noise:.0} % of a core during a measurement; only the ratios say something, and they \
             are rough. Repeat on a quiet machine."
        ));
    }
    options.budget.map_or(Ok(()), |budget| table::check_budget(&findings, budget))
}

/// One server, one route, one load.
fn measure(
    contestant: &Contestant,
    mode: Mode,
    round: u32,
    route: &Route,
    interrupt: &Interrupt,
) -> anyhow::Result<Measurement> {
    let directory = working_directory()?;
    let mut server = contestant.launch(mode.workers, mode.server_core).start(directory.path())?;
    server.until_ready(route.path, Duration::from_millis(5), READY_LIMIT, interrupt)?;
    for route in &ROUTES {
        route.verify(&contestant.label, server.address)?;
    }
    Load { seconds: WARM_UP_SECONDS, ..mode.load }.run(server.address, route.path, interrupt)?;
    interrupt.sleep(AFTERGLOW)?;

    let (cpu_before, machine_before, start) = (cpu_time(server.pid())?, MachineTime::now()?, Instant::now());
    let outcome = mode.load.run(server.address, route.path, interrupt)?;
    interrupt.sleep(AFTERGLOW)?;
    let cpu = cpu_time(server.pid())? - cpu_before;
    let strangers =
        MachineTime::now()?.strangers_since(&machine_before, cpu).as_secs_f64() / start.elapsed().as_secs_f64();

    if outcome.failed() > 0 || outcome.requests == 0 {
        return Err(Wanting::error(format!(
            "{} failed {} of {} requests to {} ({outcome:?}); its figures mean nothing",
            contestant.label,
            outcome.failed(),
            outcome.requests,
            route.path
        )));
    }
    let resident_bytes = resident_bytes(server.pid())?;
    let proof = if contestant.keeps_books() { Some(Proof::of(&server, outcome.requests, interrupt)?) } else { None };
    server.stop(interrupt)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    let cpu_us_per_request = cpu.as_secs_f64() * 1e6 / outcome.requests as f64;
    Ok(Measurement {
        mode: mode.name,
        round,
        route: route.pattern,
        server: contestant.label.clone(),
        requests: outcome.requests,
        cpu_us_per_request,
        requests_per_second: outcome.requests_per_second(),
        p50_us: outcome.p50_us,
        p99_us: outcome.p99_us,
        resident_bytes,
        strangers_percent: 100.0 * strangers,
        proof,
    })
}
