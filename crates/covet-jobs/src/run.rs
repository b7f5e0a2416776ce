//! What a job at work has in hand: [`Run`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use covet_core::clock::Clock;
use covet_data::{Db, Transaction};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Failure;
use crate::store::{self, Claimed};

/// A job at work: which it is, and what it can say meanwhile. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Run<S> {
    state: S,
    at_work: Arc<AtWork>,
}

/// What all runs have, whatever their state.
#[derive(Debug)]
pub(crate) struct AtWork {
    db: Db,
    clock: Clock,
    worker: Uuid,
    id: Uuid,
    attempt: u32,
    attempts: u32,
    due_at: Timestamp,
    /// Its row went with what it did.
    committed: AtomicBool,
    /// When it last told how far it is, in seconds.
    told: AtomicI64,
}

impl AtWork {
    pub(crate) fn new(db: &Db, clock: &Clock, worker: Uuid, claimed: &Claimed, attempts: u32) -> Self {
        Self {
            db: db.clone(),
            clock: clock.clone(),
            worker,
            id: claimed.id,
            attempt: claimed.attempt,
            attempts,
            due_at: claimed.run_at,
            committed: AtomicBool::new(false),
            told: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }
}

impl<S> Run<S> {
    pub(crate) fn new(state: S, at_work: Arc<AtWork>) -> Self {
        Self { state, at_work }
    }

    /// What the work needs.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The job's id, the same at every attempt: the idempotency key for whatever it does outside of the database.
    pub fn id(&self) -> Uuid {
        self.at_work.id
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.at_work.attempt
    }

    /// Whether it is given up when this attempt fails.
    pub fn is_last_attempt(&self) -> bool {
        self.at_work.attempt >= self.at_work.attempts
    }

    /// When it was to be done. Of a scheduled job: the time of the schedule that it stands for.
    pub fn due_at(&self) -> Timestamp {
        self.at_work.due_at
    }

    /// Tells how far it is, for whoever looks: at most once a second, the rest is passed over. What cannot be told is not told: the
    /// work does not depend on it.
    pub async fn progress(&self, percent: u8, note: &str) {
        let (work, now) = (&self.at_work, self.at_work.clock.now());
        if work.told.swap(now.as_second(), Ordering::Relaxed) == now.as_second() {
            return;
        }
        if let Err(error) = store::progress(&work.db, work.worker, work.id, percent.min(100), note).await {
            tracing::debug!(job = %work.id, %error, "progress not told");
        }
    }

    /// Ends the job and commits what it has done, both or neither. So what it does in the database happens exactly once, however often
    /// it is tried.
    ///
    /// ```
    /// # use covet_jobs::{Failure, Run};
    /// # use covet_data::{Db, params};
    /// async fn add_interest(run: Run<Db>) -> Result<(), Failure> {
    ///     let transaction = run.state().begin().await?;
    ///     transaction.execute("UPDATE accounts SET cents = cents * 1.01", params![]).await?;
    ///     run.commit(transaction).await
    /// }
    /// ```
    ///
    /// # Errors
    /// When the loan has ended and somebody else has the job: nothing has happened then, and there is nothing left to do. Whatever
    /// keeps the transaction from being committed.
    pub async fn commit(&self, transaction: Transaction) -> Result<(), Failure> {
        let work = &self.at_work;
        if store::complete(&transaction, work.worker, &[work.id]).await? != 1 {
            transaction.rollback().await;
            return Err(Failure::lost());
        }
        transaction.commit().await?;
        work.committed.store(true, Ordering::Release);
        Ok(())
    }
}
