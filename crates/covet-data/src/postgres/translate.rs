//! PostgreSQL's errors as ours, by SQLSTATE (the manual's appendix A). Messages that may repeat a value are cut.

use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};

use super::bind;
use super::connection::{Connection, Ended};
use crate::Error;
use crate::error::Refused;

/// Translates an error of a statement on this connection. `limit` is what was allowed, `took` how long it ran.
pub(super) fn translate(
    error: &tokio_postgres::Error,
    connection: &Connection,
    limit: Duration,
    took: Duration,
) -> Error {
    if let Some(refused) = error.as_db_error() {
        // The server's clock and ours need not agree to the millisecond.
        let limit = (took >= limit.mul_f64(0.9)).then_some(limit);
        return refused_by_server(refused, limit);
    }
    if let Some(unfit) = bind::unfit(error) {
        return unfit;
    }
    // The rest is about the connection: closed, broken, or saying what no server says.
    Error::ConnectionLost(match connection.status.reason() {
        Some(Ended::Hung) => "the server gave no answer",
        Some(Ended::IdleInTransaction) => "the server ended it, because a transaction stood idle for too long",
        Some(Ended::Lost | Ended::Closed) | None => "the server is gone",
    })
}

/// Translates an error where no limits are in force, and nothing is known of the connection.
pub(super) fn without_connection(error: &tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(refused) => refused_by_server(refused, None),
        None => Error::ConnectionLost("the server is gone"),
    }
}

/// True if the connection is of no further use, or the server of none for writing.
pub(super) fn loses_connection(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => is_about_connection(code),
        None => bind::unfit(error).is_none(),
    }
}

/// Shutting down, starting up, and the class of connection exceptions.
fn is_about_connection(code: &SqlState) -> bool {
    [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
        || code.code().starts_with("08") && *code != SqlState::PROTOCOL_VIOLATION
        // A transaction or session that was idle for too long is ended by the server.
        || code.code() == "25P03"
        || code.code() == "57P05"
}

/// True if a statement that was prepared before may succeed when it is prepared again: the schema has changed, or the
/// server does not know the statement any more.
pub(super) fn is_stale(error: &tokio_postgres::Error) -> bool {
    let Some(refused) = error.as_db_error() else { return bind::unfit(error).is_some() };
    let code = refused.code();
    *code == SqlState::INVALID_SQL_STATEMENT_NAME
        // "cached plan must not change result type"
        || *code == SqlState::FEATURE_NOT_SUPPORTED && refused.routine() == Some("RevalidateCachedQuery")
        // What a table, column or operator is may have changed with the schema.
        || code.code().starts_with("42")
}

pub(super) fn is_cancelled(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::QUERY_CANCELED)
}

fn refused_by_server(refused: &DbError, timed_out: Option<Duration>) -> Error {
    let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
    let code = refused.code();
    match *code {
        SqlState::UNIQUE_VIOLATION | SqlState::EXCLUSION_VIOLATION => Error::Unique {
            constraint: owned(refused.constraint()),
            table: owned(refused.table()),
            columns: refused.detail().map(key_columns).unwrap_or_default(),
        },
        SqlState::FOREIGN_KEY_VIOLATION | SqlState::RESTRICT_VIOLATION => {
            Error::ForeignKey { constraint: owned(refused.constraint()), table: owned(refused.table()) }
        }
        SqlState::CHECK_VIOLATION => Error::Check {
            constraint: refused.constraint().unwrap_or("of a domain or partition").to_owned(),
            table: owned(refused.table()),
        },
        // RAISE EXCEPTION 'text' in a trigger or function: the text is the rule's.
        SqlState::RAISE_EXCEPTION => Error::Check { constraint: refused.message().to_owned(), table: None },
        SqlState::NOT_NULL_VIOLATION => {
            Error::NotNull { table: owned(refused.table()), column: refused.column().unwrap_or("?").to_owned() }
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => Error::ReadOnly,
        SqlState::T_R_SERIALIZATION_FAILURE => Error::Serialization,
        SqlState::T_R_DEADLOCK_DETECTED => Error::Deadlock,
        SqlState::LOCK_NOT_AVAILABLE => Error::Locked,
        SqlState::QUERY_CANCELED => match timed_out {
            Some(limit) => {
                let setting = "COVET_DATABASE__STATEMENT_TIMEOUT";
                Error::Timeout { what: "the statement", limit, setting }
            }
            None => Error::Cancelled,
        },
        // Only where a statement is not prepared: else the values are counted here.
        SqlState::PROTOCOL_VIOLATION => Error::Parameters("the statement has another number of parameters".to_owned()),
        // Only through a pooler: the driver asked another connection for what it knows of a type.
        SqlState::INVALID_SQL_STATEMENT_NAME => Error::ConnectionLost("the pooler gave it to somebody else"),
        SqlState::IN_FAILED_SQL_TRANSACTION => Error::TransactionOver("a statement in it failed"),
        SqlState::ADMIN_SHUTDOWN => Error::ConnectionLost("the server shut it down"),
        SqlState::TOO_MANY_CONNECTIONS => Error::Connection(safe_message(refused)),
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE
        | SqlState::STRING_DATA_RIGHT_TRUNCATION
        | SqlState::INVALID_TEXT_REPRESENTATION
        | SqlState::INVALID_BINARY_REPRESENTATION
        | SqlState::INVALID_DATETIME_FORMAT
        | SqlState::DATETIME_FIELD_OVERFLOW
        | SqlState::CHARACTER_NOT_IN_REPERTOIRE
        | SqlState::UNTRANSLATABLE_CHARACTER => Error::Datatype(told(refused)),
        _ if is_about_connection(code) => Error::ConnectionLost("the server ended it"),
        _ => match code.code().get(..2) {
            Some("53" | "58" | "XX") => Error::Storage(safe_message(refused)),
            _ => Error::Statement(told(refused)),
        },
    }
}

fn told(refused: &DbError) -> Refused {
    Refused::with_sqlstate(safe_message(refused), refused.code().code())
}

/// `Key (tenant, email)=(1, ada@example.org) already exists.`, in whatever language: the names, never the values.
fn key_columns(detail: &str) -> Vec<String> {
    let names = detail.split_once(")=(").and_then(|(before, _)| before.split_once('('));
    let Some((_, names)) = names else { return Vec::new() };
    // A key of expressions, such as lower(email), has no columns.
    if names.contains('(') {
        return Vec::new();
    }
    names.split(", ").map(|name| name.trim_matches('"').to_owned()).collect()
}

/// The server's message without what may be a value: `invalid input syntax for type integer: "hunter2"`.
fn safe_message(refused: &DbError) -> String {
    let (code, message) = (refused.code().code(), refused.message());
    match code.get(..2) {
        // Data exceptions quote the data; syntax errors the place, which may be a literal.
        Some("22" | "23") => cut_quoted(message),
        Some("42") if code == "42601" => without_literal(message),
        _ => message.to_owned(),
    }
}

fn cut_quoted(message: &str) -> String {
    message.split(": ").next().unwrap_or_default().to_owned()
}

fn without_literal(message: &str) -> String {
    match message.split_once('"') {
        Some((before, place)) if place.starts_with(|c: char| c.is_ascii_digit() || c == '\'' || c == '$') => {
            format!("{before}a literal")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_a_key_are_told() {
        for (detail, expected) in [
            ("Key (tenant, email)=(1, ada@example.org) already exists.", &["tenant", "email"][..]),
            ("Key (\"order\")=(7) already exists.", &["order"]),
            ("Schlüssel »(email)=(a)=(b)« existiert bereits.", &["email"]),
            ("Key (lower(email))=(ada) already exists.", &[]),
            ("something else", &[]),
        ] {
            assert_eq!(key_columns(detail), expected, "{detail}");
        }
    }

    #[test]
    fn values_are_cut_from_messages() {
        assert_eq!(
            cut_quoted("invalid input syntax for type integer: \"hunter2\""),
            "invalid input syntax for type integer"
        );
        assert_eq!(
            cut_quoted("value too long for type character varying(10)"),
            "value too long for type character varying(10)"
        );
        assert_eq!(without_literal("syntax error at or near \"'hunter2'\""), "syntax error at or near a literal");
        assert_eq!(without_literal("syntax error at or near \"SELEC\""), "syntax error at or near \"SELEC\"");
    }
}
