//! Handles of documented metrics for the parts that feed them, so that they call a method and no name or label is
//! written twice. Each is made once, with the registry, and costs a few nanoseconds a use.
//!
//! | part | handles |
//! |---|---|
//! | cache | [`CacheInstruments`], and [`CacheLevels`] read at the scrape |
//! | query cache | [`QueryCacheInstruments`] |
//! | background work | [`TaskInstruments`] |
//! | rate limits | [`RateLimitInstruments`] |
//! | sweeps | [`Sweep`](super::sweep::Sweep) |
//!
//! Attempts to authenticate are counted by `covet_identity::attempts`, statements by `covet_data`, requests by
//! `covet_http`.

mod cache;
mod rate_limit;
mod tasks;

pub use cache::{CacheInstruments, CacheLevels, CacheOperation, CacheUse, QueryCacheInstruments};
pub use rate_limit::RateLimitInstruments;
pub use tasks::{RunningTask, TaskInstruments, TaskStatus};
