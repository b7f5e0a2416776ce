//! What an operator can set about logs, metrics, traces and the thresholds of the machine's health.

mod otel;
mod traces;

use std::path::PathBuf;

use covet_core::environment::Environment;
use covet_core::secret::SecretString;
use covet_core::settings::{ByteSize, Invalid, SettingValue, Settings};

pub use otel::{Headers, KeyValues, Milliseconds};
pub use traces::{Compression, Exporter, Propagation, Propagator, Protocol, SamplerChoice, Target, TraceSettings};

use crate::logging::{Levels, NamePattern};

/// What is logged, how it looks and where it goes.
#[derive(Debug, Clone, Settings)]
#[settings(section = "log", validate = "files_differ")]
pub struct LogSettings {
    /// Least level that is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`; after it, other levels for single
    /// loggers and what is below them, as in `info,covet_data=debug`. Loggers are named as in the log lines or as Rust
    /// modules. `covet.security` and `covet.audit` are on whatever it says, unless it names them:
    /// `info,covet.security=off`. It can be changed while the service runs: `/log-level` on the operator's port.
    #[setting(variable = "LOG_LEVEL", default = "info", example = "info,covet_data=debug")]
    pub level: Levels,
    /// How a line looks.
    #[setting(variable = "LOG_FORMAT", default = "human", default_outside_development = "json")]
    pub format: LogFormat,
    /// File that is logged to beside standard output. Its directory is made when it is not there. One process a file.
    #[setting(variable = "LOG_FILE", example = "/app/logs/covet.log")]
    pub file: Option<PathBuf>,
    /// File that lines of `covet.security` go to as well.
    #[setting(example = "/app/logs/security.log")]
    pub security_file: Option<PathBuf>,
    /// File that lines of `covet.audit` go to as well.
    #[setting(example = "/app/logs/audit.log")]
    pub audit_file: Option<PathBuf>,
    /// Size at which a log file is closed and a new one begun. Where logrotate does that, more than it lets a file grow.
    #[setting(default = "100MiB", min = "64KiB")]
    pub file_max_size: ByteSize,
    /// Boundary, in UTC, after which the next line begins a new file too.
    #[setting(default = "never")]
    pub rotate_every: RotateEvery,
    /// Number of closed files that are kept of each log file: `covet.log.1` is the youngest.
    #[setting(default = "5", max = "1000")]
    pub files_kept: u32,
    /// Whether to log to standard output.
    #[setting(default = "true")]
    pub stdout: bool,
    /// Set to anything, it takes the colours off a terminal (<https://no-color.org>).
    #[setting(variable = "NO_COLOR")]
    pub no_color: Option<String>,
    /// Memory for lines that wait to be written. When it is full, further lines are dropped and counted; the service
    /// never waits for its log.
    #[setting(default = "8MiB", min = "256KiB", max = "1GiB")]
    pub buffer: ByteSize,
    /// Names of fields and headers whose value is never logged, beside the built-in ones (passwords, tokens, keys,
    /// cookies and so on). `*` stands for any letters; capitals do not count, `-` and `_` are the same.
    #[setting(default = "", example = "iban,x-partner-*")]
    pub redact: Vec<NamePattern>,
    /// How a client's address is logged.
    #[setting(default = "full")]
    pub ip_address: AddressPolicy,
    /// How a user's id is logged.
    #[setting(default = "full")]
    pub user_id: UserPolicy,
    /// Key of the pseudonyms that `hashed` makes. With the same key, all instances make the same pseudonyms, also after a
    /// restart; without one, each process has its own.
    #[setting(example = "openssl rand -hex 32")]
    pub hash_key: Option<SecretString>,
}

fn files_differ(settings: &LogSettings, _: Environment) -> Vec<Invalid> {
    let files = [
        ("file", "LOG_FILE", &settings.file),
        ("security_file", "COVET_LOG__SECURITY_FILE", &settings.security_file),
        ("audit_file", "COVET_LOG__AUDIT_FILE", &settings.audit_file),
    ];
    let mut invalid = Vec::new();
    for (index, (key, _, file)) in files.iter().enumerate().skip(1) {
        let same = files[..index].iter().find(|(_, _, other)| file.is_some() && other == file);
        if let Some((_, other, _)) = same {
            invalid.push(Invalid::new(key, format!("is the file of {other} too, and each must have its own")));
        }
    }
    invalid
}

/// When a log file is closed by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum RotateEvery {
    /// By size only.
    Never,
    /// At every full hour.
    Hour,
    /// At midnight.
    Day,
}

/// How a client's address is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum AddressPolicy {
    /// As it is: who attacks can be told and blocked.
    Full,
    /// The network only: /24 of IPv4, /48 of IPv6.
    Truncated,
    /// A pseudonym: the same address has the same one.
    Hashed,
    /// Not at all.
    Off,
}

/// How a user's id is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum UserPolicy {
    /// As it is.
    Full,
    /// A pseudonym: the same user has the same one.
    Hashed,
    /// Not at all.
    Off,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Time, level, logger and message, for people; in colour on a terminal unless `NO_COLOR` is set.
    Human,
}

/// Limits of what the service measures.
#[derive(Debug, Clone, Settings)]
#[settings(section = "metrics")]
pub struct MetricsSettings {
    /// Largest number of label sets of one metric. What comes after is counted under the label value `other`, with a
    /// warning.
    #[setting(default = "1000", min = "10", max = "100000")]
    pub max_label_sets: usize,
    /// Directory through which several processes of this service on one host find one another. A scrape of any of them then
    /// shows the metrics of all, added up, and they may share their ports. On a local file system, for this service alone.
    #[setting(variable = "PROMETHEUS_MULTIPROC_DIR", example = "/run/covet/metrics")]
    pub processes_dir: Option<PathBuf>,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { max_label_sets: 1000, processes_dir: None }
    }
}

/// How full disk and memory may be before `/health` says so.
#[derive(Debug, Clone, Settings)]
#[settings(section = "health_thresholds", validate = "degraded_before_unhealthy")]
pub struct HealthThresholds {
    /// Disk in use, in percent, from which the service is degraded.
    #[setting(default = "80", min = "0", max = "100")]
    pub disk_degraded_percent: f64,
    /// Disk in use, in percent, from which the check is unhealthy.
    #[setting(default = "95", min = "0", max = "100")]
    pub disk_unhealthy_percent: f64,
    /// Memory in use, in percent, from which the service is degraded.
    #[setting(default = "85", min = "0", max = "100")]
    pub memory_degraded_percent: f64,
    /// Memory in use, in percent, from which the check is unhealthy.
    #[setting(default = "95", min = "0", max = "100")]
    pub memory_unhealthy_percent: f64,
}

fn degraded_before_unhealthy(thresholds: &HealthThresholds, _: Environment) -> Vec<Invalid> {
    let pairs = [
        ("disk_degraded_percent", thresholds.disk_degraded_percent, thresholds.disk_unhealthy_percent),
        ("memory_degraded_percent", thresholds.memory_degraded_percent, thresholds.memory_unhealthy_percent),
    ];
    let wrong = pairs.into_iter().filter(|(_, degraded, unhealthy)| degraded > unhealthy);
    wrong
        .map(|(key, degraded, unhealthy)| {
            Invalid::new(key, format!("is {degraded}, above the {unhealthy} from which it is unhealthy"))
                .example(unhealthy.to_string())
        })
        .collect()
}
