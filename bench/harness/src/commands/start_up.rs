//! `harness start-up`: time from exec to the first 200 of the readiness path, and memory at rest.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use crate::cli::OneProgram;
use crate::interrupt::Interrupt;
use crate::machine::Machine;
use crate::process::resident_bytes;
use crate::report::{mebibytes, median, table};
use crate::server::working_directory;
use crate::wanting::Wanting;

const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often readiness is asked for; the error of a measured time.
const LOOK_EVERY: Duration = Duration::from_micros(500);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Starts that are measured, after a first one in an empty directory.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..=1000))]
    starts: u32,
    /// What answers 200 when the service is ready.
    #[arg(long, default_value = "/health/ready")]
    path: String,
    /// Seconds at rest before memory is read.
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
    /// Exit with 1 when the median start takes longer.
    #[arg(long, value_name = "MS")]
    budget_milliseconds: Option<f64>,
    /// Exit with 1 when more memory is resident at rest.
    #[arg(long, value_name = "MIB")]
    budget_mebibytes: Option<f64>,
    #[command(flatten)]
    pub(crate) one: OneProgram,
}

#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    /// With an empty working directory: migrations, new database.
    first_start_milliseconds: f64,
    /// In the directory the first start left behind.
    starts_milliseconds: Vec<f64>,
    median_milliseconds: f64,
    idle_resident_bytes: u64,
}

/// Starts, waits, stops; the last start rests and is weighed.
///
/// # Errors
/// [`Wanting`] when a budget is exceeded; any other error when the program does not become ready.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    options.one.outputs.check("start-up")?;
    let machine = Machine::look()?;
    let launch = options.one.program.launch()?;
    let directory = working_directory()?;
    let start = || {
        let mut server = launch.start(directory.path())?;
        let time = server.until_ready(&options.path, LOOK_EVERY, READY_LIMIT, interrupt)?;
        anyhow::Ok((server, time.as_secs_f64() * 1e3))
    };
    let (server, first_start_milliseconds) = start()?;
    server.stop(interrupt)?;
    let mut starts_milliseconds = Vec::new();
    let mut idle_resident_bytes = 0;
    for number in 1..=options.starts {
        let (server, time) = start()?;
        starts_milliseconds.push(time);
        if number == options.starts {
            interrupt.sleep(Duration::from_secs(options.idle_seconds))?;
            idle_resident_bytes = resident_bytes(server.pid())?;
        }
        server.stop(interrupt)?;
    }
    let findings = Findings {
        schema: "covet-bench/start-up/1",
        machine,
        first_start_milliseconds,
        median_milliseconds: median(starts_milliseconds.iter().copied()).context("no start was measured")?,
        starts_milliseconds,
        idle_resident_bytes,
    };
    options.one.outputs.write("start-up", &markdown(&findings, options), &findings)?;
    check_budgets(&findings, options)
}

fn markdown(findings: &Findings, options: &Options) -> String {
    let starts = &findings.starts_milliseconds;
    let lowest = starts.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = starts.iter().copied().fold(0.0, f64::max);
    let name = options.one.program.name();
    let seconds = options.idle_seconds;
    let rows = [
        ("first start, empty directory", format!("{:.0} ms", findings.first_start_milliseconds)),
        (
            "later starts, median (fastest–slowest)",
            format!("**{:.0} ms** ({lowest:.0}–{highest:.0}, {} starts)", findings.median_milliseconds, starts.len()),
        ),
        ("memory at rest (RSS)", format!("**{:.1} MiB** after {seconds} s", mebibytes(findings.idle_resident_bytes))),
    ];
    let rows = rows.map(|(what, figure)| vec![what.to_owned(), figure]);
    format!(
        "{}\n{}. Time from exec to the first 200 of `{}`.\n",
        table(&[&format!("start of `{name}`"), "figure"], &rows),
        findings.machine.line(),
        options.path
    )
}

fn check_budgets(findings: &Findings, options: &Options) -> anyhow::Result<()> {
    let mut exceeded = Vec::new();
    if let Some(budget) = options.budget_milliseconds.filter(|budget| findings.median_milliseconds > *budget) {
        exceeded.push(format!("starts in {:.1} ms, budget {budget} ms", findings.median_milliseconds));
    }
    let resident = mebibytes(findings.idle_resident_bytes);
    if let Some(budget) = options.budget_mebibytes.filter(|budget| resident > *budget) {
        exceeded.push(format!("holds {resident:.1} MiB at rest, budget {budget} MiB"));
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(Wanting::error(format!("{} {}", options.one.program.name(), exceeded.join("; "))))
}
