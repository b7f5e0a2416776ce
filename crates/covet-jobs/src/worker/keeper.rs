//! What is done beside the jobs: loans, lost workers, schedules, counts.

use std::time::{Duration, Instant};

use super::{Shared, Stop};
use crate::scheduler::Scheduler;
use crate::store;

/// How often the queue is counted.
const COUNTED_EVERY: Duration = Duration::from_secs(10);
/// How often jobs are removed that were given up long ago.
const CLEANED_EVERY: Duration = Duration::from_secs(60 * 60);

/// Extends loans, takes over what lost workers had, counts and cleans up, until the worker is done.
pub(super) async fn keep(shared: &Shared) {
    let clock = &shared.jobs.shared().clock;
    let lease = shared.settings.lease;
    let mut turns = tokio::time::interval((lease / 3).min(COUNTED_EVERY));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut extended = clock.monotonic();
    let (mut counted, mut cleaned): (Option<Instant>, Option<Instant>) = (None, None);
    let mut count_every = COUNTED_EVERY;
    loop {
        tokio::select! {
            () = shared.over.cancelled() => return,
            _ = turns.tick() => {}
        }
        let now = clock.monotonic();
        if shared.running().is_empty() || shared.extend().await {
            extended = now;
        } else if clock.monotonic().duration_since(extended) > lease {
            // Others may have them by now: what is done here would be done twice.
            shared.stop_all(Stop::Lost);
        }
        shared.take_over().await;
        if is_time(counted, now, count_every) {
            let started = clock.monotonic();
            shared.count().await;
            let ended = clock.monotonic();
            // A long queue takes its time to count; the database has other things to do.
            count_every = COUNTED_EVERY.max(ended.duration_since(started) * 100);
            counted = Some(ended);
        }
        if is_time(cleaned, now, CLEANED_EVERY) {
            cleaned = Some(now);
            shared.clean_up().await;
        }
    }
}

/// Adds the jobs of schedules, until the process stops.
pub(super) async fn schedule(shared: &Shared, scheduler: &Scheduler) {
    if scheduler.is_empty() {
        return;
    }
    loop {
        scheduler.add_due().await;
        // Not again and again at once while the database does not answer.
        let pause = scheduler.until_next().max(Duration::from_millis(500));
        tokio::select! {
            () = shared.lifecycle.draining().cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn is_time(last: Option<Instant>, now: Instant, every: Duration) -> bool {
    last.is_none_or(|last| now.duration_since(last) >= every)
}

impl Shared {
    async fn extend(&self) -> bool {
        let queue = self.jobs.shared();
        match store::extend(&queue.db, self.id, queue.clock.now() + self.settings.lease).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the loans of jobs could not be extended");
                false
            }
        }
    }

    async fn take_over(&self) {
        let queue = self.jobs.shared();
        match store::take_over(&queue.db, queue.clock.now()).await {
            Ok(jobs) => {
                for job in &jobs {
                    self.taken_over.increment(&job.name);
                    let attempt = job.attempt;
                    tracing::warn!(job = %job.id, name = job.name, attempt, "a job's worker was lost; another does it");
                }
                if !jobs.is_empty() {
                    queue.added.notify_one();
                }
            }
            Err(error) => tracing::debug!(%error, "lost workers were not looked for"),
        }
    }

    async fn count(&self) {
        let queue = self.jobs.shared();
        match store::standing(&queue.db, queue.clock.now()).await {
            Ok(standing) => self.standing.set(standing, self.by_name.keys().copied()),
            // Old counts disappear by themselves.
            Err(error) => tracing::debug!(%error, "the jobs could not be counted"),
        }
    }

    async fn clean_up(&self) {
        let queue = self.jobs.shared();
        match store::forget_dead(&queue.db, queue.clock.now() - self.settings.keep_dead).await {
            Ok(0) => {}
            Ok(jobs) => tracing::info!(jobs, "jobs removed that were given up longer ago than COVET_JOBS__KEEP_DEAD"),
            Err(error) => tracing::debug!(%error, "old jobs were not removed"),
        }
    }
}
