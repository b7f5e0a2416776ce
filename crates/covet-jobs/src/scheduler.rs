//! Adding the jobs of schedules: [`Scheduler`].
//!
//! Every process that does jobs looks; the first to write down that a time has come adds the job, in the same transaction. So a job is added
//! once for each time, and a time whose process died between the two is not lost.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use covet_core::ids::new_id;
use covet_data::{Dialect, Result, params};
use jiff::Timestamp;

use crate::Jobs;
use crate::schedule::Schedule;
use crate::store::New;

/// Adds jobs when their time has come.
#[derive(Debug)]
pub struct Scheduler {
    jobs: Jobs,
    schedules: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    schedule: Schedule,
    /// Nothing is to be done before this time. None until the database has been asked.
    next: Mutex<Option<Timestamp>>,
}

impl Scheduler {
    /// Of these schedules.
    #[must_use]
    pub fn new(jobs: Jobs, schedules: Vec<Schedule>) -> Self {
        let known = |schedule| Known { schedule, next: Mutex::default() };
        Self { jobs, schedules: schedules.into_iter().map(known).collect() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.schedules.is_empty()
    }

    /// How long nothing is to be done.
    #[must_use]
    pub fn until_next(&self) -> Duration {
        let now = self.jobs.shared().clock.now();
        let next = self.schedules.iter().map(|known| known.next().unwrap_or(now)).min();
        let left = next.map_or(Duration::MAX, |next| next.duration_since(now).try_into().unwrap_or(Duration::ZERO));
        // The clock may be set.
        left.min(Duration::from_secs(60))
    }

    /// Adds the jobs whose time has come. What cannot be added now is tried again when this is called again.
    pub async fn add_due(&self) {
        for known in &self.schedules {
            let now = self.jobs.shared().clock.now();
            if known.next().is_some_and(|next| next > now) {
                continue;
            }
            match self.add_due_of(&known.schedule, now).await {
                Ok(last) => known.set_next(known.schedule.next_after(last.max(now))),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        schedule = known.schedule.name(),
                        error,
                        "jobs of a schedule could not be added yet"
                    );
                }
            }
        }
    }

    /// Returns up to which time it is done.
    async fn add_due_of(&self, schedule: &Schedule, now: Timestamp) -> Result<Timestamp> {
        let shared = self.jobs.shared();
        let transaction = shared.db.begin().await?;
        let locked = match shared.db.dialect() {
            Dialect::Postgres => " FOR UPDATE",
            Dialect::Sqlite => "",
        };
        let sql = format!("SELECT last_tick FROM job_schedules WHERE name = $1{locked}");
        let Some(last) = transaction.optional::<Timestamp>(&sql, params![schedule.name()]).await? else {
            // New: it begins now.
            let sql = "INSERT INTO job_schedules (name, last_tick) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
            transaction.execute(sql, params![schedule.name(), now]).await?;
            transaction.commit().await?;
            return Ok(now);
        };
        let Some((times, done)) = schedule.due(last, now) else {
            transaction.rollback().await;
            return Ok(last);
        };
        let sql = "UPDATE job_schedules SET last_tick = $2 WHERE name = $1";
        transaction.execute(sql, params![schedule.name(), done]).await?;
        for time in &times {
            let new = New {
                id: new_id(&shared.clock),
                name: schedule.job(),
                payload: schedule.payload().clone(),
                priority: schedule.priority(),
                run_at: *time,
                unique_key: None,
                request_id: None,
                now,
            };
            self.jobs.insert(&transaction, new).await?;
        }
        self.jobs.tell_after_commit(&transaction);
        transaction.commit().await?;
        for time in times {
            tracing::debug!(schedule = schedule.name(), job = schedule.job(), %time, "a schedule has added its job");
        }
        Ok(done)
    }
}

impl Known {
    fn next(&self) -> Option<Timestamp> {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_next(&self, next: Option<Timestamp>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next.unwrap_or(Timestamp::MAX));
    }
}
