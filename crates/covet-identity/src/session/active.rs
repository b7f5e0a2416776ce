//! The number of open sessions, for scrapes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use covet_telemetry::metrics::{Collector, Exposition, Group, Kind, Merge, Metric, Origin, Registry};

use super::sessions::Sessions;

/// How often Redis is asked.
const COUNTED_EVERY: Duration = Duration::from_secs(10);
/// A number older than this is not shown: it would stand still while the truth moves.
const TOO_OLD: Duration = Duration::from_secs(60);

const ACTIVE_SESSIONS: &Metric = &Metric {
    name: "app_active_sessions",
    doc: "Sessions by cookie in which a user is logged in, of the whole service: every instance shows the same number, so \
          take max, never sum.\n\n\
          A session counts from the login until it is ended or expires, whichever instance it began at. Redis is asked every \
          ten seconds; while it does not answer the metric is absent. Without `REDIS_URL` each process has its own sessions, \
          and shows their number.",
    kind: Kind::Gauge,
    labels: &[],
    merge: Merge::Largest,
    origin: Origin::Business,
};
/// What is counted of sessions.
pub const SESSIONS: &Group = &Group {
    doc: "Sessions.\n\nOf services that have said `App::sessions`. Told with the business at `/metrics/business`.",
    metrics: &[ACTIVE_SESSIONS],
};

/// Shows how many sessions are open.
#[derive(Debug)]
pub struct ActiveSessions {
    sessions: Sessions,
    counted: Mutex<Option<(Instant, u64)>>,
}

impl ActiveSessions {
    /// Declares the metric, and shows it at every scrape from now on. [`keep_counted`](Self::keep_counted) must run.
    #[must_use]
    pub fn register(sessions: &Sessions, registry: &Registry) -> Arc<Self> {
        registry.declare_all(SESSIONS);
        let active = Arc::new(Self { sessions: sessions.clone(), counted: Mutex::default() });
        registry.register(Arc::clone(&active) as Arc<dyn Collector>);
        active
    }

    /// Counts every ten seconds, for ever. Ends at once where there is nothing to ask.
    pub async fn keep_counted(self: Arc<Self>) {
        let mut turns = tokio::time::interval(COUNTED_EVERY);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.sessions.count_at_once().is_none() {
            turns.tick().await;
            self.count().await;
        }
    }

    async fn count(&self) {
        match self.sessions.count().await {
            Ok(count) => {
                let now = self.sessions.clock().monotonic();
                *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, count));
            }
            // The cache tells of its own trouble.
            Err(error) => tracing::debug!(%error, "the open sessions could not be counted"),
        }
    }

    fn latest(&self) -> Option<u64> {
        let (at, count) = (*self.counted.lock().unwrap_or_else(PoisonError::into_inner))?;
        let age = self.sessions.clock().monotonic().duration_since(at);
        (age <= TOO_OLD).then_some(count)
    }
}

impl Collector for ActiveSessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn collect(&self, out: &mut Exposition) {
        if let Some(count) = self.sessions.count_at_once().or_else(|| self.latest()) {
            out.gauge(ACTIVE_SESSIONS, &[], count);
        }
    }
}
