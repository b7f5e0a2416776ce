//! What can go wrong with a statement, and what a caller of the API is told about it.
//!
//! No message repeats a value. Errors of migrations: [`MigrationError`](crate::migrate::MigrationError). How
//! SQLite's codes become these: `sqlite/translate.rs`.

use std::time::Duration;

use covet_core::problem::{AsProblem, Problem};

use crate::decode::RowMismatch;

/// The result of a statement.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a statement failed.
///
/// ```
/// use covet_data::Error;
///
/// fn reason(error: &Error) -> &'static str {
///     match error {
///         Error::Unique { columns, .. } if columns == &["email"] => "that address is taken",
///         Error::NotFound => "there is no such user",
///         error if error.is_retryable() => "try again in a moment",
///         _ => "something is wrong",
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `one` met no row.
    #[error("no row was found")]
    NotFound,

    /// `one` or `optional` met a second row. Add a condition or `LIMIT 1`, or ask for `all`.
    #[error("more than one row was found where at most one was asked for; narrow the WHERE, add LIMIT 1, or use all()")]
    TooManyRows,

    /// A row does not fit the type asked for.
    #[error("{0}")]
    RowMismatch(Box<RowMismatch>),

    /// A second row with the same key.
    #[error("a row with the same {} exists already{}", list(columns), of(table))]
    Unique {
        /// Name of the constraint or index, if the database tells it. SQLite only does for indexes on expressions.
        constraint: Option<String>,
        /// The table.
        table: Option<String>,
        /// Columns of the key.
        columns: Vec<String>,
    },

    /// A row that is referred to does not exist, or a row is still referred to.
    #[error("a foreign key is not satisfied: a row that is referred to is missing, or one is still referred to")]
    ForeignKey {
        /// Name of the constraint. SQLite does not tell it.
        constraint: Option<String>,
        /// The table. SQLite does not tell it.
        table: Option<String>,
    },

    /// A `CHECK` is not satisfied.
    #[error("the check `{constraint}` is not satisfied")]
    Check {
        /// Name of the constraint; where it has none, its expression.
        constraint: String,
    },

    /// `NULL` in a column that is `NOT NULL`.
    #[error("column `{column}`{} must not be NULL", of(table))]
    NotNull {
        /// The table.
        table: Option<String>,
        /// The column.
        column: String,
    },

    /// A value that its column cannot hold, such as text in an INTEGER column of a STRICT table.
    #[error("a value does not fit its column: {0}")]
    Datatype(String),

    /// A statement that writes, through `db.read()`, or a database that cannot be written to.
    #[error("the statement writes, but db.read() only reads and a read-only database takes no writes; use db.write()")]
    ReadOnly,

    /// Another process holds the database's write lock.
    #[error(
        "another process has held the database's write lock for {waited:?}; \
         if that is normal, raise COVET_DATABASE__BUSY_TIMEOUT"
    )]
    Busy {
        /// How long it was waited for.
        waited: Duration,
    },

    /// Nothing came free, or the statement did not end, in time.
    #[error("{what} took longer than {limit:?} ({setting})")]
    Timeout {
        /// What took long.
        what: &'static str,
        /// How long was allowed.
        limit: Duration,
        /// The variable that says so.
        setting: &'static str,
    },

    /// So many statements wait already that a further one is not worth queueing.
    #[error("{limit} statements are waiting for the database already (COVET_DATABASE__QUEUE_LIMIT)")]
    Overloaded {
        /// How many may wait.
        limit: usize,
    },

    /// The database cannot be opened or reached.
    #[error("the database cannot be opened: {0}")]
    Connection(String),

    /// The storage fails: disk full, unreadable, damaged.
    #[error("the database's storage fails: {0}")]
    Storage(String),

    /// [`Db::close`](crate::Db::close) was called.
    #[error("the database is closed: the process is ending")]
    Closed,

    /// The transaction ended before: it stood idle for too long, or a statement of it failed.
    #[error("the transaction is over: {0}; its changes were rolled back, begin again")]
    TransactionOver(&'static str),

    /// The statement's parameters and the values given do not match.
    #[error("{0}")]
    Parameters(String),

    /// The database does not understand or refuses the statement.
    #[error("the database refused the statement: {0}")]
    Statement(String),

    /// What was asked for is not in this build.
    #[error("{0}")]
    Unsupported(String),

    /// Code that ran on a database thread panicked, most likely a `Deserialize` of one's own.
    #[error("making a value of a row panicked; the log has the panic's message")]
    Panicked,
}

impl Error {
    /// True if the same call can succeed a moment later, because the reason lies in the load or the connection.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Timeout { .. } | Self::Overloaded { .. } | Self::Connection(_) | Self::Closed
        )
    }

    /// A short name of the kind, for labels of metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::TooManyRows => "too_many_rows",
            Self::RowMismatch(_) => "row_mismatch",
            Self::Unique { .. } => "unique",
            Self::ForeignKey { .. } => "foreign_key",
            Self::Check { .. } => "check",
            Self::NotNull { .. } => "not_null",
            Self::Datatype(_) => "datatype",
            Self::ReadOnly => "read_only",
            Self::Busy { .. } => "busy",
            Self::Timeout { .. } => "timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::Connection(_) => "connection",
            Self::Storage(_) => "storage",
            Self::Closed => "closed",
            Self::TransactionOver(_) => "transaction_over",
            Self::Parameters(_) => "parameters",
            Self::Statement(_) => "statement",
            Self::Unsupported(_) => "unsupported",
            Self::Panicked => "panicked",
        }
    }

    /// True if the database itself refused, so that a transaction cannot go on.
    pub(crate) fn ends_transaction(&self) -> bool {
        !matches!(self, Self::NotFound | Self::TooManyRows | Self::RowMismatch(_))
    }
}

/// What a caller of the API is told: nothing of statements, tables or constraints.
impl AsProblem for Error {
    fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::new(404).detail("There is no such thing."),
            Self::Unique { .. } => Problem::new(409).detail("The same exists already."),
            Self::ForeignKey { .. } => Problem::new(409)
                .detail("Something that this refers to does not exist, or something still refers to it."),
            error if error.is_retryable() => Problem::new(503)
                .detail("The database is not available at this moment. Try again shortly.")
                .retry_after(Duration::from_secs(1)),
            _ => Problem::new(500).detail("The request could not be carried out because of a fault of the service."),
        }
    }
}

fn list(columns: &[String]) -> String {
    if columns.is_empty() { "key".to_owned() } else { columns.join(", ") }
}

fn of(table: &Option<String>) -> String {
    table.as_ref().map(|table| format!(" in `{table}`")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_documented() {
        let unique = Error::Unique { constraint: None, table: Some("users".into()), columns: vec!["email".into()] };
        for (error, status) in [
            (Error::NotFound, 404),
            (unique, 409),
            (Error::ForeignKey { constraint: None, table: None }, 409),
            (Error::Busy { waited: Duration::from_secs(5) }, 503),
            (Error::Overloaded { limit: 1 }, 503),
            (Error::Closed, 503),
            (Error::Statement("near \"secret_table\"".into()), 500),
            (Error::Panicked, 500),
        ] {
            let problem = error.problem();
            assert_eq!(problem.status, status, "{error}");
            assert_eq!(problem.retry_after.is_some(), status == 503, "{error}");
            assert!(!problem.detail.unwrap().contains("secret_table"));
        }
    }

    #[test]
    fn a_taken_key_reads_well() {
        let error = Error::Unique { constraint: None, table: Some("users".into()), columns: vec!["email".into()] };
        assert_eq!(error.to_string(), "a row with the same email exists already in `users`");
    }
}
