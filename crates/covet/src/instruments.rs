//! The metrics that are read off the process when somebody scrapes: the API port's queue and workers, the allocator.

use std::sync::Arc;

use covet_http::listener::WorkerStates;
use covet_telemetry::metrics::catalog::{APP_REQUESTS_QUEUE_DEPTH, APP_WORKERS_TOTAL};
use covet_telemetry::metrics::{Collector, Exposition};

#[cfg(feature = "jemalloc")]
pub(crate) use allocator::{ALLOCATOR, AllocatorCollector};

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

#[cfg(feature = "jemalloc")]
mod allocator {
    use covet_telemetry::metrics::{Collector, Exposition, Metric, Registry};
    use tikv_jemalloc_ctl::{Error, epoch, stats};

    covet_telemetry::declare_metrics! {
        /// Allocator.
        ///
        /// What jemalloc says about itself, read at the scrape. `allocated ≤ active ≤ resident ≤ mapped`. Where did the memory
        /// go: into `allocated` when the service holds it, between `allocated` and `active` when it is fragmented, between
        /// `active` and `resident` when the allocator has not given it back yet.
        pub(crate) ALLOCATOR;

        /// Bytes that the service has allocated and not freed.
        gauge ALLOCATED = "allocator_allocated_bytes" {};
        /// Bytes in pages that have something allocated in them.
        gauge ACTIVE = "allocator_active_bytes" {};
        /// Bytes of the allocator's own bookkeeping.
        gauge METADATA = "allocator_metadata_bytes" {};
        /// Bytes that the allocator occupies in memory.
        gauge RESIDENT = "allocator_resident_bytes" {};
        /// Bytes in the allocator's mappings.
        gauge MAPPED = "allocator_mapped_bytes" {};
        /// Bytes of addresses that the allocator keeps without memory behind them.
        gauge RETAINED = "allocator_retained_bytes" {};
    }

    /// Reads the allocator.
    pub(crate) struct AllocatorCollector;

    /// Reads one number.
    type Reading = fn() -> Result<usize, Error>;

    const READINGS: [(&Metric, Reading); 6] = [
        (ALLOCATED, stats::allocated::read),
        (ACTIVE, stats::active::read),
        (METADATA, stats::metadata::read),
        (RESIDENT, stats::resident::read),
        (MAPPED, stats::mapped::read),
        (RETAINED, stats::retained::read),
    ];

    impl AllocatorCollector {
        pub(crate) fn new(registry: &Registry) -> Self {
            registry.declare_all(ALLOCATOR);
            Self
        }
    }

    impl Collector for AllocatorCollector {
        fn name(&self) -> &'static str {
            "allocator"
        }

        fn collect(&self, out: &mut Exposition) {
            // The numbers are those of the last epoch.
            if let Err(error) = epoch::advance() {
                out.failure(error.to_string());
                return;
            }
            for (metric, read) in READINGS {
                match read() {
                    Ok(bytes) => out.gauge(metric, &[], bytes),
                    Err(error) => out.failure(format!("{}: {error}", metric.name)),
                }
            }
        }
    }
}
