//! [`PendingWrite`]: statements that write, until it is known what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{QueryCache, Writes};
use crate::Error;
use crate::statement::Statement;

/// Dropped before it is over (its caller has left, its connection is lost), it leaves the tables in doubt.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    cache: Arc<QueryCache>,
    statements: Vec<Arc<Statement>>,
    over: AtomicBool,
}

impl PendingWrite {
    /// `None` if it does not write.
    pub(crate) fn of(cache: &Arc<QueryCache>, statement: &Arc<Statement>) -> Option<Self> {
        (statement.writes() != Writes::Nothing).then(|| Self::new(cache, vec![Arc::clone(statement)])).flatten()
    }

    /// `None` if none of them writes.
    pub(crate) fn new(cache: &Arc<QueryCache>, mut statements: Vec<Arc<Statement>>) -> Option<Self> {
        statements.retain(|statement| statement.writes() != Writes::Nothing);
        let writes = !statements.is_empty();
        writes.then(|| Self { cache: Arc::clone(cache), statements, over: AtomicBool::new(false) })
    }

    /// They have happened.
    pub(crate) fn happened(&self) {
        self.over.store(true, Ordering::Release);
        self.statements.iter().for_each(|statement| self.cache.forget(statement.writes()));
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

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if !self.over.load(Ordering::Acquire) {
            self.statements.iter().for_each(|statement| self.cache.doubt(statement.writes()));
        }
    }
}
