//! [`Transaction`]: several statements that happen all or not at all.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;
use crate::spans::TransactionSpan;
use crate::sqlite::Handle;
use crate::statement::Statements;

/// What runs after a commit.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

/// An open transaction. It rolls back when it is dropped.
///
/// On SQLite it is the one writer: nobody else writes until it ends, and if no statement comes for
/// `COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT` it is rolled back. So do no slow work of another kind in it. What it has
/// written is seen by its own statements only, until it commits.
///
/// After a statement that the database refused, nothing more can be done in it (as in PostgreSQL): further statements
/// and `commit` fail with [`Error::TransactionOver`](crate::Error::TransactionOver). An answer that only did not fit,
/// such as no row for `one`, does not end it.
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
    pub(crate) handle: Handle,
    pub(crate) statements: Arc<Statements>,
    pub(crate) span: TransactionSpan,
    hooks: Mutex<Vec<Hook>>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(handle: Handle, statements: Arc<Statements>) -> Self {
        let span = TransactionSpan::begin(statements.system());
        Self { handle, statements, span, hooks: Mutex::default() }
    }

    /// Calls `hook` after the commit, and only then; hooks run in the order they were given. They run even if the
    /// caller of `commit` stops waiting. On SQLite they run on the writer's thread, so keep them short: wake somebody,
    /// send on a channel, spawn a task on the runtime of the caller of `commit`.
    pub fn after_commit(&self, hook: impl FnOnce() + Send + 'static) {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(hook));
    }

    /// Makes everything permanent. Once called it goes on even if the caller stops waiting.
    ///
    /// # Errors
    /// A constraint that is checked at the end, such as a deferred foreign key;
    /// [`Error::TransactionOver`](crate::Error::TransactionOver) if a statement failed before, or it stood idle for
    /// too long. Everything was rolled back then.
    pub async fn commit(self) -> Result<()> {
        let hooks = self.hooks.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.handle.commit(hooks).await;
        self.span.committed(outcome.as_ref().err());
        outcome
    }

    /// Undoes everything, and waits until that is done.
    pub async fn rollback(self) {
        self.handle.roll_back().await;
    }
}
