//! What can go wrong with a statement, and what a caller of the API is told about it.
//!
//! No message repeats a value. Errors of migrations: [`MigrationError`](crate::migrate::MigrationError). How the
//! drivers' codes become these: `sqlite/translate.rs`, `postgres/translate.rs`.

use std::fmt;
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
#[derive(Debug, Clone, thiserror::Error)]
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
        /// Name of the constraint or index. SQLite tells it only for indexes on expressions.
        constraint: Option<String>,
        /// The table.
        table: Option<String>,
        /// Columns of the key; none if it is of expressions.
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
        /// Name of the constraint; where it has none, its expression. What a trigger says when it refuses.
        constraint: String,
        /// The table. SQLite does not tell it.
        table: Option<String>,
    },

    /// `NULL` in a column that is `NOT NULL`.
    #[error("column `{column}`{} must not be NULL", of(table))]
    NotNull {
        /// The table.
        table: Option<String>,
        /// The column.
        column: String,
    },

    /// A value that its column cannot hold, such as text in an INTEGER column of a STRICT table, or one too long.
    #[error("a value does not fit its column: {0}")]
    Datatype(Refused),

    /// Of transactions that ran at the same time and cannot both have happened, this one was rolled back. Do all of it
    /// again: [`Db::retry`](crate::Db::retry) does so by itself. PostgreSQL only.
    #[error("the transaction does not go together with another that ran at the same time; run all of it again")]
    Serialization,

    /// Of transactions that waited for each other, this one was rolled back. Do all of it again:
    /// [`Db::retry`](crate::Db::retry) does so by itself. PostgreSQL only.
    #[error("transactions waited for each other, and the database rolled this one back; run all of it again")]
    Deadlock,

    /// A lock that the statement would not wait for (`NOWAIT`), or not for so long (`lock_timeout`). PostgreSQL only.
    #[error("a lock on a row or table is held by somebody else")]
    Locked,

    /// Somebody with the right to it cancelled the statement (`pg_cancel_backend`). PostgreSQL only.
    #[error("the statement was cancelled by an administrator")]
    Cancelled,

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

    /// The database cannot be opened or reached. Nothing was done.
    #[error("the database cannot be opened: {0}")]
    Connection(String),

    /// The connection was lost while the statement ran, or the server no longer takes writes. Of a statement that
    /// writes, and of a commit, it is not known whether it was carried out. PostgreSQL only.
    #[error("the connection to the database was lost: {0}")]
    ConnectionLost(&'static str),

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
    Statement(Refused),

    /// What was asked for is not in this build.
    #[error("{0}")]
    Unsupported(String),

    /// Code that ran on a database thread panicked, most likely a `Deserialize` of one's own.
    #[error("making a value of a row panicked; the log has the panic's message")]
    Panicked,
}

/// What the database says about a statement, without its values, and the SQLSTATE if it tells one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    message: String,
    sqlstate: Option<Box<str>>,
}

impl Refused {
    pub(crate) fn with_sqlstate(message: String, sqlstate: &str) -> Self {
        Self { message, sqlstate: Some(sqlstate.into()) }
    }
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self { message, sqlstate: None }
    }
}

impl From<&str> for Refused {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sqlstate {
            Some(sqlstate) => write!(f, "{} ({sqlstate})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Error {
    /// True if the same call can succeed a moment later, because the reason lies in the load, the connection or what
    /// others did at the same time. After [`ConnectionLost`](Self::ConnectionLost) a write may have happened already:
    /// repeat it only if that does no harm.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Timeout { .. }
                | Self::Overloaded { .. }
                | Self::Connection(_)
                | Self::ConnectionLost(_)
                | Self::Closed
                | Self::Serialization
                | Self::Deadlock
                | Self::Locked
        )
    }

    /// The five-character code (SQLSTATE) of what the database refused, such as `23505`. SQLite has none of its own;
    /// for its constraints the same codes are told.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Statement(refused) | Self::Datatype(refused) => refused.sqlstate.as_deref(),
            Self::Unique { .. } => Some("23505"),
            Self::ForeignKey { .. } => Some("23503"),
            Self::Check { .. } => Some("23514"),
            Self::NotNull { .. } => Some("23502"),
            Self::ReadOnly => Some("25006"),
            Self::Serialization => Some("40001"),
            Self::Deadlock => Some("40P01"),
            Self::Locked => Some("55P03"),
            Self::Cancelled => Some("57014"),
            _ => None,
        }
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
            Self::Serialization => "serialization",
            Self::Deadlock => "deadlock",
            Self::Locked => "locked",
            Self::Cancelled => "cancelled",
            Self::ReadOnly => "read_only",
            Self::Busy { .. } => "busy",
            Self::Timeout { .. } => "timeout",
            Self::Overloaded { .. } => "overloaded",
            Self::Connection(_) => "connection",
            Self::ConnectionLost(_) => "connection_lost",
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
