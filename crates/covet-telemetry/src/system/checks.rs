//! Health checks of disk and memory, with the thresholds of [`HealthThresholds`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use covet_core::health::{Check, CheckFuture, Outcome};

use super::readings::{self, NotRead, Space};
use crate::settings::HealthThresholds;

const GIB: f64 = (1_u64 << 30) as f64;
const MIB: f64 = (1_u64 << 20) as f64;

/// How full the disk is that holds a directory: `percent_used`, `free_gb` (2³⁰ bytes).
#[derive(Debug)]
pub struct DiskSpace {
    directory: PathBuf,
    limits: Limits,
    /// True while a reading is under way: a network disk can hang for ever.
    reading: Arc<AtomicBool>,
}

/// How full memory is, that of the container where it has a limit: `percent_used`, `available_mb` (2²⁰ bytes).
#[derive(Debug)]
pub struct Memory {
    limits: Limits,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    degraded_percent: f64,
    unhealthy_percent: f64,
}

impl DiskSpace {
    /// The disk that holds `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, thresholds: &HealthThresholds) -> Self {
        let limits = Limits {
            degraded_percent: thresholds.disk_degraded_percent,
            unhealthy_percent: thresholds.disk_unhealthy_percent,
        };
        Self { directory: directory.into(), limits, reading: Arc::default() }
    }

    fn outcome(limits: Limits, space: &Result<Space, NotRead>) -> Outcome {
        match space {
            Ok(space) => limits
                .outcome("the disk", space.percent_used())
                .reading("free_gb", rounded(space.available_bytes as f64 / GIB, 100.0)),
            Err(NotRead::Unsupported) => Outcome::healthy(),
            Err(_) => Outcome::unhealthy("the disk cannot be read"),
        }
    }
}

impl Check for DiskSpace {
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async {
            if self.reading.swap(true, Relaxed) {
                return Outcome::unhealthy("the disk does not answer");
            }
            let (directory, limits, reading) = (self.directory.clone(), self.limits, Arc::clone(&self.reading));
            let outcome = tokio::task::spawn_blocking(move || {
                let outcome = Self::outcome(limits, &Space::at(&directory));
                reading.store(false, Relaxed);
                outcome
            });
            outcome.await.unwrap_or_else(|_| Outcome::unhealthy("the disk cannot be read"))
        })
    }
}

impl Memory {
    /// The memory that this process can have.
    #[must_use]
    pub fn new(thresholds: &HealthThresholds) -> Self {
        let limits = Limits {
            degraded_percent: thresholds.memory_degraded_percent,
            unhealthy_percent: thresholds.memory_unhealthy_percent,
        };
        Self { limits }
    }

    fn outcome(&self, memory: &Result<readings::Memory, NotRead>) -> Outcome {
        match memory {
            Ok(memory) => self
                .limits
                .outcome("memory", memory.percent_used())
                .reading("available_mb", rounded(memory.available_bytes as f64 / MIB, 1.0)),
            Err(NotRead::Unsupported) => Outcome::healthy(),
            Err(_) => Outcome::degraded("memory cannot be read"),
        }
    }
}

impl Check for Memory {
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(async { self.outcome(&readings::Memory::read()) })
    }
}

impl Limits {
    fn outcome(self, what: &str, percent: f64) -> Outcome {
        let full = |limit: f64| format!("{what} is {percent:.1} % full; the limit is {limit} %");
        let outcome = if percent >= self.unhealthy_percent {
            Outcome::unhealthy(full(self.unhealthy_percent))
        } else if percent >= self.degraded_percent {
            Outcome::degraded(full(self.degraded_percent))
        } else {
            Outcome::healthy()
        };
        outcome.reading("percent_used", rounded(percent, 10.0))
    }
}

/// To one part in `parts`.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests {
    use covet_core::environment::Environment;
    use covet_core::health::Status;
    use covet_core::settings::Section;

    use super::*;

    fn thresholds() -> HealthThresholds {
        HealthThresholds::defaults(Environment::Production)
    }

    fn space(percent: u64) -> Result<Space, NotRead> {
        let gib = 1 << 30;
        Ok(Space { total_bytes: 110 * gib, used_bytes: percent * gib, available_bytes: (100 - percent) * gib })
    }

    #[test]
    fn a_disk_is_degraded_from_80_and_unhealthy_from_95_percent() {
        let check = DiskSpace::new("/", &thresholds());
        for (percent, status) in [
            (0, Status::Healthy),
            (79, Status::Healthy),
            (80, Status::Degraded),
            (94, Status::Degraded),
            (95, Status::Unhealthy),
            (100, Status::Unhealthy),
        ] {
            let outcome = DiskSpace::outcome(check.limits, &space(percent));
            assert_eq!(outcome.status, status, "{percent}");
            assert_eq!(outcome.reason.is_some(), status != Status::Healthy);
        }
        let outcome = serde_json::to_value(DiskSpace::outcome(check.limits, &space(42))).unwrap();
        assert_eq!(outcome, serde_json::json!({"status": "healthy", "percent_used": 42.0, "free_gb": 58.0}));
    }

    #[test]
    fn memory_is_degraded_from_85_and_unhealthy_from_95_percent() {
        let check = Memory::new(&thresholds());
        let memory = |percent: u64| {
            let mib = 1 << 20;
            Ok(readings::Memory { total_bytes: 1000 * mib, available_bytes: (1000 - percent * 10) * mib })
        };
        for (percent, status) in
            [(84, Status::Healthy), (85, Status::Degraded), (94, Status::Degraded), (95, Status::Unhealthy)]
        {
            assert_eq!(check.outcome(&memory(percent)).status, status, "{percent}");
        }
        let outcome = serde_json::to_value(check.outcome(&memory(50))).unwrap();
        assert_eq!(outcome, serde_json::json!({"status": "healthy", "percent_used": 50.0, "available_mb": 500.0}));
    }

    #[tokio::test]
    async fn the_disk_is_really_read() {
        let outcome = DiskSpace::new("/", &thresholds()).check().await;
        assert!(outcome.readings["free_gb"].as_f64().unwrap() > 0.0, "{outcome:?}");
        let outcome = DiskSpace::new("/not/there", &thresholds()).check().await;
        assert_eq!(outcome.status, Status::Unhealthy);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_asked_again() {
        let check = DiskSpace::new("/", &thresholds());
        check.reading.store(true, Relaxed);
        assert_eq!(check.check().await.reason.as_deref(), Some("the disk does not answer"));
    }
}
