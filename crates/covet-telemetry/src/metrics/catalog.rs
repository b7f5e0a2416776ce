//! The 60 documented metrics: 13 HTTP, 15 database, 10 cache, 12 system, 10 application.
//!
//! Names are a promise to dashboards and alerts. They stay exactly as they are, also where a counter has no
//! `_total` or a gauge has one; `promtool` lints that, and it is accepted. Each name appears with HELP and TYPE
//! before anything has been counted. Metrics beside the 60 are declared where they are fed; all are listed in
//! `docs/reference/metrics.md`, which is made from these declarations.
//!
//! Who feeds what: HTTP and WebSocket `covet-http`; `db_*` `covet-data`; `system_*`, `process_*`, `app_info`,
//! `app_version_info`, `app_uptime_seconds` [`crate::system`]; tasks, rate limits, cache and sweeps whoever does them,
//! through the handles in [`instruments`](super::instruments).

mod application;
mod cache;
mod database;
mod http;
mod system;

use super::{Group, Metric};

pub use application::*;
pub use cache::*;
pub use database::*;
pub use http::*;
pub use system::*;

/// The documented groups, in the order of the documents.
pub const GROUPS: [&Group; 5] = [HTTP, DATABASE, CACHE, SYSTEM, APPLICATION];

/// All 60, in the order of the documents.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.into_iter().flat_map(|group| group.metrics.iter().copied())
}

/// Buckets of request durations, and the usual ones where nothing better is known (seconds).
pub const DEFAULT_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
