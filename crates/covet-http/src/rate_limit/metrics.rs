//! What is counted of the limits themselves. Refused requests are in `app_rate_limit_exceeded`.

use std::sync::Weak;

use covet_telemetry::declare_metrics;
use covet_telemetry::metrics::{Collector, Exposition};

use super::RateLimits;

declare_metrics! {
    /// Rate limits.
    pub(crate) ALL;

    /// Requests counted against this instance's own limits because Redis did not answer.
    ///
    /// Counted once more where a limit by user or key applies too.
    counter LOCAL_TOTAL = "rate_limit_local_total" {};
    /// Clients forgotten before their time because the table of clients was full.
    ///
    /// Whoever is forgotten may make as many requests as one that comes afresh. If it rises, raise
    /// `COVET_RATE_LIMIT__CLIENTS`.
    counter DISPLACED_TOTAL = "rate_limit_displaced_clients_total" {};
    /// Memory of the table of clients, in bytes.
    ///
    /// It grows as clients come, up to 26 bytes for each of `COVET_RATE_LIMIT__CLIENTS`.
    gauge MEMORY_BYTES = "rate_limit_memory_bytes" {};
}

/// Reads them when somebody scrapes, as long as there are limits.
pub(super) struct LimitCollector(pub(super) Weak<RateLimits>);

impl Collector for LimitCollector {
    fn name(&self) -> &'static str {
        "rate limits"
    }

    fn collect(&self, out: &mut Exposition) {
        let Some(limits) = self.0.upgrade() else { return };
        out.counter(LOCAL_TOTAL, &[], limits.counted_here());
        out.counter(DISPLACED_TOTAL, &[], limits.cells.displaced());
        out.gauge(MEMORY_BYTES, &[], limits.cells.bytes() as u64);
    }
}
