//! Writing down how jobs ended.

use std::time::Duration;

use covet_data::Result;
use uuid::Uuid;

use super::Shared;
use super::execute::{Ended, Outcome};
use crate::job::{Failure, Then};
use crate::store::{self, Claimed};

/// Most jobs that one statement names.
const AT_ONCE: usize = 64;

/// What becomes of a job that failed.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    RetryIn(Duration),
    GiveUp,
}

impl Shared {
    /// Writes them down, and takes out of the list what has been. What is left is written down another time; meanwhile it takes up room, so
    /// a worker that cannot write does not go on.
    pub(super) async fn settle(&self, unsettled: &mut Vec<Ended>) -> Result<()> {
        if unsettled.is_empty() {
            return Ok(());
        }
        let db = &self.jobs.shared().db;
        self.forget(unsettled, |outcome| matches!(outcome, Outcome::Committed));
        let lost = self.forget(unsettled, |outcome| matches!(outcome, Outcome::Lost));
        for job in lost {
            tracing::warn!(job = %job.id, name = job.name, "the loan of a job has ended while it was at work; another worker may have it");
        }
        while let Some(ids) = some_of(unsettled, |outcome| matches!(outcome, Outcome::Done)) {
            let removed = store::complete(&db.write(), self.id, &ids).await?;
            if removed < ids.len() as u64 {
                let twice = ids.len() as u64 - removed;
                tracing::warn!(jobs = twice, "jobs were done whose loan had ended; another worker may do them again");
            }
            self.forget_ids(unsettled, &ids);
        }
        while let Some(ids) = some_of(unsettled, |outcome| matches!(outcome, Outcome::HandedBack)) {
            store::hand_back(db, self.id, &ids).await?;
            tracing::info!(jobs = ids.len(), "jobs handed back: the process stops");
            self.forget_ids(unsettled, &ids);
        }
        while let Some(Ended { job, outcome: Outcome::Failed(failure), .. }) = unsettled.last() {
            let id = job.id;
            self.settle_failed(job, failure).await?;
            self.forget_ids(unsettled, &[id]);
        }
        Ok(())
    }

    async fn settle_failed(&self, job: &Claimed, failure: &Failure) -> Result<()> {
        let Some(known) = self.by_name.get(job.name.as_str()) else { return Ok(()) };
        let (queue, error) = (self.jobs.shared(), failure.text());
        let (now, name, attempt) = (queue.clock.now(), job.name.as_str(), job.attempt);
        let options = &known.handler.options;
        let next = match failure.then {
            Then::RetryIn(pause) if attempt < options.attempts => Next::RetryIn(pause),
            Then::Retry if attempt < options.attempts => Next::RetryIn(options.backoff.after(attempt, fastrand::f64())),
            _ => Next::GiveUp,
        };
        match next {
            Next::RetryIn(pause) => {
                if store::retry(&queue.db, self.id, job.id, now + pause, &error).await? {
                    known.counters.retried.increment(1);
                    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    let request_id = job.request_id.as_deref();
                    tracing::warn!(job = %job.id, name, attempt, error, pause_ms, request_id, "a job failed and is tried again");
                }
            }
            Next::GiveUp => {
                if store::bury(&queue.db, self.id, job.id, now, &error).await? {
                    known.counters.dead.increment(1);
                    let request_id = job.request_id.as_deref();
                    tracing::error!(job = %job.id, name, attempt, error, request_id, "a job failed and is given up");
                }
            }
        }
        Ok(())
    }

    fn forget(&self, unsettled: &mut Vec<Ended>, which: impl Fn(&Outcome) -> bool) -> Vec<Claimed> {
        let (gone, left): (Vec<Ended>, Vec<Ended>) = unsettled.drain(..).partition(|ended| which(&ended.outcome));
        *unsettled = left;
        let mut running = self.running();
        gone.into_iter()
            .map(|ended| {
                // One that was lost may be at work again: then its place is that of the new one.
                if running.get(&ended.job.id).is_some_and(|running| running.attempt == ended.job.attempt) {
                    running.remove(&ended.job.id);
                }
                ended.job
            })
            .collect()
    }

    fn forget_ids(&self, unsettled: &mut Vec<Ended>, ids: &[Uuid]) {
        unsettled.retain(|ended| !ids.contains(&ended.job.id));
        let mut running = self.running();
        for id in ids {
            running.remove(id);
        }
    }
}

/// Some that ended so, as many as one statement may name.
fn some_of(unsettled: &[Ended], which: impl Fn(&Outcome) -> bool) -> Option<Vec<Uuid>> {
    let ids: Vec<Uuid> =
        unsettled.iter().filter(|ended| which(&ended.outcome)).map(|ended| ended.job.id).take(AT_ONCE).collect();
    (!ids.is_empty()).then_some(ids)
}
