//! What is counted of connections, beside the documented 60.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use covet_telemetry::declare_metrics;

declare_metrics! {
    /// Connections of the API port.
    pub(super) ALL;

    /// Connections accepted.
    counter ACCEPTED_TOTAL = "http_connections_accepted_total" {};
    /// Connections open now.
    gauge OPEN = "http_connections_open" {};
    /// Connections refused, by reason: limit (too many are open), accept (the system refused), tls (no handshake).
    counter REFUSED_TOTAL = "http_connections_refused_total" {reason};
    /// Connections closed by a timer, by which: header, idle, age.
    counter TIMED_OUT_TOTAL = "http_connections_timed_out_total" {timer};
    /// Connections that sent something that is not HTTP.
    counter MALFORMED_TOTAL = "http_malformed_requests_total" {};
}

/// Counters of connections. Touched once a connection, so plain atomics will do.
#[derive(Debug, Default)]
pub struct ConnectionMetrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) refused_limit: AtomicU64,
    pub(crate) refused_accept: AtomicU64,
    pub(crate) refused_tls: AtomicU64,
    pub(crate) timed_out_header: AtomicU64,
    pub(crate) timed_out_idle: AtomicU64,
    pub(crate) timed_out_age: AtomicU64,
    pub(crate) malformed: AtomicU64,
}

impl ConnectionMetrics {
    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        let closed = self.closed.load(Relaxed);
        self.accepted.load(Relaxed).saturating_sub(closed)
    }
}
