//! Times of sweeps: the work of finding and freeing what nobody needs any longer, such as idle connections or
//! expired sessions. They show as `garbage_collection_duration_seconds`, which Rust has no other truth for.

use std::time::Duration;

use metrics::Histogram;

use super::{Registry, catalog};

/// The times of one kind of sweep.
///
/// ```
/// use covet_telemetry::metrics::{Registry, sweep::Sweep};
/// use std::time::Duration;
///
/// let registry = Registry::new();
/// let sweep = Sweep::new(&registry, "connections");
/// sweep.took(Duration::from_millis(2));
///
/// let line = "garbage_collection_duration_seconds_count{generation=\"connections\"} 1.0\n";
/// assert!(registry.render().contains(line));
/// ```
#[derive(Debug, Clone)]
pub struct Sweep(Histogram);

impl Sweep {
    /// Sweeps of `generation`: a short plural noun for what is swept.
    #[must_use]
    pub fn new(registry: &Registry, generation: &'static str) -> Self {
        Self(registry.histogram(catalog::GARBAGE_COLLECTION_DURATION_SECONDS, &[generation]))
    }

    /// Counts one sweep.
    pub fn took(&self, duration: Duration) {
        self.0.record(duration);
    }
}
