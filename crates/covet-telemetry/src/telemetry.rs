//! Everything of this crate started together for a process.

use std::sync::Arc;

use covet_core::clock::Clock;
use covet_core::environment::Environment;

use crate::local::Local;
use crate::logging::{self, CapturedLines, LogError, Logging};
use crate::metrics::{RecorderInstalled, Registry};
use crate::settings::{LogSettings, MetricsSettings};
use crate::system::{AboutCollector, SystemCollector};

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

/// Metrics and logging of a process. Dropping it ends logging.
#[derive(Debug)]
pub struct Telemetry {
    /// All metrics; behind the `metrics` macros too.
    pub registry: Registry,
    /// The log.
    pub logging: Logging,
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
}

impl Telemetry {
    /// Starts logging, puts the registry behind the `metrics` macros, and registers the collectors of machine,
    /// process, service and log. Once a process.
    ///
    /// # Errors
    /// When the log file cannot be written, or something else in the process logs or records metrics already.
    pub fn start(
        service: Service<'_>,
        log: &LogSettings,
        metrics: &MetricsSettings,
        clock: &Clock,
    ) -> Result<Self, StartError> {
        let logging = logging::init(log, service.name, clock.clone())?;
        let registry = Registry::with_settings(metrics);
        registry.install_recorder()?;
        Ok(Self::with_collectors(service, registry, logging, clock))
    }

    /// The same for single threads, into memory: a test starts as many as it likes. Those threads call
    /// [`Local::adopt`] first.
    ///
    /// # Errors
    /// When the thread that writes the log cannot be started.
    pub fn capture(
        service: Service<'_>,
        log: &LogSettings,
        metrics: &MetricsSettings,
        clock: &Clock,
    ) -> Result<(Self, Local, CapturedLines), StartError> {
        let (logging, lines) = Logging::capture(log, service.name, clock.clone())?;
        let registry = Registry::with_settings(metrics);
        let local = Local::new(&logging, &registry);
        Ok((Self::with_collectors(service, registry, logging, clock), local, lines))
    }

    fn with_collectors(service: Service<'_>, registry: Registry, logging: Logging, clock: &Clock) -> Self {
        registry.register(Arc::new(SystemCollector::new()));
        let Service { name, version, environment } = service;
        registry.register(Arc::new(AboutCollector::new(name, version, environment, clock.clone())));
        logging.register_metrics(&registry);
        Self { registry, logging }
    }
}
