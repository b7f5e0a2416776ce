//! The registered checks, their limits, and the report.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Check, Outcome, Status};
use crate::clock::Clock;
use crate::settings::Settings;

/// How often and how long checks may run.
#[derive(Debug, Clone, Settings)]
#[settings(section = "health")]
pub struct HealthSettings {
    /// Longest time one check may take; after it the check counts as unhealthy.
    #[setting(default = "2s", min = "10ms", max = "5s")]
    pub check_timeout: Duration,
    /// How long an outcome is kept before the check runs again.
    #[setting(default = "1s", min = "0s", max = "1m")]
    pub cache_for: Duration,
}

/// What a failing check does to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criticality {
    /// Without it the service cannot answer: unhealthy makes the service unhealthy and not ready.
    Critical,
    /// The service goes on without it: unhealthy makes the service degraded.
    NonCritical,
}

/// The checks of a service. Cheap to clone; all clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

struct Shared {
    settings: HealthSettings,
    clock: Clock,
    checks: RwLock<Vec<Arc<Registered>>>,
}

struct Registered {
    name: String,
    criticality: Criticality,
    check: Arc<dyn Check>,
    /// The last outcome and when it was had. Held while the check runs, so that it runs once at a time.
    last: Mutex<Option<(Instant, Outcome)>>,
}

/// What all checks found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The worst that the criticality of each check lets through.
    pub status: Status,
    /// Each check's name and outcome, in the order of registration.
    pub checks: Vec<(String, Outcome)>,
    /// Names of the critical checks that are unhealthy.
    pub failed: Vec<String>,
}

impl Registry {
    /// A registry without checks.
    #[must_use]
    pub fn new(settings: HealthSettings, clock: Clock) -> Self {
        Self { shared: Arc::new(Shared { settings, clock, checks: RwLock::new(Vec::new()) }) }
    }

    /// Adds a check; one of the same name is replaced.
    pub fn register(&self, name: impl Into<String>, criticality: Criticality, check: impl Check) {
        self.register_shared(name.into(), criticality, Arc::new(check));
    }

    /// Adds a check that is already shared.
    pub fn register_shared(&self, name: String, criticality: Criticality, check: Arc<dyn Check>) {
        let new = Arc::new(Registered { name, criticality, check, last: Mutex::new(None) });
        let mut checks = self.shared.checks.write().unwrap_or_else(PoisonError::into_inner);
        match checks.iter_mut().find(|old| old.name == new.name) {
            Some(old) => *old = new,
            None => checks.push(new),
        }
    }

    /// Takes a check out. False when there was none of that name.
    pub fn remove(&self, name: &str) -> bool {
        let mut checks = self.shared.checks.write().unwrap_or_else(PoisonError::into_inner);
        let before = checks.len();
        checks.retain(|check| check.name != name);
        checks.len() < before
    }

    /// Asks every check whose outcome is too old, all at once, and reports. Takes no longer than the time limit
    /// of one check.
    pub async fn report(&self) -> Report {
        let checks = self.shared.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let runs: Vec<_> = checks
            .iter()
            .map(|check| {
                let (check, shared) = (Arc::clone(check), Arc::clone(&self.shared));
                tokio::spawn(async move { check.outcome(&shared).await })
            })
            .collect();

        let mut report =
            Report { status: Status::Healthy, checks: Vec::with_capacity(checks.len()), failed: Vec::new() };
        for (check, run) in checks.iter().zip(runs) {
            let outcome = run.await.unwrap_or_else(|_| Outcome::unhealthy("the check panicked"));
            report.status = report.status.max(check.weigh(outcome.status));
            if check.criticality == Criticality::Critical && outcome.status == Status::Unhealthy {
                report.failed.push(check.name.clone());
            }
            report.checks.push((check.name.clone(), outcome));
        }
        report
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.shared.checks.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(checks.iter().map(|check| &check.name)).finish()
    }
}

impl Registered {
    async fn outcome(&self, shared: &Shared) -> Outcome {
        let limit = shared.settings.check_timeout;
        // Another probe may be running this check: wait for its outcome, but no longer than a run may take.
        let Ok(mut last) = tokio::time::timeout(limit, self.last.lock()).await else {
            return too_slow(limit);
        };
        let now = shared.clock.monotonic();
        if let Some((at, outcome)) = &*last
            && now.duration_since(*at) < shared.settings.cache_for
        {
            return outcome.clone();
        }
        let outcome = match tokio::time::timeout(limit, self.check.check()).await {
            Ok(outcome) => outcome,
            Err(_) => too_slow(limit),
        };
        *last = Some((shared.clock.monotonic(), outcome.clone()));
        outcome
    }

    fn weigh(&self, status: Status) -> Status {
        match self.criticality {
            Criticality::Critical => status,
            Criticality::NonCritical => status.min(Status::Degraded),
        }
    }
}

fn too_slow(limit: Duration) -> Outcome {
    Outcome::unhealthy(format!("no answer within {} ms", limit.as_millis()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn registry(cache_for: Duration) -> Registry {
        let settings = HealthSettings { check_timeout: Duration::from_millis(50), cache_for };
        Registry::new(settings, Clock::system())
    }

    #[tokio::test]
    async fn a_hung_check_is_cut_and_the_others_are_reported() {
        let registry = registry(Duration::ZERO);
        registry.register("hung", Criticality::Critical, std::future::pending::<Outcome>);
        registry.register("fine", Criticality::Critical, || async { Outcome::healthy() });
        let report = registry.report().await;
        assert_eq!(report.status, Status::Unhealthy);
        assert_eq!(report.failed, ["hung"]);
        assert_eq!(report.checks[0].1.reason.as_deref(), Some("no answer within 50 ms"));
        assert_eq!(report.checks[1].1.status, Status::Healthy);
    }

    #[tokio::test]
    async fn a_non_critical_failure_only_degrades() {
        let registry = registry(Duration::ZERO);
        registry.register("cache", Criticality::NonCritical, || async { Outcome::unhealthy("gone") });
        let report = registry.report().await;
        assert_eq!(report.status, Status::Degraded);
        assert!(report.failed.is_empty());
    }

    #[tokio::test]
    async fn a_panicking_check_is_unhealthy_and_can_recover() {
        let registry = registry(Duration::ZERO);
        let runs = AtomicUsize::new(0);
        registry.register("moody", Criticality::Critical, move || {
            let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                assert!(!first, "first run");
                Outcome::healthy()
            }
        });
        assert_eq!(registry.report().await.status, Status::Unhealthy);
        assert_eq!(registry.report().await.status, Status::Healthy);
    }

    #[tokio::test]
    async fn an_outcome_is_kept_and_many_probes_make_one_run() {
        let registry = registry(Duration::from_secs(60));
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        registry.register("db", Criticality::Critical, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::task::yield_now().await;
                Outcome::healthy()
            }
        });
        let probe = || {
            let registry = registry.clone();
            tokio::spawn(async move { registry.report().await.status })
        };
        for probe in (0..20).map(|_| probe()).collect::<Vec<_>>() {
            assert_eq!(probe.await.unwrap(), Status::Healthy);
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_check_can_be_replaced_and_removed() {
        let registry = registry(Duration::ZERO);
        registry.register("x", Criticality::Critical, || async { Outcome::unhealthy("old") });
        registry.register("x", Criticality::Critical, || async { Outcome::healthy() });
        assert_eq!(registry.report().await.status, Status::Healthy);
        assert!(registry.remove("x"));
        assert!(!registry.remove("x"));
    }
}
