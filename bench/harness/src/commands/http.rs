//! `harness http`: what a request costs, in interleaved rounds.
//!
//! Each measurement starts its server afresh, so that no server's background work, heap or cache luck reaches another
//! measurement, and every round has its own reference. The tables are in [`table`].

mod table;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::interrupt::Interrupt;
use crate::load;
use crate::machine::Machine;
use crate::measurement::{Bench, Measurement, Mode, warn_of_noise};
use crate::peer::{Contestant, Entrant, Selection};
use crate::report::Outputs;
use crate::route::{ROUTES, Route};
use crate::span_receiver::SpanReceiver;

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
    /// One after the other, in each round.
    Both,
}

impl Options {
    fn modes(&self, machine: &Machine) -> Vec<Mode> {
        let (one, all) = (Mode::one_core(self.seconds), Mode::all_cores(self.seconds, machine));
        match self.mode {
            Modes::OneCore => vec![one],
            Modes::AllCores => vec![all],
            Modes::Both => vec![one, all],
        }
    }
}

/// Everything a run found, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    rounds: u32,
    modes: Vec<Mode>,
    routes: [Route; 2],
    entrants: Vec<Entrant>,
    measurements: Vec<Measurement>,
}

/// Builds, verifies, measures, reports.
///
/// # Errors
/// [`Wanting`](crate::wanting::Wanting) when a peer answers wrongly, fails a request or exceeds the budget; any other error when the measurement
/// could not be made.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    load::check_installed()?;
    options.outputs.check("http")?;
    let machine = Machine::look()?.with_built_elsewhere(options.peers.built_elsewhere());
    let modes = options.modes(&machine);
    machine.check_cores()?;
    let receiver = SpanReceiver::start()?;
    let contestants = options.peers.contestants(&receiver)?;
    let entrants = contestants.iter().map(Contestant::entrant).collect();
    let bench = Bench { receiver: &receiver, interrupt, headers: &[], routes: &ROUTES, databases: None };
    let measurements = bench.rounds(options.rounds, &modes, &contestants)?;
    let findings = Findings {
        schema: "covet-bench/http/2",
        machine,
        rounds: options.rounds,
        modes,
        routes: ROUTES,
        entrants,
        measurements,
    };
    options.outputs.write("http", &table::markdown(&findings), &findings)?;
    warn_of_noise(&findings.measurements);
    options.budget.map_or(Ok(()), |budget| table::check_budget(&findings, budget))
}
