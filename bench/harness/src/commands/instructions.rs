//! `harness instructions`: instructions per request in the server process, counted by valgrind.
//!
//! The kernel's part is not in it, and an instruction is not a fixed time; but the count repeats within a percent whatever
//! else the machine does, so it finds a regression that a stopwatch on a busy machine cannot.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::client::Connection;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::peer::{COVET, Contestant, REFERENCE, Selection};
use crate::report::{Outputs, table};
use crate::route::{ROUTES, Route};
use crate::server::{Launch, Server, working_directory};
use crate::terminal;
use crate::wanting::Wanting;

/// A server under valgrind starts in seconds.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// Connections that ask in turn, one request each at a time.
const CONNECTIONS: usize = 8;
const COUNTS: &str = "callgrind.out";

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
    check_installed()?;
    options.outputs.check("instructions")?;
    let machine = Machine::look()?.with_built_elsewhere(options.peers.built_elsewhere());
    let contestants = options.peers.contestants()?;
    let mut counts = Vec::new();
    for route in &ROUTES {
        for contestant in &contestants {
            terminal::progress(&format!("{} {}", contestant.label, route.pattern));
            let few = options.requests / 10;
            let short = total(contestant, route, few, None, interrupt)?;
            let long = total(contestant, route, few + options.requests, options.keep.as_deref(), interrupt)?;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 instructions")]
            let difference = long.saturating_sub(short) as f64;
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

fn check_installed() -> anyhow::Result<()> {
    let found = Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if let Err(error) = found {
        bail!("valgrind cannot be run ({error}). Install it: `apt-get install valgrind` (Debian, Ubuntu)");
    }
    Ok(())
}

/// Instructions of a whole life with this many requests. Two lives' difference is free of start and end.
fn total(
    contestant: &Contestant,
    route: &Route,
    requests: u32,
    keep: Option<&Path>,
    interrupt: &Interrupt,
) -> anyhow::Result<u64> {
    let directory = working_directory()?;
    let counts = directory.path().join(COUNTS);
    let mut server = under_valgrind(contestant.launch(1, None), &counts).start(directory.path())?;
    server.until_ready(route.path, Duration::from_millis(50), READY_LIMIT, interrupt)?;
    route.verify(&contestant.label, server.address)?;
    ask(&server, route, requests, interrupt)?;
    server.stop(interrupt)?;
    if let Some(folder) = keep {
        let name = format!("{}{}.callgrind", contestant.label, route.path).replace(['/', ' '], "-");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::copy(&counts, folder.join(name)))
            .with_context(|| format!("keeping the counts in {}", folder.display()))?;
    }
    let text = std::fs::read_to_string(&counts).context("valgrind left no counts; did the server end in time?")?;
    sum(&text).context("valgrind's counts have no summary")
}

fn under_valgrind(launch: Launch, counts: &Path) -> Launch {
    let mut arguments = vec![
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", counts.display()),
        launch.program.to_string_lossy().into_owned(),
    ];
    arguments.extend(launch.arguments);
    Launch { program: "valgrind".into(), arguments, ..launch }
}

fn ask(server: &Server, route: &Route, requests: u32, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut connections =
        (0..CONNECTIONS).map(|_| Connection::open(server.address)).collect::<anyhow::Result<Vec<_>>>()?;
    for _ in 0..requests as usize / CONNECTIONS {
        interrupt.check()?;
        for connection in &mut connections {
            connection.ask(route.path)?;
        }
        for connection in &mut connections {
            let status = connection.receive()?.status;
            if status != 200 {
                return Err(Wanting::error(format!("{} answered {status} under load", route.path)));
            }
        }
    }
    Ok(())
}

/// The total of a callgrind file.
fn sum(counts: &str) -> Option<u64> {
    let line =
        counts.lines().find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")))?;
    line.split_whitespace().next()?.parse().ok()
}

fn ratio(findings: &Findings, count: &Count) -> Option<f64> {
    let reference = findings.counts.iter().find(|other| other.route == count.route && other.server == REFERENCE)?;
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

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn the_total_is_found_in_either_of_callgrinds_spellings() {
        assert_eq!(sum("version: 1\nevents: Ir\nsummary: 123\nfn=(1)\n1 123\ntotals: 124\n"), Some(123));
        assert_eq!(sum("events: Ir\nfn=(1)\ntotals: 124\n"), Some(124));
        assert_eq!(sum("events: Ir\n"), None);
    }
}
