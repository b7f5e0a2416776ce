//! Everything of this crate started together for a process.

use std::sync::Arc;

use covet_core::clock::Clock;
use covet_core::environment::Environment;

use crate::local::Local;
use crate::logging::{self, CapturedLines, LogError, Logging};
use crate::metrics::processes::{self, JoinError, Membership};
use crate::metrics::{RecorderInstalled, Registry};
use crate::settings::{LogSettings, MetricsSettings, TraceSettings};
use crate::system::{self, AboutCollector, SystemCollector};
use crate::traces::{self, Collected, Export, TraceError, Tracer, Traces};

/// Which service this is.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its name: `service` in log lines, `name` in `app_info`.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Where it runs.
    pub environment: Environment,
}

/// Metrics, logging and traces of a process. Dropping it leaves the other processes and ends logging.
#[derive(Debug)]
pub struct Telemetry {
    /// All metrics; behind the `metrics` macros too.
    pub registry: Registry,
    /// This process among others of the service on this host, if it shares its metrics with them.
    pub membership: Option<Membership>,
    /// The log.
    pub logging: Logging,
    /// What is done about traces.
    pub traces: Traces,
    /// Sends spans; `None` when traces are off.
    pub export: Option<Export>,
}

/// Declares every metric that [`Telemetry::start`] can come to show, without starting anything: for the reference page.
pub fn declare_all(registry: &Registry) {
    for group in [system::DISK_IO, logging::METRICS, traces::METRICS, processes::PROCESS_GROUP, system::RUNTIMES] {
        registry.declare_all(group);
    }
}

/// What [`Telemetry::capture`] keeps in memory, beside the registry. Clones share it.
#[derive(Debug, Clone)]
pub struct Captured {
    /// Log lines.
    pub lines: CapturedLines,
    /// Spans that have ended.
    pub spans: Collected,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Logging could not begin.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The metrics facade is taken.
    #[error(transparent)]
    Metrics(#[from] RecorderInstalled),
    /// Spans cannot be sent.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// The processes cannot show their metrics together.
    #[error(transparent)]
    Processes(#[from] JoinError),
}

impl Telemetry {
    /// Starts logging and sending traces, puts the registry behind the `metrics` macros, and registers the collectors
    /// of machine, process, service and log. Once a process.
    ///
    /// # Errors
    /// When the log file or the directory of the processes cannot be written, something else in the process logs or
    /// records metrics already, or spans cannot be sent with these settings.
    pub fn start(
        service: Service<'_>,
        log: &LogSettings,
        metrics: &MetricsSettings,
        traces: &TraceSettings,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let (export, tracer) = Export::start(traces, service, clock)?.unzip();
        let spans = tracer.clone().map(|tracer| (tracer, traces.spans.clone()));
        let logging = logging::init_with_spans(log, service.name, clock.clone(), spans)?;
        let registry = Registry::with_settings(metrics);
        registry.install_recorder()?;
        let telemetry = Self::with_collectors(service, registry, logging, clock);
        if let Some(export) = &export {
            export.register_metrics(&telemetry.registry);
        }
        let directory = metrics.processes_dir.as_deref();
        let membership =
            directory.map(|directory| processes::join(&telemetry.registry, directory, clock)).transpose()?;
        let traces = Traces::new(traces, tracer).with_personal(telemetry.logging.personal());
        Ok(Self { membership, traces, export, ..telemetry })
    }

    /// The same for single threads, into memory: a test starts as many as it likes. Those threads call
    /// [`Local::adopt`] first. Nothing is sent anywhere, whatever the settings say.
    ///
    /// # Errors
    /// When the thread that writes the log cannot be started.
    pub fn capture(
        service: Service<'_>,
        log: &LogSettings,
        metrics: &MetricsSettings,
        traces: &TraceSettings,
        clock: &Clock,
    ) -> Result<(Self, Local, Captured), StartError> {
        let (logging, lines) = Logging::capture(log, service.name, clock.clone())?;
        let registry = Registry::with_settings(metrics);
        let spans = Collected::default();
        let tracer = Tracer::new(traces, clock, spans.sink());
        let local = Local::new(&logging, &registry, Some((tracer.clone(), traces.spans.clone())));
        let telemetry = Self::with_collectors(service, registry, logging, clock);
        let traces = Traces::new(traces, Some(tracer)).with_personal(telemetry.logging.personal());
        Ok((Self { traces, ..telemetry }, local, Captured { lines, spans }))
    }

    fn with_collectors(service: Service<'_>, registry: Registry, logging: Logging, clock: &Clock) -> Self {
        registry.register(Arc::new(SystemCollector::new(&registry)));
        let Service { name, version, environment } = service;
        registry.register(Arc::new(AboutCollector::new(name, version, environment, clock.clone())));
        logging.register_metrics(&registry);
        Self { registry, membership: None, logging, traces: Traces::off(), export: None }
    }
}
