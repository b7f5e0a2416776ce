//! What is counted of jobs.
//!
//! Running ones and how long they take are `app_background_tasks_total` and `app_background_task_duration_seconds`, with the job's name
//! as `task_type`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use covet_telemetry::metrics::{Collector, Counter, Exposition, Registry};

use crate::store::Standing;

covet_telemetry::declare_metrics! {
    /// Jobs.
    ///
    /// Of services that do jobs (`App::job`).
    pub JOBS;

    /// Jobs in the queue, of the whole service: every process shows the same number, so take max, never sum.
    ///
    /// `state`: `due` (could be done now: what to scale workers by), `later` (put off, or to be tried again), `running`, `dead` (given
    /// up). Counted every ten seconds by processes that do jobs, less often where that takes more than a tenth of a second; absent when it
    /// is older than five minutes.
    gauge(largest) APP_JOBS = "app_jobs" {task_type, state};
    /// How long the oldest job that is due has waited, in seconds.
    ///
    /// Of the whole service, as `app_jobs`. 0 when none is due.
    gauge(largest) APP_JOBS_OLDEST_DUE_SECONDS = "app_jobs_oldest_due_seconds" {task_type};
    /// Jobs that this process has added.
    ///
    /// Counted when they are written, also if the transaction is rolled back later.
    counter APP_JOBS_ENQUEUED_TOTAL = "app_jobs_enqueued_total" {task_type};
    /// Attempts that failed and are made again.
    counter APP_JOBS_RETRIED_TOTAL = "app_jobs_retried_total" {task_type};
    /// Jobs that were given up: after their last attempt, or because trying again is of no use.
    counter APP_JOBS_DEAD_TOTAL = "app_jobs_dead_total" {task_type};
    /// Jobs that were taken from a worker that did not extend its loan: it has died, or could not reach the database.
    counter APP_JOBS_TAKEN_OVER_TOTAL = "app_jobs_taken_over_total" {task_type};
}

/// The counters of one type of job.
#[derive(Debug, Clone)]
pub(crate) struct JobCounters {
    pub(crate) retried: Counter,
    pub(crate) dead: Counter,
}

impl JobCounters {
    pub(crate) fn new(registry: &Registry, name: &str) -> Self {
        Self {
            retried: registry.counter(APP_JOBS_RETRIED_TOTAL, &[name]),
            dead: registry.counter(APP_JOBS_DEAD_TOTAL, &[name]),
        }
    }
}

/// How old a count may be that is shown: later it would stand still while the truth moves.
const TOO_OLD: Duration = Duration::from_secs(5 * 60);

/// How the queue stood when it was last asked, for scrapes.
#[derive(Debug)]
pub(crate) struct QueueStanding {
    clock: Clock,
    latest: Mutex<Option<(Instant, Vec<Standing>)>>,
}

impl QueueStanding {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, latest: Mutex::default() }
    }

    pub(crate) fn set(&self, mut standing: Vec<Standing>, names: impl Iterator<Item = &'static str>) {
        // What has no jobs now shows zeros: an alert must see the queue become empty.
        for name in names {
            if standing.iter().all(|of| of.name != name) {
                standing.push(Standing { name: name.to_owned(), ..Standing::default() });
            }
        }
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((self.clock.monotonic(), standing));
    }
}

impl Collector for QueueStanding {
    fn name(&self) -> &'static str {
        "jobs"
    }

    fn collect(&self, out: &mut Exposition) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, standing)) = &*latest else { return };
        let (age, now) = (self.clock.monotonic().duration_since(*at), self.clock.now());
        if age > TOO_OLD {
            return;
        }
        for of in standing {
            let name = of.name.as_str();
            for (state, count) in [("due", of.due), ("later", of.later), ("running", of.running), ("dead", of.dead)] {
                out.gauge(APP_JOBS, &[name, state], u64::try_from(count).unwrap_or(0));
            }
            let waited = of.oldest_due.map_or(0.0, |due| now.duration_since(due).as_secs_f64());
            out.gauge(APP_JOBS_OLDEST_DUE_SECONDS, &[name], waited);
        }
    }
}

/// One counter for each name, found again by it.
#[derive(Debug)]
pub(crate) struct ByName {
    registry: Registry,
    metric: &'static covet_telemetry::metrics::Metric,
    counters: Mutex<HashMap<String, Counter>>,
}

impl ByName {
    pub(crate) fn new(registry: &Registry, metric: &'static covet_telemetry::metrics::Metric) -> Self {
        Self { registry: registry.clone(), metric, counters: Mutex::default() }
    }

    pub(crate) fn increment(&self, name: &str) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(name) {
            return counter.increment(1);
        }
        let counter = self.registry.counter(self.metric, &[name]);
        counter.increment(1);
        counters.insert(name.to_owned(), counter);
    }
}
