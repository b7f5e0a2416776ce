//! Single statements, each a transaction of its own: on a lane while they are quick, else on a connection alone.
//!
//! What may be done a second time, and why that is safe:
//!
//! | after | again | because |
//! |---|---|---|
//! | the server stopped it on a lane | on a connection of its own | it was rolled back |
//! | the schema changed under a prepared statement | prepared anew | it was refused before it did anything |
//! | the connection was lost | reads only | they change nothing: their sessions are read-only |

use std::sync::Arc;
use std::time::Duration;

use super::Access;
use super::connection::Connection;
use super::pool::{Abandoned, Pool, QUICK};
use super::prepared::Age;
use super::rows::{self, Failure};
use super::session::{LANE_LIMIT, Session};
use super::{pooled, translate};
use crate::fetch::Fetch;
use crate::statement::{Operation, Statement};
use crate::{Error, Params, Result};

/// Connections a read is tried on.
const READ_ATTEMPTS: usize = 3;

/// What became of a statement.
pub(super) enum Ran<R> {
    /// It ran for so long: to be recorded, however it went.
    For(Duration, Result<(R, u64)>),
    /// It did not run at all.
    Not(Error),
}

impl<R> Ran<R> {
    /// Records it.
    pub(super) fn recorded(self, statement: &Statement) -> Result<R> {
        match self {
            Self::For(took, outcome) => statement.measured(took, outcome),
            Self::Not(error) => Err(error),
        }
    }

    pub(super) fn error(&self) -> Option<&Error> {
        match self {
            Self::For(_, outcome) => outcome.as_ref().err(),
            Self::Not(error) => Some(error),
        }
    }
}

/// Runs a statement.
pub(super) async fn run<F: Fetch>(
    pool: &Arc<Pool>,
    access: Access,
    statement: &Statement,
    params: &Params,
) -> Ran<F::Output> {
    if let Err(error) = check(statement) {
        return Ran::Not(error);
    }
    if !pool.limits().pooled
        && let Some(done) = on_lane::<F>(pool, access, statement, params).await
    {
        return done;
    }
    let mut attempt = 1;
    loop {
        // Boxed, so that a statement on a lane does not carry it.
        let done = Box::pin(on_own::<F>(pool, access, statement, params)).await;
        let lost = matches!(done.error(), Some(Error::ConnectionLost(_)));
        if !lost || access == Access::Write || attempt == READ_ATTEMPTS {
            return done;
        }
        attempt += 1;
    }
}

/// Refuses what would change how the session stands.
pub(super) fn check(statement: &Statement) -> Result<()> {
    if statement.operation == Operation::Transaction {
        let advice = "transactions are made by db.begin(), commit() and rollback(), not by statements";
        return Err(Error::Statement(advice.into()));
    }
    Ok(())
}

/// `None`: it has done nothing, and needs a connection of its own.
async fn on_lane<F: Fetch>(
    pool: &Arc<Pool>,
    access: Access,
    statement: &Statement,
    params: &Params,
) -> Option<Ran<F::Output>> {
    let expected = statement.pace.estimate().filter(|expected| expected.is_quicker_than(QUICK))?;
    let started = pool.clock().monotonic();
    let lane = pool.lane(access, expected)?;
    let connection = Arc::clone(lane.connection());
    let (outcome, age) = prepared::<F>(&connection, statement, params).await;
    let now = pool.clock().monotonic();
    let late = connection.wire.answered_ago(now);
    let began = lane.leave(now).max(started);
    let took = now.saturating_duration_since(began);
    match &outcome {
        Err(Failure::Driver(error)) if translate::is_cancelled(error) && now - started >= LANE_LIMIT / 2 => {
            statement.pace.note_slow();
            return None;
        }
        Err(Failure::Driver(error)) if access == Access::Read && translate::loses_connection(error) => return None,
        _ if age == Age::Old => statement.pace.note(took, late),
        _ => {}
    }
    Some(finish(pool, access, &connection, took, outcome))
}

async fn on_own<F: Fetch>(pool: &Arc<Pool>, access: Access, statement: &Statement, params: &Params) -> Ran<F::Output> {
    let mut own = match pool.own().await {
        Ok(own) => own,
        Err(error) => return Ran::Not(error),
    };
    if access == Access::Write {
        own.when_abandoned(Abandoned::Finishes);
    }
    let started = pool.clock().monotonic();
    own.load.begin(started);
    let (outcome, age) = if pool.limits().pooled {
        let limit = pool.limits().statement_timeout;
        (pooled::run::<F>(&own, access, statement, params, limit).await, Age::Old)
    } else {
        own.switch(Session::Own(access));
        prepared::<F>(&own, statement, params).await
    };
    own.load.end();
    let now = pool.clock().monotonic();
    let took = now.saturating_duration_since(started);
    if age == Age::Old || statement.pace.estimate().is_none() {
        statement.pace.note(took, own.wire.answered_ago(now));
    }
    finish(pool, access, &own, took, outcome)
}

/// Runs it as a prepared statement, prepared anew if the schema has changed since.
async fn prepared<F: Fetch>(
    connection: &Arc<Connection>,
    statement: &Statement,
    params: &Params,
) -> (Result<(F::Output, u64), Failure>, Age) {
    loop {
        let (prepared, age) = match connection.prepared.get(&connection.client, statement).await {
            Ok(found) => found,
            Err(error) => return (Err(error.into()), Age::New),
        };
        match rows::run::<F>(&connection.client, &prepared, statement.operation, params).await {
            Err(failure) if age == Age::Old && failure.is_stale() => connection.prepared.forget(statement),
            outcome => return (outcome, age),
        }
    }
}

/// Draws conclusions from how it failed.
fn finish<R>(
    pool: &Arc<Pool>,
    access: Access,
    connection: &Connection,
    took: Duration,
    outcome: Result<(R, u64), Failure>,
) -> Ran<R> {
    let outcome = outcome.map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Driver(error) => {
            let told = translate::translate(&error, connection, pool.limits().statement_timeout, took);
            pool.learn(access, connection, &told).unwrap_or(told)
        }
    });
    Ran::For(took, outcome)
}
