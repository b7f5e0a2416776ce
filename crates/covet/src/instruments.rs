//! The metrics that are read off the process when somebody scrapes: the API port's queue and workers.

use std::sync::Arc;

use covet_http::listener::WorkerStates;
use covet_telemetry::metrics::catalog::{APP_REQUESTS_QUEUE_DEPTH, APP_WORKERS_TOTAL};
use covet_telemetry::metrics::{Collector, Exposition};

/// Queue and workers of the API port.
pub(crate) struct AppCollector(pub(crate) Arc<WorkerStates>);

impl Collector for AppCollector {
    fn name(&self) -> &'static str {
        "app"
    }

    fn collect(&self, out: &mut Exposition) {
        let (active, idle) = self.0.active_and_idle();
        out.gauge(APP_WORKERS_TOTAL, &["active"], active);
        out.gauge(APP_WORKERS_TOTAL, &["idle"], idle);
        out.gauge(APP_REQUESTS_QUEUE_DEPTH, &[], self.0.queue_depth());
    }
}
