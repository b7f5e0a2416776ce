//! Adding jobs: [`Jobs`].

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::ids::new_id;
use covet_data::{Db, Error, Executor, Result, Transaction};
use covet_telemetry::metrics::Registry;
use covet_telemetry::request;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::job::{Job, Priority};
use crate::metrics::{APP_JOBS_ENQUEUED_TOTAL, ByName, JOBS};
use crate::store::{self, New};

/// The queue: jobs are added here. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    /// Told when a job was added by this process.
    pub(crate) added: Notify,
    enqueued: ByName,
}

/// A job that is about to be added.
#[must_use = "it is added by `now` or `within`"]
pub struct Enqueue<'a, J> {
    jobs: &'a Jobs,
    payload: serde_json::Result<Value>,
    priority: Priority,
    delay: Duration,
    run_at: Option<Timestamp>,
    unique_key: Option<String>,
    job: PhantomData<fn() -> J>,
}

impl Jobs {
    /// The queue in this database.
    #[must_use]
    pub fn new(db: Db, clock: Clock, registry: &Registry) -> Self {
        registry.declare_all(JOBS);
        let enqueued = ByName::new(registry, APP_JOBS_ENQUEUED_TOTAL);
        Self { shared: Arc::new(Shared { db, clock, registry: registry.clone(), added: Notify::new(), enqueued }) }
    }

    /// Adds a job: [`within`](Enqueue::within) a transaction, or [`now`](Enqueue::now).
    ///
    /// ```
    /// # use covet_data::{Db, Result, params};
    /// # use covet_jobs::{Failure, Job, Jobs, Run};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct SendWelcome { user: i64 }
    /// # impl Job for SendWelcome {
    /// #     type State = (); const NAME: &'static str = "send_welcome";
    /// #     async fn run(self, _: Run<()>) -> std::result::Result<(), Failure> { Ok(()) }
    /// # }
    /// async fn register(db: &Db, jobs: &Jobs, name: &str) -> Result<()> {
    ///     let transaction = db.begin().await?;
    ///     let user = transaction.one("INSERT INTO users (name) VALUES ($1) RETURNING id", params![name]).await?;
    ///     // With the user, or not at all.
    ///     jobs.add(SendWelcome { user }).within(&transaction).await?;
    ///     transaction.commit().await
    /// }
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a job that has been added is gone")]
    pub fn add<J: Job>(&self, job: J) -> Enqueue<'_, J> {
        Enqueue {
            jobs: self,
            payload: serde_json::to_value(&job),
            priority: J::options().priority,
            delay: Duration::ZERO,
            run_at: None,
            unique_key: None,
            job: PhantomData,
        }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// As [`Enqueue::within`], of a job that has been turned into JSON already.
    pub(crate) async fn insert(&self, executor: &impl Executor, new: New<'_>) -> Result<bool> {
        let name = new.name.to_owned();
        let added = store::insert(executor, new).await?;
        if added {
            self.shared.enqueued.increment(&name);
        }
        Ok(added)
    }

    /// Tells the worker of this process when the transaction has been committed.
    pub(crate) fn tell_after_commit(&self, transaction: &Transaction) {
        let shared = Arc::clone(&self.shared);
        transaction.after_commit(move || shared.added.notify_one());
    }
}

impl<J: Job> Enqueue<'_, J> {
    /// Not before this time has passed.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Not before this time.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.run_at = Some(time);
        self
    }

    /// Before or after others, instead of what its type says.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Only if there is no job of this type and key that waits or is being done.
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    /// Adds it with the transaction: it is there when that is committed, and never if it is rolled back. Returns its id, or none if there
    /// is one of its [`unique`](Self::unique) key.
    ///
    /// # Errors
    /// Of the database. [`Error::Unsupported`] if the job cannot be turned into JSON.
    pub async fn within(self, transaction: &Transaction) -> Result<Option<Uuid>> {
        let jobs = self.jobs;
        let id = self.insert(transaction).await?;
        jobs.tell_after_commit(transaction);
        Ok(id)
    }

    /// Adds it by itself, whatever else is going on.
    ///
    /// # Errors
    /// As [`within`](Self::within).
    pub async fn now(self) -> Result<Option<Uuid>> {
        let jobs = self.jobs;
        let id = self.insert(&jobs.shared.db.write()).await?;
        jobs.shared.added.notify_one();
        Ok(id)
    }

    async fn insert(self, executor: &impl Executor) -> Result<Option<Uuid>> {
        let Shared { clock, .. } = &*self.jobs.shared;
        let (id, now) = (new_id(clock), clock.now());
        let payload = self.payload.map_err(|error| Error::Unsupported(format!("job {}: {error}", J::NAME)))?;
        let new = New {
            id,
            name: J::NAME,
            payload,
            priority: self.priority.rank(),
            run_at: self.run_at.unwrap_or(now) + self.delay,
            unique_key: self.unique_key.as_deref(),
            request_id: request::current(|scope| scope.id().as_str().to_owned()),
            now,
        };
        Ok(self.jobs.insert(executor, new).await?.then_some(id))
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl<J: Job> fmt::Debug for Enqueue<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enqueue").field("name", &J::NAME).field("unique_key", &self.unique_key).finish_non_exhaustive()
    }
}
