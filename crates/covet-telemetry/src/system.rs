//! Readings of the machine and of this process: for metrics when somebody scrapes, and for health checks.
//!
//! | you want | look in |
//! |---|---|
//! | the `system_*` and `process_*` metrics | [`SystemCollector`] |
//! | the `tokio_*` metrics | [`RuntimeCollector`] |
//! | `app_info`, `app_version_info`, `app_uptime_seconds` | [`AboutCollector`] |
//! | the health checks of disk and memory | [`checks`] |
//! | the readings themselves | [`readings`] |
//! | how Linux tells them | `linux.rs` |
//!
//! Reading never waits: percentages are shares of the time since the last scrape, and only local file systems
//! are asked for their space. On other systems than Linux most readings are absent, and so are their values.

mod about;
#[cfg(not(target_os = "linux"))]
mod absent;
pub mod checks;
mod collector;
#[cfg(target_os = "linux")]
mod linux;
pub mod readings;
mod runtime;
mod window;

#[cfg(not(target_os = "linux"))]
use absent as platform;
#[cfg(target_os = "linux")]
use linux as platform;

pub use about::{AboutCollector, RUST_VERSION};
pub(crate) use collector::DISK_IO;
pub use collector::SystemCollector;
pub(crate) use runtime::RUNTIMES;
pub use runtime::RuntimeCollector;
