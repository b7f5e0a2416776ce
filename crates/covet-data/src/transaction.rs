//! [`Transaction`]: several statements that happen all or not at all.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::fetch::Fetch;
use crate::query_cache::{PendingWrite, QueryCache, Writes};
use crate::spans::TransactionSpan;
use crate::statement::{Statement, Statements};
use crate::{Error, Params, Result, params, postgres, sqlite};

/// What runs after a commit.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// What a transaction sees of others that run at the same time. On SQLite, where one writes at a time, all are
/// [`Serializable`](Self::Serializable).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Each statement sees what was committed when it began.
    #[default]
    ReadCommitted,
    /// All statements see what was committed when the first began. A row that somebody else has changed meanwhile
    /// cannot be changed: [`Error::Serialization`].
    RepeatableRead,
    /// As if the transactions had run one after another. What cannot be so ends in [`Error::Serialization`].
    Serializable,
}

/// How a transaction is run: [`Db::begin_with`](crate::Db::begin_with), [`Db::retry`](crate::Db::retry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionOptions {
    isolation: Isolation,
    attempts: u32,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self { isolation: Isolation::default(), attempts: 5 }
    }
}

impl TransactionOptions {
    /// Read committed; five attempts where it may be run again.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it sees of others.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// How often [`Db::retry`](crate::Db::retry) runs it at most. At least once.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    /// As it stands behind PostgreSQL's BEGIN.
    pub(crate) fn as_sql(&self) -> &'static str {
        match self.isolation {
            Isolation::ReadCommitted => "ISOLATION LEVEL READ COMMITTED READ WRITE",
            Isolation::RepeatableRead => "ISOLATION LEVEL REPEATABLE READ READ WRITE",
            Isolation::Serializable => "ISOLATION LEVEL SERIALIZABLE READ WRITE",
        }
    }
}

/// An open transaction. It rolls back when it is dropped.
///
/// It keeps a connection until it ends; on SQLite it is the one writer, and nobody else writes meanwhile. If no statement
/// comes for `COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT` it is rolled back. So do no slow work of another kind in it. What
/// it has written is seen by its own statements only, until it commits.
///
/// After a statement that the database refused, or that its caller did not wait for, nothing more can be done in it:
/// further statements and `commit` fail with [`Error::TransactionOver`]. An answer that only did not fit, such as no row
/// for `one`, does not end it.
///
/// ```
/// # use covet_data::{Db, Result, params};
/// # async fn transfer(db: &Db) -> Result<()> {
/// let transaction = db.begin().await?;
/// transaction.execute("UPDATE accounts SET cents = cents - $1 WHERE id = $2", params![500, 1]).await?;
/// transaction.execute("UPDATE accounts SET cents = cents + $1 WHERE id = $2", params![500, 2]).await?;
/// transaction.after_commit(|| tracing::info!("money has moved"));
/// transaction.commit().await
/// # }
/// ```
#[must_use = "a transaction rolls back when it is dropped"]
pub struct Transaction {
    handle: Handle,
    statements: Arc<Statements>,
    query_cache: Arc<QueryCache>,
    /// Statements that write, each once.
    writes: Mutex<Vec<Arc<Statement>>>,
    span: TransactionSpan,
    hooks: Mutex<Vec<Hook>>,
}

/// The driver's end of it.
pub(crate) enum Handle {
    Sqlite(sqlite::Handle),
    Postgres(postgres::Handle),
}

/// Why it was not committed, and whether all of it may be done again.
pub(crate) struct NotCommitted {
    pub(crate) error: Error,
    pub(crate) conflicted: bool,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(handle: Handle, statements: Arc<Statements>, query_cache: Arc<QueryCache>) -> Self {
        let span = TransactionSpan::begin(statements.system());
        Self { handle, statements, query_cache, writes: Mutex::default(), span, hooks: Mutex::default() }
    }

    pub(crate) async fn run<F: Fetch>(&self, sql: &str, params: Params) -> Result<F::Output> {
        let statement = self.statements.get(sql);
        self.note(&statement);
        let fetched = async {
            match &self.handle {
                Handle::Sqlite(handle) => handle.fetch::<F>(statement, params).await,
                Handle::Postgres(handle) => handle.fetch::<F>(&statement, &params).await,
            }
        };
        self.span.within(fetched).await
    }

    fn note(&self, statement: &Arc<Statement>) {
        if statement.writes() != Writes::Nothing {
            let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
            if writes.iter().all(|known| known.id != statement.id) {
                writes.push(Arc::clone(statement));
            }
        }
    }

    /// Calls `hook` after the commit, and only then; hooks run in the order they were given. They run even if the
    /// caller of `commit` stops waiting. On SQLite they run on the writer's thread, so keep them short: wake somebody,
    /// send on a channel, spawn a task on the runtime of the caller of `commit`.
    pub fn after_commit(&self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// Waits until no other transaction holds the lock of this name, and holds it until the end of this one: for work that
    /// only one instance may do at a time, or rows that do not exist yet. On SQLite, where one transaction writes at a
    /// time, there is nothing to wait for.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it is held for longer than a statement may take, [`Error::Deadlock`], and as
    /// [`execute`](Self::execute).
    pub async fn lock(&self, name: &str) -> Result<()> {
        match &self.handle {
            Handle::Sqlite(_) => Ok(()),
            Handle::Postgres(_) => {
                let sql = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
                self.execute(sql, params![name]).await.map(drop)
            }
        }
    }

    /// As [`lock`](Self::lock), but does not wait: false if another transaction holds it.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn try_lock(&self, name: &str) -> Result<bool> {
        match &self.handle {
            Handle::Sqlite(_) => Ok(true),
            Handle::Postgres(_) => {
                let sql = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";
                self.one(sql, params![name]).await
            }
        }
    }

    /// Makes everything permanent. Once called it goes on even if the caller stops waiting.
    ///
    /// # Errors
    /// A constraint that is checked at the end, such as a deferred foreign key; [`Error::Serialization`];
    /// [`Error::TransactionOver`] if a statement failed before, or it stood idle for too long. Everything was rolled back
    /// then. After [`Error::ConnectionLost`] nobody knows whether it was committed.
    pub async fn commit(self) -> Result<()> {
        self.try_commit().await.map_err(|not| not.error)
    }

    pub(crate) async fn try_commit(self) -> Result<(), NotCommitted> {
        let mut hooks = self.hooks.into_inner().unwrap_or_else(PoisonError::into_inner);
        let writes = self.writes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let pending = PendingWrite::new(&self.query_cache, writes).map(Arc::new);
        if let Some(pending) = pending.clone() {
            // Ahead of those that may read again.
            hooks.insert(0, Box::new(move || pending.happened()));
        }
        let outcome = match self.handle {
            Handle::Sqlite(handle) => {
                handle.commit(hooks).await.map_err(|error| NotCommitted { error, conflicted: false })
            }
            Handle::Postgres(handle) => handle.commit(hooks).await,
        };
        if let (Some(pending), Err(not)) = (&pending, &outcome) {
            pending.failed(&not.error);
        }
        self.span.committed(outcome.as_ref().err().map(|not| &not.error));
        outcome
    }

    /// Undoes everything, and waits until that is done.
    pub async fn rollback(self) {
        match self.handle {
            Handle::Sqlite(handle) => handle.roll_back().await,
            Handle::Postgres(handle) => handle.roll_back().await,
        }
    }

    /// True if it failed only because of others that ran at the same time.
    pub(crate) fn conflicted(&self) -> bool {
        match &self.handle {
            Handle::Sqlite(_) => false,
            Handle::Postgres(handle) => handle.conflicted(),
        }
    }
}

/// What is committed stays committed, whatever a hook does.
pub(crate) fn run_hooks(hooks: Vec<Hook>, runtime: Option<&tokio::runtime::Handle>) {
    let _entered = runtime.map(tokio::runtime::Handle::enter);
    for hook in hooks {
        if catch_unwind(AssertUnwindSafe(hook)).is_err() {
            tracing::error!("a hook panicked after the commit of its transaction");
        }
    }
}
