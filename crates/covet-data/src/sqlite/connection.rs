//! One connection to the file: runs statements, within limits, and measures them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use rusqlite::StatementStatus;

use super::bind::bind;
use super::cell::Column;
use super::rows::{self, Rows};
use super::ticket::Ticket;
use super::translate::Limits;
use super::watch::{STEPS, Watch};
use crate::decode::Columns;
use crate::fetch::Fetch;
use crate::statement::{IdHasher, Operation, Statement};
use crate::{Error, Params, Result};

/// A read that took less is run in place next time: handing it over costs some 5 to 50 µs.
const QUICK: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(super) struct Connection {
    raw: rusqlite::Connection,
    watch: Arc<Watch>,
    clock: Clock,
    limits: Limits,
    plans: RefCell<HashMap<u64, Plan, BuildHasherDefault<IdHasher>>>,
    plans_limit: usize,
    transaction: Cell<Transaction>,
}

/// Whether [`Connection::begin`] was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    /// The database refused a statement. As in PostgreSQL, nothing more can be done but to roll back.
    Failed,
}

const FAILED: Error = Error::TransactionOver("a statement in it failed");

/// The columns of a prepared statement, and how often it had been prepared again when they were looked at.
#[derive(Debug)]
struct Plan {
    columns: Arc<Columns<Column>>,
    reprepared: i32,
}

impl Connection {
    /// Takes over a connection that `open.rs` has made.
    pub(super) fn new(
        mut raw: rusqlite::Connection,
        clock: Clock,
        limits: Limits,
        statement_cache: usize,
    ) -> rusqlite::Result<Self> {
        let watch = Watch::new(clock.clone(), limits.busy_timeout);
        raw.set_prepared_statement_cache_capacity(statement_cache);
        let looking = Arc::clone(&watch);
        raw.progress_handler(STEPS, Some(move || looking.look()))?;
        let waiting = Arc::clone(&watch);
        raw.busy_handler(Some(move |asked| waiting.wait_for_lock(asked)))?;
        let plans = RefCell::default();
        Ok(Self {
            raw,
            watch,
            clock,
            limits,
            plans,
            plans_limit: statement_cache,
            transaction: Cell::new(Transaction::None),
        })
    }

    /// Runs a statement on a database thread, as long as somebody waits for it.
    pub(super) fn run<F: Fetch>(
        &self,
        statement: &Statement,
        params: &Params,
        ticket: Option<&Arc<Ticket>>,
    ) -> Result<F::Output> {
        if self.transaction.get() == Transaction::Failed {
            return Err(FAILED);
        }
        let before = self.transaction.get();
        if before == Transaction::Open {
            // Stands if this panics: nobody knows then what the statement has done.
            self.transaction.set(Transaction::Failed);
        }
        let started = self.clock.monotonic();
        let watching = self.watch.timed(self.limits.statement_timeout, ticket);
        let outcome = self.rows(statement, params, rows::fetch::<F>);
        drop(watching);
        let took = self.clock.monotonic().saturating_duration_since(started);
        statement.set_quick(took <= QUICK);
        // SQLite itself rolls back on some errors, such as a full disk.
        let fails = !self.in_transaction() || outcome.as_ref().is_err_and(Error::ends_transaction);
        self.transaction.set(match before {
            Transaction::Open if fails => Transaction::Failed,
            before => before,
        });
        if outcome.is_err() && ticket.is_some_and(|ticket| ticket.is_abandoned()) {
            return outcome.map(|(output, _)| output);
        }
        statement.measured(took, outcome)
    }

    /// Runs a read on a thread of the async runtime. `None`: it would take longer than it may; nothing was done.
    pub(super) fn run_quick<F: Fetch>(&self, statement: &Statement, params: &Params) -> Option<Result<F::Output>> {
        let started = self.clock.monotonic();
        let watching = self.watch.quick();
        let outcome = self.rows(statement, params, rows::fetch::<F>);
        drop(watching);
        let took = self.clock.monotonic().saturating_duration_since(started);
        let cut_short = matches!(outcome, Err(Error::Timeout { .. } | Error::Busy { .. }));
        statement.set_quick(!cut_short && took <= QUICK);
        (!cut_short).then(|| statement.measured(took, outcome))
    }

    /// Runs a statement for a stream, which takes rows at its own pace. `take` gets the rows, and a function that
    /// starts the statement's time anew.
    pub(super) fn run_slowly<R>(
        &self,
        statement: &Statement,
        params: &Params,
        ticket: &Arc<Ticket>,
        take: impl FnOnce(&mut Rows<'_>, &dyn Fn()) -> Result<(R, u64)>,
    ) -> Result<R> {
        let started = self.clock.monotonic();
        let watching = self.watch.timed(self.limits.statement_timeout, Some(ticket));
        let anew = || self.watch.restart(self.limits.statement_timeout);
        let outcome = self.rows(statement, params, |rows| take(rows, &anew));
        drop(watching);
        statement.measured(self.clock.monotonic().saturating_duration_since(started), outcome)
    }

    /// Prepares, binds, and lets `take` have the rows. A statement that writes is run to its end whatever `take` did,
    /// so that its commit has happened, or failed, when this returns.
    fn rows<R>(
        &self,
        statement: &Statement,
        params: &Params,
        take: impl FnOnce(&mut Rows<'_>) -> Result<R>,
    ) -> Result<R> {
        if statement.operation == Operation::Transaction {
            let advice = "transactions are made by db.begin(), commit() and rollback(), not by statements";
            return Err(Error::Statement(advice.into()));
        }
        let translate = |error| self.limits.translate(error);
        let mut prepared = self.raw.prepare_cached(&statement.text).map_err(translate)?;
        bind(&mut prepared, statement, params.as_slice(), &self.limits)?;
        let first_run = prepared.get_status(StatementStatus::Run) == 0;
        let reads = prepared.readonly();
        let mut rows = Rows::new(self, statement, &mut prepared, first_run);
        let taken = take(&mut rows);
        if !reads {
            while rows.skip()? {}
        }
        taken
    }

    /// The columns of the row that `prepared` stands on. SQLite prepares a statement again when the schema has
    /// changed, which it counts.
    pub(super) fn columns(
        &self,
        statement: &Statement,
        prepared: &rusqlite::Statement<'_>,
        first_run: bool,
    ) -> Arc<Columns<Column>> {
        let reprepared = prepared.get_status(StatementStatus::RePrepare);
        let mut plans = self.plans.borrow_mut();
        if let Some(plan) = plans.get(&statement.id)
            && !first_run
            && plan.reprepared == reprepared
        {
            return Arc::clone(&plan.columns);
        }
        let columns = Arc::new(rows::columns_of(prepared));
        if plans.len() >= self.plans_limit {
            plans.clear();
        }
        plans.insert(statement.id, Plan { columns: Arc::clone(&columns), reprepared });
        columns
    }

    pub(super) fn translate(&self, error: rusqlite::Error) -> Error {
        self.limits.translate(error)
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE.
    pub(super) fn changes(&self) -> u64 {
        self.raw.changes()
    }

    /// Opens a transaction that writes, waiting for other processes.
    pub(super) fn begin(&self) -> Result<()> {
        self.control("BEGIN IMMEDIATE")?;
        self.transaction.set(Transaction::Open);
        Ok(())
    }

    /// Commits. If that fails, or a statement failed before, everything is rolled back.
    pub(super) fn commit(&self) -> Result<()> {
        if self.transaction.get() == Transaction::Failed {
            self.roll_back();
            return Err(FAILED);
        }
        let outcome = self.control("COMMIT");
        // A COMMIT that fails (a deferred foreign key) leaves the transaction open.
        self.roll_back();
        outcome
    }

    /// Rolls back what is open, if anything is.
    pub(super) fn roll_back(&self) {
        self.transaction.set(Transaction::None);
        if self.in_transaction()
            && let Err(error) = self.control("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        !self.raw.is_autocommit()
    }

    /// One of our own statements, without limits and metrics.
    fn control(&self, text: &str) -> Result<()> {
        let run = || self.raw.prepare_cached(text)?.execute([]);
        run().map(drop).map_err(|error| self.translate(error))
    }

    /// The driver's connection, for migrations.
    pub(super) fn raw_mut(&mut self) -> &mut rusqlite::Connection {
        &mut self.raw
    }

    /// Before closing: brings statistics up to date where that is cheap, and the log into the file.
    pub(super) fn tidy_up(&self) {
        let tidy = "PRAGMA analysis_limit=400; PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);";
        if let Err(error) = self.raw.execute_batch(tidy) {
            tracing::warn!(%error, "the database was not tidied up before closing; the next start will do it");
        }
    }
}
