//! jemalloc: the allocator of services, what it says about itself, and how it gives memory back.

use covet_telemetry::metrics::{Collector, Exposition, Metric, Registry};
use tikv_jemalloc_ctl::{Error, background_thread, epoch, stats};

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Has what was freed given back to the system after ten seconds, by a thread of jemalloc's. Without it only threads that
/// allocate give back, and a service that has become quiet keeps the memory of its busiest minute.
pub(crate) fn give_back_in_background() {
    if let Err(error) = background_thread::write(true) {
        tracing::debug!(%error, "jemalloc has no thread here that gives memory back");
    }
}

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
