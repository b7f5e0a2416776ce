//! `harness database`: what a statement costs, the server and the database, in interleaved rounds.
//!
//! The server has one core; PostgreSQL shares the other with wrk, so requests per second say something about both sides. What
//! is asked for is in [`tasks`], what Covet is to reach in [`aims`], the tables are in [`table`].

mod aims;
mod table;
mod tasks;

use clap::Args;
use serde::Serialize;

use self::tasks::Task;
use crate::database::{Databases, Kind};
use crate::interrupt::Interrupt;
use crate::load;
use crate::machine::Machine;
use crate::measurement::{self, Bench, Measurement, Mode, warn_of_noise};
use crate::peer::Selection;
use crate::report::Outputs;
use crate::route::Route;
use crate::span_receiver::SpanReceiver;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; each measures every peer on every route once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of load per measurement.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Exit with 1 when an aim is missed or was not measured.
    #[arg(long)]
    aims: bool,
    #[command(flatten)]
    peers: Selection,
    #[command(flatten)]
    outputs: Outputs,
}

/// A server and what runs in it.
#[derive(Debug, Clone, Serialize)]
struct Entrant {
    server: String,
    what: &'static str,
    database: Option<Kind>,
}

/// Everything a run found, as `--json` writes it.
#[derive(Debug, Serialize)]
struct Findings {
    schema: &'static str,
    machine: Machine,
    databases: String,
    rounds: u32,
    mode: Mode,
    tasks: Vec<Task>,
    entrants: Vec<Entrant>,
    measurements: Vec<Measurement>,
}

/// Builds, starts PostgreSQL, verifies, measures, reports.
///
/// # Errors
/// [`Wanting`](crate::wanting::Wanting) when a peer answers wrongly, fails a request or misses an aim; any other error when the
/// measurement could not be made.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    load::check_installed()?;
    options.outputs.check("database")?;
    let machine = Machine::look()?.with_built_elsewhere(options.peers.built_elsewhere());
    machine.check_cores()?;
    let mode = Mode::one_core(options.seconds);
    let receiver = SpanReceiver::start()?;
    let databases = Databases::of_sql(mode.load.core)?;
    let contestants = options.peers.with_databases(&receiver, &databases)?;
    let entrants = contestants
        .iter()
        .map(|one| Entrant { server: one.label.clone(), what: one.what(), database: one.database() })
        .collect();
    let tasks = tasks::all();
    let routes: Vec<Route> = tasks.iter().map(|task| task.route).collect();
    let bench = Bench { receiver: &receiver, interrupt, headers: &[], routes: &routes, databases: Some(&databases) };
    let measurements = bench.rounds(options.rounds, &[mode], &contestants)?;
    let findings = Findings {
        schema: "covet-bench/database/1",
        machine,
        databases: databases.versions(),
        rounds: options.rounds,
        mode,
        tasks,
        entrants,
        measurements,
    };
    options.outputs.write("database", &table::markdown(&findings), &findings)?;
    warn_of_noise(&findings.measurements);
    if options.aims { aims::check(&findings) } else { Ok(()) }
}

impl Findings {
    fn of<'a>(&'a self, route: &'a str, server: &'a str) -> impl Iterator<Item = &'a Measurement> {
        measurement::of(&self.measurements, route, server)
    }

    /// Of each round in which both were measured: the value of one server on a route over another's.
    fn ratios(&self, one: (&str, &str), other: (&str, &str), value: fn(&Measurement) -> Option<f64>) -> Vec<f64> {
        measurement::ratios(&self.measurements, one, other, value)
    }
}

/// CPU time of PostgreSQL's processes.
fn database(one: &Measurement) -> Option<f64> {
    one.database_cpu_us_per_request
}

#[cfg(test)]
mod tests {
    use super::{Entrant, Findings, tasks};
    use crate::database::Kind;
    use crate::machine::Machine;
    use crate::measurement::{Measurement, Mode};

    /// Two rounds on a machine that becomes slower, of the single row alone. On PostgreSQL the service costs 10 by hand with one
    /// connection, 12 with four, `covet` in Covet, `sqlx` in sqlx, and the database twice that of its service; on SQLite 5 by hand
    /// and 6 in Covet.
    pub(super) fn findings(covet: f64, sqlx: f64) -> Findings {
        let costs = [
            ("axum-tokio-postgres-1", 10.0, Kind::Postgres),
            ("axum-tokio-postgres-4", 12.0, Kind::Postgres),
            ("covet", covet, Kind::Postgres),
            ("axum-sqlx", sqlx, Kind::Postgres),
            ("axum-rusqlite", 5.0, Kind::Sqlite),
            ("covet-sqlite", 6.0, Kind::Sqlite),
        ];
        let tasks = tasks::all();
        let measurement = |round: u32, server: &str, cpu: f64, kind| Measurement {
            mode: "one core",
            round,
            route: tasks[0].route.pattern,
            server: server.to_owned(),
            requests: 1000,
            cpu_us_per_request: cpu * f64::from(round),
            database_cpu_us_per_request: (kind == Kind::Postgres).then(|| 2.0 * cpu * f64::from(round)),
            requests_per_second: 1e6 / cpu,
            p50_us: 100.0,
            p99_us: 200.0,
            resident_bytes: 5 << 20,
            strangers_percent: 0.0,
            proof: None,
        };
        let of_round = |round| costs.map(|(server, cpu, kind)| measurement(round, server, cpu, kind));
        Findings {
            schema: "test",
            machine: Machine::look().unwrap(),
            databases: "PostgreSQL 15, SQLite 3".to_owned(),
            rounds: 2,
            mode: Mode::one_core(8),
            measurements: [1, 2].into_iter().flat_map(of_round).collect(),
            entrants: costs
                .map(|(server, _, kind)| Entrant {
                    server: server.to_owned(),
                    what: "what it does",
                    database: Some(kind),
                })
                .into(),
            tasks,
        }
    }
}
