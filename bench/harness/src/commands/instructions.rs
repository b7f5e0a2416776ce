//! `harness instructions`: instructions per request in the server process, counted by valgrind.
//!
//! The kernel's part is not in it, and an instruction is not a fixed time; but the count repeats within a percent whatever
//! else the machine does, so it finds a regression that a stopwatch on a busy machine cannot.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use crate::callgrind::{self, Life};
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::peer::{COVET, REFERENCE, Selection};
use crate::report::{Outputs, table};
use crate::route::{CACHED, ROUTES, Route};
use crate::span_receiver::SpanReceiver;
use crate::terminal;
use crate::wanting::Wanting;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests that are counted, after a tenth as many that are not.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1000..=1_000_000))]
    requests: u32,
    /// Keep the counts for `callgrind_annotate` in FOLDER.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Exit with 1 when Covet takes more than this many times raw hyper's instructions, on any route.
    #[arg(long, value_name = "RATIO")]
    budget: Option<f64>,
    #[command(flatten)]
    peers: Selection,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Debug, Clone, Serialize)]
struct Count {
    route: &'static str,
    server: String,
    instructions_per_request: f64,
}

#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    requests: u32,
    counts: Vec<Count>,
}

/// Counts every contestant on every route.
///
/// # Errors
/// [`Wanting`] when the budget is exceeded or an answer is wrong; any other error when nothing could be counted.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    callgrind::check_installed()?;
    options.outputs.check("instructions")?;
    let machine = Machine::look()?.with_built_elsewhere(options.peers.built_elsewhere());
    let receiver = SpanReceiver::start()?;
    let contestants = options.peers.contestants(&receiver)?;
    let mut counts = Vec::new();
    for route in ROUTES.iter().chain(&CACHED) {
        let own = CACHED.iter().any(|cached| cached.pattern == route.pattern);
        for contestant in contestants.iter().filter(|contestant| !own || contestant.label == COVET) {
            terminal::progress(&format!("{} {}", contestant.label, route.pattern));
            let life = Life { contestant, route, headers: &[] };
            let few = options.requests / 10;
            let short = life.live(few, interrupt)?;
            let long = life.live(few + options.requests, interrupt)?;
            if let Some(folder) = &options.keep {
                long.keep(folder, &contestant.label, route)?;
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 instructions")]
            let difference = long.total()?.saturating_sub(short.total()?) as f64;
            counts.push(Count {
                route: route.pattern,
                server: contestant.label.clone(),
                instructions_per_request: difference / f64::from(options.requests),
            });
        }
    }
    let findings = Findings { schema: "covet-bench/instructions/1", machine, requests: options.requests, counts };
    options.outputs.write("instructions", &markdown(&findings), &findings)?;
    options.budget.map_or(Ok(()), |budget| check_budget(&findings, budget))
}

fn ratio(findings: &Findings, count: &Count) -> Option<f64> {
    let reference =
        findings.counts.iter().find(|other| other.route == Route::plain(count.route) && other.server == REFERENCE)?;
    Some(count.instructions_per_request / reference.instructions_per_request)
}

fn markdown(findings: &Findings) -> String {
    let rows: Vec<_> = findings
        .counts
        .iter()
        .map(|count| {
            vec![
                format!("{} `{}`", count.server, count.route),
                format!("{:.0}", count.instructions_per_request),
                ratio(findings, count).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            ]
        })
        .collect();
    let head = ["server and route", "instructions/request", "× raw hyper"];
    format!("{}\n{}. Without the kernel's.\n", table(&head, &rows), findings.machine.line())
}

fn check_budget(findings: &Findings, budget: f64) -> anyhow::Result<()> {
    let mut exceeded = Vec::new();
    for count in findings.counts.iter().filter(|count| count.server == COVET) {
        let ratio = ratio(findings, count).with_context(|| format!("--budget needs {REFERENCE} beside {COVET}"))?;
        if ratio > budget {
            exceeded.push(format!("{} {ratio:.2} ×", count.route));
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    let routes = exceeded.join(", ");
    Err(Wanting::error(format!("{COVET} takes more than {budget:.2} × {REFERENCE}'s instructions: {routes}")))
}
