//! A connection for one caller alone.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Pool, runtime};
use crate::instruments::connection_failed;
use crate::postgres::connection::{Connection, Ended};
use crate::{Error, Result};

/// Who waits this long is worth one more connection.
const PATIENCE: Duration = Duration::from_millis(5);
/// A statement nobody waits for has this long to end before it is cancelled.
const GRACE: Duration = Duration::from_millis(20);
/// After a cancellation the server has this long to say so.
const LAST_WORD: Duration = Duration::from_secs(2);

/// Goes back to the pool when dropped.
#[derive(Debug)]
pub(in crate::postgres) struct Own {
    pool: Arc<Pool>,
    /// Taken out when it goes back.
    connection: Option<Arc<Connection>>,
    abandoned: Abandoned,
    reusable: bool,
}

/// What becomes of a statement that still runs when its caller lets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Abandoned {
    /// It is carried through.
    Finishes,
    /// It is cancelled.
    IsCancelled,
}

enum Asked {
    Got(Own),
    /// Its turn will come.
    Waits(oneshot::Receiver<Result<Own>>),
}

impl Pool {
    /// A connection for this caller alone. Waits for one at most for the acquire timeout.
    pub(in crate::postgres) async fn own(self: &Arc<Self>) -> Result<Own> {
        let mut waiting = match self.ask()? {
            Asked::Got(own) => return Ok(own),
            Asked::Waits(waiting) => waiting,
        };
        let limit = self.limits.acquire_timeout;
        let patience = PATIENCE.min(limit);
        if let Ok(given) = timeout(patience, &mut waiting).await {
            return given.unwrap_or(Err(Error::Closed));
        }
        self.make_room();
        if let Ok(given) = timeout(limit - patience, waiting).await {
            return given.unwrap_or(Err(Error::Closed));
        }
        let what = "waiting for a database connection";
        let error = Error::Timeout { what, limit, setting: "COVET_DATABASE__ACQUIRE_TIMEOUT" };
        connection_failed(&error);
        Err(error)
    }

    fn ask(self: &Arc<Self>) -> Result<Asked> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::Closed);
        }
        if state.waiters.is_empty() {
            let lanes_kept = usize::from(state.count() < self.limits.max);
            let unused = state.take_idle(runtime()).or_else(|| self.lanes.take_unused(lanes_kept));
            if let Some(connection) = unused {
                return Ok(Asked::Got(Own::new(self, connection)));
            }
        }
        if let Some(why) = &state.outage {
            let error = Error::Connection(why.to_string());
            connection_failed(&error);
            return Err(error);
        }
        if state.waiters.len() >= self.limits.queue {
            state.waiters.retain(|waiter| !waiter.is_closed());
            if state.waiters.len() >= self.limits.queue {
                return Err(Error::Overloaded { limit: self.limits.queue });
            }
        }
        let (sender, waiting) = oneshot::channel();
        state.waiters.push_back(sender);
        self.grow(&mut state, self.limits.min);
        Ok(Asked::Waits(waiting))
    }

    /// Somebody has waited for a while: for another connection, or if there may be none, for a lane.
    fn make_room(self: &Arc<Self>) {
        let mut state = self.state();
        if state.count() < self.limits.max {
            self.grow(&mut state, self.limits.max);
        } else if let Some(connection) = self.lanes.drain_one() {
            self.hand_over(&mut state, connection);
        }
    }
}

impl Own {
    pub(super) fn new(pool: &Arc<Pool>, connection: Arc<Connection>) -> Self {
        Self { pool: Arc::clone(pool), connection: Some(connection), abandoned: Abandoned::IsCancelled, reusable: true }
    }

    pub(super) fn into_connection(mut self) -> Arc<Connection> {
        self.connection.take().expect("it is taken once")
    }

    pub(in crate::postgres) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What is to become of a statement that still runs when this is dropped.
    pub(in crate::postgres) fn when_abandoned(&mut self, abandoned: Abandoned) {
        self.abandoned = abandoned;
    }

    /// Closes it, instead of giving it to somebody else, when this is dropped.
    pub(in crate::postgres) fn close_when_dropped(&mut self) {
        self.reusable = false;
    }
}

impl Deref for Own {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        self.connection.as_ref().expect("it is taken when this is dropped")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.reusable {
            connection.doom();
        }
        if connection.load.in_flight() == 0 || connection.client.is_closed() {
            return self.pool.give_back(connection);
        }
        let (pool, abandoned, answered) = (Arc::clone(&self.pool), self.abandoned, connection.answered());
        let runtime = connection.runtime.clone();
        runtime.spawn(async move {
            match abandoned {
                Abandoned::Finishes => answered.await,
                Abandoned::IsCancelled if timeout(GRACE, answered).await.is_ok() => {}
                // A cancellation may arrive late, and would then hit the next statement: the connection is not used
                // again.
                Abandoned::IsCancelled => {
                    connection.doom();
                    pool.cancel(&connection).await;
                    let _ = timeout(LAST_WORD, connection.answered()).await;
                    connection.kill(Ended::Closed);
                }
            }
            connection.load.end_all();
            pool.give_back(connection);
        });
    }
}
