//! One measurement: one server, started afresh, one route, one load; what it cost, and whether it did its work meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::client::Header;
use crate::database::{Database, Databases};
use crate::interrupt::Interrupt;
use crate::load::Load;
use crate::machine::Machine;
use crate::peer::Contestant;
use crate::process::{MachineTime, cpu_time, resident_bytes};
use crate::proof::Proof;
use crate::report::median;
use crate::route::Route;
use crate::server::working_directory;
use crate::span_receiver::SpanReceiver;
use crate::terminal;
use crate::wanting::Wanting;

const READY_LIMIT: Duration = Duration::from_secs(20);
const WARM_UP_SECONDS: u64 = 1;
/// After the load, before the last reading, so that work handed to background threads (log lines) is counted.
const AFTERGLOW: Duration = Duration::from_millis(500);
/// Share of one core used by strangers above which a warning is printed.
const NOISE_PERCENT: f64 = 5.0;

/// How a server and its load share the machine.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Mode {
    pub(crate) name: &'static str,
    pub(crate) workers: usize,
    pub(crate) server_core: Option<usize>,
    pub(crate) load: Load,
}

impl Mode {
    /// One worker on core 0, wrk on core 1.
    pub(crate) fn one_core(seconds: u64) -> Self {
        let load = Load { threads: 1, connections: 64, seconds, core: Some(1) };
        Self { name: "one core", workers: 1, server_core: Some(0), load }
    }

    /// Nothing bound, a worker per core.
    pub(crate) fn all_cores(seconds: u64, machine: &Machine) -> Self {
        let load = Load { threads: machine.cores, connections: 256, seconds, core: None };
        Self { name: "all cores", workers: machine.cores, server_core: None, load }
    }

    /// The line over a table.
    pub(crate) fn describe(&self, rounds: u32) -> String {
        self.describe_with("wrk", rounds)
    }

    /// The line over a table, with what runs on the core that the server is not on.
    pub(crate) fn describe_with(&self, others: &str, rounds: u32) -> String {
        let placed = match (self.server_core, self.load.core) {
            (Some(server), Some(load)) => format!("One core: server on core {server}, {others} on core {load}"),
            _ => "All cores: nothing bound".to_owned(),
        };
        let (workers, threads) = (self.workers, self.load.threads);
        let (connections, seconds) = (self.load.connections, self.load.seconds);
        let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        format!("{placed}; {workers}, `wrk -t{threads} -c{connections}`, rounds of {seconds} s: {rounds}, interleaved")
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measurement {
    pub(crate) mode: &'static str,
    pub(crate) round: u32,
    pub(crate) route: &'static str,
    pub(crate) server: String,
    pub(crate) requests: u64,
    pub(crate) cpu_us_per_request: f64,
    /// Of the processes of the database server or Redis; SQLite has none.
    pub(crate) database_cpu_us_per_request: Option<f64>,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) resident_bytes: u64,
    /// CPU time that neither server nor load used meanwhile, as a share of one core.
    pub(crate) strangers_percent: f64,
    /// What the peer's own books say; the bare ones keep none.
    pub(crate) proof: Option<Proof>,
}

/// What every measurement of a run needs.
pub(crate) struct Bench<'a> {
    pub(crate) receiver: &'a SpanReceiver,
    pub(crate) interrupt: &'a Interrupt,
    /// Sent with every request.
    pub(crate) headers: &'a [Header<'a>],
    /// What each contestant must answer rightly before it is measured. The first tells when it is ready.
    pub(crate) routes: &'a [Route],
    /// Those of contestants that need one.
    pub(crate) databases: Option<&'a Databases>,
}

impl Bench<'_> {
    /// Every contestant on every route in every mode, and that again and again: a machine that becomes slower does so for all.
    ///
    /// # Errors
    /// As for [`Bench::measure`].
    pub(crate) fn rounds(
        &self,
        rounds: u32,
        modes: &[Mode],
        contestants: &[Contestant],
    ) -> anyhow::Result<Vec<Measurement>> {
        let mut measurements = Vec::new();
        for round in 1..=rounds {
            for mode in modes {
                for route in self.routes {
                    for contestant in contestants {
                        measurements.push(self.measure(contestant, *mode, round, route)?);
                    }
                }
            }
        }
        Ok(measurements)
    }

    /// Starts the server, verifies, warms up, loads, reads, checks the books, ends it.
    ///
    /// # Errors
    /// [`Wanting`] when it answers wrongly, fails a request or does not do its duties.
    pub(crate) fn measure(
        &self,
        contestant: &Contestant,
        mode: Mode,
        round: u32,
        route: &Route,
    ) -> anyhow::Result<Measurement> {
        let measured = self.measured(contestant, mode, round, route);
        let measured = measured.with_context(|| format!("measuring {} on {}", contestant.label, route.pattern))?;
        let Measurement { server, cpu_us_per_request, .. } = &measured;
        terminal::progress(&format!(
            "{}, round {round}, {server} {}: {cpu_us_per_request:.2} µs",
            mode.name, route.pattern
        ));
        Ok(measured)
    }

    fn measured(&self, contestant: &Contestant, mode: Mode, round: u32, route: &Route) -> anyhow::Result<Measurement> {
        let Self { receiver, interrupt, headers, .. } = *self;
        let directory = working_directory()?;
        let database =
            self.databases.zip(contestant.database()).and_then(|(databases, kind)| databases.of(kind, &directory));
        if let Some(database) = &database {
            database.fill()?;
        }
        let mut server = contestant.launch(mode.workers, mode.server_core).start(directory.path())?;
        let first = self.routes.first().context("nothing is to be measured")?.path;
        server.until_ready(first, Duration::from_millis(5), READY_LIMIT, interrupt)?;
        for route in self.routes {
            route.verify(&contestant.label, server.address)?;
        }
        if let Some(duties) = &contestant.duties {
            duties.verify(&contestant.label, &server, first, interrupt)?;
        }
        let cookie = route.cookie(server.address)?;
        let headers: Vec<Header<'_>> =
            headers.iter().copied().chain(cookie.iter().map(|cookie| ("cookie", cookie.as_str()))).collect();
        let warm_up = Load { seconds: WARM_UP_SECONDS, ..mode.load }.run(server.address, route, &headers, interrupt)?;
        interrupt.sleep(AFTERGLOW)?;

        let database_cpu_time = || database.as_ref().map_or(Ok(None), Database::cpu_time);
        let (cpu_before, database_before) = (cpu_time(server.pid())?, database_cpu_time()?);
        let (machine_before, start) = (MachineTime::now()?, Instant::now());
        let outcome = mode.load.run(server.address, route, &headers, interrupt)?;
        interrupt.sleep(AFTERGLOW)?;
        let cpu = cpu_time(server.pid())? - cpu_before;
        let database_cpu =
            database_cpu_time()?.zip(database_before).map(|(after, before)| after.saturating_sub(before));
        let strangers =
            MachineTime::now()?.strangers_since(&machine_before, cpu + database_cpu.unwrap_or_default()).as_secs_f64()
                / start.elapsed().as_secs_f64();

        if outcome.failed() > 0 || outcome.requests == 0 {
            let (failed, requests) = (outcome.failed(), outcome.requests);
            return Err(Wanting::error(format!(
                "{failed} of {requests} requests failed ({outcome:?}); the figures mean nothing"
            )));
        }
        if let (Some(database), Some(_)) = (&database, route.numbers) {
            database.check_visits(warm_up.requests + outcome.requests)?;
        }
        let resident_bytes = resident_bytes(server.pid())?;
        let proof = match &contestant.duties {
            Some(duties) => {
                let requests = warm_up.requests + outcome.requests;
                Some((Proof::of(&server, requests, duties, interrupt)?, duties))
            }
            None => None,
        };
        server.stop(interrupt)?;
        let traces = receiver.take_traces();
        let proof = proof.map(|(proof, duties)| proof.with_traces(traces, duties)).transpose()?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let per_request = |time: Duration| time.as_secs_f64() * 1e6 / outcome.requests as f64;
        Ok(Measurement {
            mode: mode.name,
            round,
            route: route.pattern,
            server: contestant.label.clone(),
            requests: outcome.requests,
            cpu_us_per_request: per_request(cpu),
            database_cpu_us_per_request: database_cpu.map(per_request),
            requests_per_second: outcome.requests_per_second(),
            p50_us: outcome.p50_us,
            p99_us: outcome.p99_us,
            resident_bytes,
            strangers_percent: 100.0 * strangers,
            proof,
        })
    }
}

/// Of each round in which both were measured: the value of one server on a route over another's.
pub(crate) fn ratios(
    measurements: &[Measurement],
    one: (&str, &str),
    other: (&str, &str),
    value: fn(&Measurement) -> Option<f64>,
) -> Vec<f64> {
    of(measurements, one.0, one.1)
        .filter_map(|one| {
            let other = of(measurements, other.0, other.1).find(|other| other.round == one.round)?;
            let over = value(other)?;
            // Of what is next to nothing a multiple says nothing.
            (over > 0.05).then_some(value(one)? / over)
        })
        .collect()
}

/// CPU time of the server's process.
#[expect(clippy::unnecessary_wraps, reason = "as what not every server has")]
pub(crate) fn service(one: &Measurement) -> Option<f64> {
    Some(one.cpu_us_per_request)
}

/// For a table: the median of one server's measurements on a route.
pub(crate) fn middle(
    measurements: &[Measurement],
    (route, server): (&str, &str),
    decimals: usize,
    value: fn(&Measurement) -> Option<f64>,
) -> String {
    median(of(measurements, route, server).filter_map(value))
        .map_or_else(|| "–".to_owned(), |middle| format!("{middle:.decimals$}"))
}

/// Those of one server on a route.
pub(crate) fn of<'a>(
    measurements: &'a [Measurement],
    route: &'a str,
    server: &'a str,
) -> impl Iterator<Item = &'a Measurement> {
    measurements.iter().filter(move |one| one.route == route && one.server == server)
}

/// The largest share of one core that strangers used during a measurement, in percent.
pub(crate) fn noise(measurements: &[Measurement]) -> f64 {
    measurements.iter().map(|one| one.strangers_percent).fold(0.0, f64::max)
}

/// Says so when the machine was not quiet.
pub(crate) fn warn_of_noise(measurements: &[Measurement]) {
    let noise = noise(measurements);
    if noise > NOISE_PERCENT {
        terminal::warn(&format!(
            "strangers used up to {noise:.0} % of a core during a measurement; only the ratios say something, and they \
             are rough. Repeat on a quiet machine."
        ));
    }
}
