//! What is counted of the connections to Redis beside the metrics of every cache.

use covet_telemetry::declare_metrics;
use metrics::counter;

declare_metrics! {
    /// Cache: Redis.
    pub(crate) ALL;

    /// Attempts beyond the first of a call to Redis.
    ///
    /// `reason`: `connection_lost`, `not_connected` (a replica, then the master), `read_only`, `loading`, `master_down`,
    /// `cluster_down`, `try_again`, `moved`, `ask`.
    counter CACHE_RETRIES_TOTAL = "cache_retries_total" {reason};
    /// Changes to another master that were followed.
    ///
    /// With Sentinel. On a cluster see `cache_retries_total` with `moved`.
    counter CACHE_FAILOVERS_TOTAL = "cache_failovers_total" {};
}

/// Counts a further attempt.
pub(super) fn retried(reason: &'static str) {
    counter!(CACHE_RETRIES_TOTAL.name, "reason" => reason).increment(1);
}

/// Counts a change to another master.
pub(super) fn failed_over() {
    counter!(CACHE_FAILOVERS_TOTAL.name).increment(1);
}
