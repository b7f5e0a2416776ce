//! The metrics of statements: handles resolved once per operation and table, so that a query hashes no label.
//!
//! Names and meanings are in `covet_telemetry::metrics::catalog`. Connection gauges: `collector.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covet_telemetry::metrics::catalog;
use metrics::{Counter, Histogram, counter, histogram};

use crate::Error;
use crate::statement::Operation;

/// Tables with labels of their own; further ones are counted as `other`.
const TABLES: usize = 500;

/// The handles of one operation on one table.
pub(crate) struct Instruments {
    operation: Operation,
    table: Box<str>,
    succeeded: Counter,
    failed: Counter,
    duration_seconds: Histogram,
    rows: Counter,
    slow: Counter,
    slow_threshold: Duration,
}

impl std::fmt::Debug for Instruments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instruments").field("operation", &self.operation).field("table", &self.table).finish()
    }
}

impl Instruments {
    fn new(operation: Operation, table: &str, slow_threshold: Duration) -> Self {
        let labels = [("operation", operation.label().to_owned()), ("table", table.to_owned())];
        let queries = |status: &'static str| {
            let [operation, table] = labels.clone();
            counter!(catalog::DB_QUERIES_TOTAL.name, &[operation, table, ("status", status.to_owned())])
        };
        Self {
            operation,
            table: table.into(),
            succeeded: queries("success"),
            failed: queries("error"),
            duration_seconds: histogram!(catalog::DB_QUERY_DURATION_SECONDS.name, &labels),
            rows: counter!(catalog::DB_ROWS_AFFECTED.name, "operation" => operation.label()),
            slow: counter!(catalog::DB_SLOW_QUERIES_TOTAL.name, &labels),
            slow_threshold,
        }
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// Counts a run and its rows. True if it was slow.
    pub(crate) fn record(&self, took: Duration, outcome: Result<u64, &Error>) -> bool {
        self.duration_seconds.record(took.as_secs_f64());
        match outcome {
            Ok(rows) => {
                self.succeeded.increment(1);
                self.rows.increment(rows);
            }
            Err(error) => {
                self.failed.increment(1);
                let labels = [("error_type", error.kind()), ("operation", self.operation.label())];
                counter!(catalog::DB_QUERY_ERRORS.name, &labels).increment(1);
                if matches!(error, Error::Deadlock) {
                    counter!(catalog::DB_DEADLOCKS_TOTAL.name).increment(1);
                }
            }
        }
        let slow = took > self.slow_threshold;
        if slow {
            self.slow.increment(1);
        }
        slow
    }
}

/// The handles made so far.
#[derive(Debug)]
pub(crate) struct InstrumentsCache {
    slow_threshold: Duration,
    made: Mutex<HashMap<Labels, Arc<Instruments>>>,
}

/// Operation and table.
type Labels = (Operation, Box<str>);

impl InstrumentsCache {
    pub(crate) fn new(slow_threshold: Duration) -> Self {
        Self { slow_threshold, made: Mutex::default() }
    }

    pub(crate) fn get(&self, operation: Operation, table: Option<&str>) -> Arc<Instruments> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = table.unwrap_or("none");
        if made.len() >= TABLES && !made.contains_key(&(operation, table.into())) {
            table = "other";
        }
        let entry = made.entry((operation, table.into()));
        Arc::clone(entry.or_insert_with(|| Arc::new(Instruments::new(operation, table, self.slow_threshold))))
    }
}

/// Counts a connection that could not be had.
pub(crate) fn connection_failed(error: &Error) {
    counter!(catalog::DB_CONNECTION_ERRORS.name, "error_type" => error.kind()).increment(1);
}

/// Counts a transaction that ended.
pub(crate) fn transaction_ended(status: &'static str, took: Duration) {
    counter!(catalog::DB_TRANSACTIONS_TOTAL.name, "status" => status).increment(1);
    histogram!(catalog::DB_TRANSACTION_DURATION_SECONDS.name, "status" => status).record(took.as_secs_f64());
}
