//! What an operator can set about jobs.

use std::time::Duration;

use covet_core::settings::Settings;

/// Jobs. Whether a process does any says `COVET_WORKER__IN_PROCESS`.
#[derive(Debug, Clone, Settings)]
#[settings(section = "jobs")]
pub struct JobSettings {
    /// Jobs that a process does at once.
    #[setting(default = "20", min = "1", max = "1000")]
    pub at_once: usize,
    /// How long a job is on loan to the worker that has taken it. The worker extends it three times in that time; when it dies, others
    /// take its jobs after it.
    #[setting(default = "30s", min = "1s", max = "1h")]
    pub lease: Duration,
    /// How often a worker looks for jobs that it was not told of: those that were put off, are tried again, or were added by
    /// another process on SQLite. PostgreSQL tells at once of those that are added.
    #[setting(default = "1s", min = "10ms", max = "5m")]
    pub poll_interval: Duration,
    /// How long jobs at work may go on once the process stops. Later they are handed back, and another worker begins anew with them.
    /// Less than `COVET_SHUTDOWN__DEADLINE`, or they are cut there and wait for their lease to end.
    #[setting(default = "20s", max = "1h")]
    pub hand_back_after: Duration,
    /// How long a job that was given up is kept, to be looked at and tried again.
    #[setting(default = "30d", min = "1m", max = "3650d")]
    pub keep_dead: Duration,
}
