//! [`PendingWrite`]: statements that write, until it is known what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{QueryCache, Writes};
use crate::Error;
use crate::statement::Statement;

/// Dropped before it is over (its caller has left, its connection is lost), it leaves the tables in doubt.
#[derive(Debug)]
pub(crate) struct PendingWrite<S: AsRef<[Arc<Statement>]> = Vec<Arc<Statement>>> {
    cache: Arc<QueryCache>,
    statements: S,
    over: AtomicBool,
}

impl PendingWrite<[Arc<Statement>; 1]> {
    /// `None` if it does not write.
    pub(crate) fn of(cache: &Arc<QueryCache>, statement: &Arc<Statement>) -> Option<Self> {
        Self::new(cache, (statement.writes() != Writes::Nothing).then(|| [Arc::clone(statement)])?)
    }
}

impl<S: AsRef<[Arc<Statement>]>> PendingWrite<S> {
    /// Of statements that write. `None` if there are none.
    pub(crate) fn new(cache: &Arc<QueryCache>, statements: S) -> Option<Self> {
        let any = !statements.as_ref().is_empty();
        any.then(|| Self { cache: Arc::clone(cache), statements, over: AtomicBool::new(false) })
    }

    /// They have happened.
    pub(crate) fn happened(&self) {
        self.over.store(true, Ordering::Release);
        self.statements.as_ref().iter().for_each(|statement| self.cache.written(statement.writes()));
    }

    /// This is what has become of a statement.
    pub(crate) fn ended<R>(self, outcome: &Result<R, Error>) {
        match outcome {
            // Nobody knows.
            Err(Error::ConnectionLost(_)) => {}
            // Also after an error: a row that does not fit, for one, does not undo the write.
            _ => self.happened(),
        }
    }

    /// Their commit has failed so.
    pub(crate) fn failed(&self, error: &Error) {
        if !matches!(error, Error::ConnectionLost(_)) {
            self.over.store(true, Ordering::Release);
        }
    }
}

impl<S: AsRef<[Arc<Statement>]>> Drop for PendingWrite<S> {
    fn drop(&mut self) {
        if !self.over.load(Ordering::Acquire) {
            self.statements.as_ref().iter().for_each(|statement| self.cache.in_doubt(statement.writes()));
        }
    }
}
