//! A transaction: a connection that stays with one caller until its end.
//!
//! It ends by commit, rollback, dropping the handle, by standing idle for too long (the server ends it, and the
//! connection with it), or with its connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use covet_core::clock::Clock;
use tokio::runtime::Handle as Runtime;
use tokio::sync::{Mutex, oneshot};

use super::autocommit::check;
use super::connection::{Connection, Ended, sent};
use super::pool::{Abandoned, Own, Pool};
use super::prepared::Age;
use super::rows::{self, Failure};
use super::session::{Session, millis};
use super::{Access, pooled, translate};
use crate::fetch::Fetch;
use crate::instruments::transaction_ended;
use crate::statement::Statement;
use crate::transaction::{Hook, NotCommitted, TransactionOptions, run_hooks};
use crate::{Error, Params, Result};

const FAILED: Error = Error::TransactionOver("a statement in it failed");
/// What the driver reports of a statement without an answer cannot be known.
const ABANDONED: &str = "its caller stopped waiting for a statement in it";
const IDLE: &str = "it stood idle for longer than COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT";
const LOST: &str = "the connection was lost in the middle of a transaction, which was rolled back";

/// Connections a transaction is begun on.
const ATTEMPTS: usize = 3;

/// The caller's end of an open transaction. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Taken out at the end.
    own: Option<Own>,
    state: Arc<State>,
    /// Statements run in the order they were asked for, also where one of them is to be prepared first.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// Why it ended, if not by the caller.
    over: OnceLock<&'static str>,
    /// The database refused a statement.
    failed: AtomicBool,
    /// It would succeed if all of it were done again.
    conflicted: AtomicBool,
    recorded: AtomicBool,
    began: Instant,
    clock: Clock,
}

impl State {
    /// Counts the end, once.
    fn ended(&self, status: &'static str) {
        if !self.recorded.swap(true, Ordering::AcqRel) {
            transaction_ended(status, self.clock.monotonic().saturating_duration_since(self.began));
        }
    }

    /// Why nothing more can be done in it, if so.
    fn over(&self) -> Option<Error> {
        let over = self.over.get().map(|why| match *why {
            // It could succeed on another connection.
            LOST => Error::Connection(LOST.to_owned()),
            why => Error::TransactionOver(why),
        });
        over.or_else(|| self.failed.load(Ordering::Acquire).then_some(FAILED))
    }
}

impl Handle {
    /// Opens a transaction on a connection of its own.
    pub(super) async fn begin(pool: &Arc<Pool>, options: &TransactionOptions) -> Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::begin_once(pool, options).await {
                // Nothing was done on it.
                Err(Error::ConnectionLost(_)) if attempt < ATTEMPTS => attempt += 1,
                begun => return begun,
            }
        }
    }

    async fn begin_once(pool: &Arc<Pool>, options: &TransactionOptions) -> Result<Self> {
        let own = pool.own().await?;
        let clock = pool.clock().clone();
        let state = Arc::new(State {
            over: OnceLock::new(),
            failed: AtomicBool::new(false),
            conflicted: AtomicBool::new(false),
            recorded: AtomicBool::new(false),
            began: clock.monotonic(),
            clock,
        });
        let told = Arc::clone(&state);
        own.status.on_end(move |why| {
            let idle = why == Ended::IdleInTransaction;
            let _ = told.over.set(if idle { IDLE } else { LOST });
            if idle {
                tracing::warn!("a transaction stood idle for too long and was rolled back");
            }
            told.ended(if idle { "idle_timeout" } else { "failed" });
        });
        // From here on, dropping it rolls back.
        let handle = Self { own: Some(own), state, turn: Mutex::default() };
        handle.run(handle.begin_on(pool, options)).await.map_err(|error| handle.translate(&error))?;
        Ok(handle)
    }

    async fn begin_on(&self, pool: &Pool, options: &TransactionOptions) -> Result<(), tokio_postgres::Error> {
        let limits = pool.limits();
        let mut sql = format!("BEGIN {}", options.as_sql());
        if limits.pooled {
            let (statement, idle) = (millis(limits.statement_timeout), millis(limits.transaction_idle_timeout));
            sql += &format!(
                "; SET LOCAL statement_timeout = {statement}; SET LOCAL idle_in_transaction_session_timeout = {idle}"
            );
        } else {
            self.own().switch(Session::Own(Access::Write));
        }
        self.own().client.batch_execute(&sql).await
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("it is taken at the end")
    }

    fn pool(&self) -> &Arc<Pool> {
        self.own().pool()
    }

    /// True if the same would succeed if all of it were done again.
    pub(crate) fn conflicted(&self) -> bool {
        self.state.conflicted.load(Ordering::Acquire)
    }

    /// Waits for an answer. If the caller does not, nobody knows what the statement has done.
    async fn run<R>(&self, answer: impl Future<Output = R>) -> R {
        let running = Running { handle: self, answered: false };
        self.own().load.begin(self.state.clock.monotonic());
        let answer = answer.await;
        let mut running = running;
        running.answered = true;
        answer
    }

    /// Runs a statement in the transaction.
    pub(crate) async fn fetch<F: Fetch>(&self, statement: &Statement, params: &Params) -> Result<F::Output> {
        check(statement)?;
        let _turn = self.turn.lock().await;
        if let Some(over) = self.state.over() {
            return Err(over);
        }
        let started = self.state.clock.monotonic();
        let outcome = self.run(self.rows::<F>(statement, params)).await;
        let took = self.state.clock.monotonic().saturating_duration_since(started);
        let outcome = outcome.map_err(|failure| match failure {
            Failure::Ours(error) => error,
            Failure::Driver(error) => {
                let told = translate::translate(&error, self.own(), self.pool().limits().statement_timeout, took);
                if matches!(told, Error::Serialization | Error::Deadlock) {
                    self.state.conflicted.store(true, Ordering::Release);
                }
                self.pool().learn(Access::Write, self.own(), &told).unwrap_or(told)
            }
        });
        if let Err(error) = &outcome
            && error.ends_transaction()
        {
            self.state.failed.store(true, Ordering::Release);
        }
        statement.measured(took, outcome).map_err(|error| match (error, self.state.over.get()) {
            // What the caller is to know is how its transaction ended.
            (Error::ConnectionLost(_), Some(why)) if *why == IDLE => Error::TransactionOver(why),
            (error, _) => error,
        })
    }

    async fn rows<F: Fetch>(&self, statement: &Statement, params: &Params) -> Result<(F::Output, u64), Failure> {
        let connection: &Arc<Connection> = self.own();
        if self.pool().limits().pooled {
            return pooled::query::<F>(connection, statement, params).await;
        }
        let (prepared, age) = connection.prepared.get(&connection.client, statement).await?;
        let outcome = rows::run::<F>(&connection.client, &prepared, statement.operation, params).await;
        if let Err(failure) = &outcome
            && age == Age::Old
            && failure.is_stale()
        {
            // Too late for this transaction, but not for the next.
            connection.prepared.forget(statement);
            self.state.conflicted.store(true, Ordering::Release);
        }
        outcome
    }

    fn translate(&self, error: &tokio_postgres::Error) -> Error {
        let took = self.state.clock.monotonic().saturating_duration_since(self.state.began);
        translate::translate(error, self.own(), self.pool().limits().statement_timeout, took)
    }

    /// Commits, then runs the hooks: also when the caller no longer waits.
    pub(crate) async fn commit(self, hooks: Vec<Hook>) -> Result<(), NotCommitted> {
        if let Some(over) = self.state.over() {
            let conflicted = self.conflicted();
            self.end("ROLLBACK", "failed").await.ok();
            return Err(NotCommitted { error: over, conflicted });
        }
        let runtime = Runtime::try_current().unwrap_or_else(|_| self.own().runtime.clone());
        let (reply, answer) = oneshot::channel();
        let done = self.end("COMMIT", "commit");
        let done = sent(async move {
            let outcome = done.await;
            if outcome.is_ok() {
                run_hooks(hooks, None);
            }
            let _ = reply.send(outcome);
        });
        runtime.spawn(done);
        let ending = || Err(NotCommitted { error: Error::ConnectionLost("the process is ending"), conflicted: false });
        answer.await.unwrap_or_else(|_| ending())
    }

    /// Rolls back, and waits for it.
    pub(crate) async fn roll_back(self) {
        if self.state.over.get().is_none() {
            self.end("ROLLBACK", "rollback").await.ok();
        }
    }

    /// Sends the last command, gives the connection back, and counts the end. An error tells whether all of it may be
    /// done again.
    async fn end(mut self, command: &'static str, status: &'static str) -> Result<(), NotCommitted> {
        let mut own = self.own.take().expect("it is taken once");
        own.status.forget_on_end();
        if own.load.in_flight() > 0 {
            // Of a caller who went away. It is cancelled, and the server rolls back when the connection ends.
            own.doom();
            self.state.ended(status);
            return Ok(());
        }
        own.when_abandoned(Abandoned::Finishes);
        own.load.begin(self.state.clock.monotonic());
        let outcome = own.client.batch_execute(command).await;
        own.load.end();
        match outcome {
            Ok(()) => {
                self.state.ended(status);
                Ok(())
            }
            Err(error) => {
                self.state.ended("failed");
                let limit = own.pool().limits().statement_timeout;
                let took = self.state.clock.monotonic().saturating_duration_since(self.state.began);
                let told = match self.state.over.get() {
                    Some(why) if *why == IDLE => Error::TransactionOver(why),
                    _ => translate::translate(&error, &own, limit, took),
                };
                let told = own.pool().learn(Access::Write, &own, &told).unwrap_or(told);
                let conflicted = matches!(told, Error::Serialization | Error::Deadlock);
                Err(NotCommitted { error: told, conflicted })
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(own) = self.own.take() else { return };
        own.status.forget_on_end();
        self.state.ended("rollback");
        if own.load.in_flight() > 0 {
            // What still runs is cancelled, and the server rolls back when the connection ends.
            own.doom();
            return;
        }
        if own.client.is_closed() {
            return;
        }
        own.load.begin(self.state.clock.monotonic());
        let (connection, runtime) = (Arc::clone(&own), own.runtime.clone());
        let rolled_back = sent(async move { connection.client.batch_execute("ROLLBACK").await });
        runtime.spawn(async move {
            if rolled_back.await.is_err() {
                own.doom();
            }
            own.load.end();
        });
    }
}

/// A statement on its way.
struct Running<'a> {
    handle: &'a Handle,
    answered: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let own = self.handle.own();
        if self.answered {
            return own.load.end();
        }
        let _ = self.handle.state.over.set(ABANDONED);
        let (connection, answered) = (Arc::clone(own), own.answered());
        own.runtime.spawn(async move {
            answered.await;
            connection.load.end();
        });
    }
}
