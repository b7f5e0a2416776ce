//! Which service this is: name, version, environment, and for how long it has been running.

use std::time::Instant;

use covet_core::clock::Clock;
use covet_core::environment::Environment;

use crate::metrics::catalog::{APP_INFO, APP_UPTIME_SECONDS, APP_VERSION_INFO};
use crate::metrics::{Collector, Exposition};

/// The compiler that built this, such as `1.90.0`.
pub const RUST_VERSION: &str = env!("COVET_RUST_VERSION");

/// Tells `app_info`, `app_version_info` and `app_uptime_seconds`.
#[derive(Debug)]
pub struct AboutCollector {
    name: String,
    version: String,
    environment: Environment,
    clock: Clock,
    started: Instant,
}

impl AboutCollector {
    /// The service's uptime begins now.
    #[must_use]
    pub fn new(name: &str, version: &str, environment: Environment, clock: Clock) -> Self {
        let started = clock.monotonic();
        Self { name: name.to_owned(), version: version.to_owned(), environment, clock, started }
    }
}

impl Collector for AboutCollector {
    fn name(&self) -> &'static str {
        "about"
    }

    fn collect(&self, out: &mut Exposition) {
        out.info(APP_INFO, &[&self.name, self.environment.as_str()]);
        out.info(APP_VERSION_INFO, &[&self.version, RUST_VERSION]);
        let uptime = self.clock.monotonic().saturating_duration_since(self.started);
        out.gauge(APP_UPTIME_SECONDS, &[], uptime.as_secs_f64());
    }
}
