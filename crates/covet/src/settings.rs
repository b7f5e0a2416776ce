//! Settings: those of the process's life, and everything to declare your own.
//!
//! ```
//! use covet::settings::Settings;
//! use std::time::Duration;
//!
//! /// How the shop takes orders.
//! #[derive(Debug, Clone, Settings)]
//! #[settings(section = "shop")]
//! pub struct ShopSettings {
//!     /// Longest time an order may wait for its payment.
//!     #[setting(default = "15m", min = "1m", max = "24h")]
//!     pub payment_timeout: Duration,
//! }
//! ```
//!
//! `App::settings::<ShopSettings>()` reads it as `COVET_SHOP__PAYMENT_TIMEOUT`; handlers get it from
//! [`Context::settings`](crate::Context::settings).

use std::time::Duration;

pub use covet_core::settings::*;
pub use covet_macros::{CovetSettingValue as SettingValue, CovetSettings as Settings};

/// How the process ends.
#[derive(Debug, Clone, covet_core::settings::Settings)]
#[settings(section = "shutdown")]
pub struct ShutdownSettings {
    /// How long the service goes on serving after it was told to stop, not ready any more: the time load balancers
    /// need to take it out. At least their probe interval times their failures.
    #[setting(default = "0s", default_outside_development = "5s", max = "10m")]
    pub readiness_delay: Duration,
    /// How long requests, WebSockets and tasks may then take to finish. Later they are cut, named in the log, and the
    /// process exits with 1. An orchestrator's grace period must exceed the delay and this together.
    #[setting(default = "30s", min = "10ms", max = "1h")]
    pub deadline: Duration,
}

/// Background work.
#[derive(Debug, Clone, covet_core::settings::Settings)]
#[settings(section = "worker")]
pub struct WorkerSettings {
    /// Whether `serve` runs background work too. Switch it off where processes started with `worker` do it.
    #[setting(default = "true")]
    pub in_process: bool,
}

/// What is read again while the service runs.
#[derive(Debug, Clone, covet_core::settings::Settings)]
#[settings(section = "reload")]
pub struct ReloadSettings {
    /// How often certificates and keys are read again although their files seem unchanged. A change that the file system
    /// tells of is noticed within seconds, and SIGHUP reads everything at once.
    #[setting(default = "1h", min = "1s", max = "24h")]
    pub interval: Duration,
}

/// What becomes of a program that is older than the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, covet_core::settings::SettingValue)]
pub enum WhenAhead {
    /// It does not start.
    Refuse,
    /// It starts, and the log has a warning.
    Start,
}

/// The database's schema at start-up.
#[derive(Debug, Clone, covet_core::settings::Settings)]
#[settings(section = "migrations")]
pub struct MigrationSettings {
    /// Whether the service applies pending migrations when it starts. Where it may not, it refuses to start while some
    /// are pending.
    #[setting(default = "true")]
    pub on_start: bool,
    /// What the service does when the database has migrations that it does not know, because a newer release has
    /// applied them: `refuse` to start, or `start` all the same. Choose `start` where every migration leaves the release
    /// before it working (docs/guides/migrations.md): then an old instance may start again during a rollout, and the
    /// release before can be rolled back to.
    #[setting(default = "refuse")]
    pub when_ahead: WhenAhead,
}
