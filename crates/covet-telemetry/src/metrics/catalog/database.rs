//! The 15 of the database, fed by `covet-data`.

use crate::declare_metrics;

const QUERY_SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const TRANSACTION_SECONDS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

declare_metrics! {
    /// Database.
    ///
    /// Everything that goes through `Db`. `operation` is `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `DDL`, `TRANSACTION` or
    /// `OTHER`; `table` is the first table that the statement names, `none` when it names none, `other` beyond the 500th
    /// pair of operation and table.
    pub DATABASE;

    /// Statements run.
    ///
    /// Moved by each statement, also those of a transaction. `status`: `success`, `error`.
    counter DB_QUERIES_TOTAL = "db_queries_total" {operation, table, status};
    /// Time a statement took to run, without its wait for a connection, in seconds.
    ///
    /// Moved by each statement.
    histogram DB_QUERY_DURATION_SECONDS = "db_query_duration_seconds" {operation, table} QUERY_SECONDS;
    /// Database connections in use.
    ///
    /// Read at the scrape: those that run a statement or hold a transaction at that moment.
    gauge DB_CONNECTIONS_ACTIVE = "db_connections_active" {};
    /// Database connections open and unused.
    ///
    /// Read at the scrape.
    gauge DB_CONNECTIONS_IDLE = "db_connections_idle" {};
    /// Database connections open.
    ///
    /// Read at the scrape: `db_connections_active` and `db_connections_idle` together.
    gauge DB_CONNECTION_POOL_SIZE = "db_connection_pool_size" {};
    /// Callers waiting because all database connections are in use.
    ///
    /// Read at the scrape.
    gauge DB_CONNECTION_POOL_OVERFLOW = "db_connection_pool_overflow" {};
    /// Time of a transaction from begin to its end, in seconds.
    ///
    /// Moved as `db_transactions_total`.
    histogram DB_TRANSACTION_DURATION_SECONDS = "db_transaction_duration_seconds" {status} TRANSACTION_SECONDS;
    /// Transactions ended.
    ///
    /// `status`: `commit`, `rollback` (said, or dropped without a commit), `failed` (the database refused to commit),
    /// `idle_timeout` (stood idle for longer than `COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT`).
    counter DB_TRANSACTIONS_TOTAL = "db_transactions_total" {status};
    /// Deadlocks that the database resolved by ending one of our transactions.
    ///
    /// Moved by SQLSTATE 40P01. SQLite has one writer, and so no deadlocks.
    counter DB_DEADLOCKS_TOTAL = "db_deadlocks_total" {};
    /// Rows read or changed.
    ///
    /// Moved by each statement that succeeds, by the rows it returned or changed.
    counter DB_ROWS_AFFECTED = "db_rows_affected" {operation};
    /// Queries answered from the query cache.
    counter DB_CACHE_HITS = "db_cache_hits" {};
    /// Queries that the query cache could not answer.
    counter DB_CACHE_MISSES = "db_cache_misses" {};
    /// Database connections that failed.
    ///
    /// Moved by a connection that could not be opened, or not be had in time (`timeout`). `error_type` as in
    /// `db_query_errors`.
    counter DB_CONNECTION_ERRORS = "db_connection_errors" {error_type};
    /// Statements that failed.
    ///
    /// `error_type` is the kind of `covet::data::Error`: `unique`, `foreign_key`, `check`, `not_null`, `timeout`, `busy`,
    /// `connection`, `statement` and so on.
    counter DB_QUERY_ERRORS = "db_query_errors" {error_type, operation};
    /// Statements that took longer than the slow-query threshold.
    ///
    /// Moved by each statement over `COVET_DATABASE__SLOW_QUERY`, 1 s by default; each is also logged.
    counter DB_SLOW_QUERIES_TOTAL = "db_slow_queries_total" {operation, table};
}
