//! SQLite's errors as ours. Its messages name tables, columns and constraints, in forms it has kept for many years.

use std::time::Duration;

use rusqlite::ffi;

use crate::Error;

/// What the limits were, for the errors that tell them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) busy_timeout: Duration,
    pub(super) statement_timeout: Duration,
}

impl Limits {
    /// Translates an error of a statement.
    pub(super) fn translate(&self, error: rusqlite::Error) -> Error {
        match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                self.failure(code, &message.unwrap_or_else(|| code.to_string()))
            }
            rusqlite::Error::SqlInputError { error, msg, .. } => self.failure(error, &msg),
            rusqlite::Error::MultipleStatement => {
                Error::Statement("the text holds more than one statement; run them one by one".into())
            }
            rusqlite::Error::NulError(_) => Error::Statement("the text holds a NUL character".into()),
            other => Error::Statement(other.to_string().into()),
        }
    }

    fn failure(&self, error: ffi::Error, message: &str) -> Error {
        match error.extended_code & 0xff {
            ffi::SQLITE_CONSTRAINT => constraint(error.extended_code, message),
            ffi::SQLITE_READONLY if error.extended_code == ffi::SQLITE_READONLY => Error::ReadOnly,
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Error::Busy { waited: self.busy_timeout },
            ffi::SQLITE_INTERRUPT => Error::Timeout {
                what: "the statement",
                limit: self.statement_timeout,
                setting: "COVET_DATABASE__STATEMENT_TIMEOUT",
            },
            ffi::SQLITE_FULL
            | ffi::SQLITE_IOERR
            | ffi::SQLITE_CORRUPT
            | ffi::SQLITE_NOTADB
            | ffi::SQLITE_READONLY
            | ffi::SQLITE_NOLFS => Error::Storage(message.to_owned()),
            ffi::SQLITE_CANTOPEN => Error::Connection(message.to_owned()),
            ffi::SQLITE_MISMATCH | ffi::SQLITE_TOOBIG => Error::Datatype(message.into()),
            _ => Error::Statement(without_literals(message).into()),
        }
    }
}

fn constraint(extended_code: i32, message: &str) -> Error {
    let subject = message.split_once("constraint failed: ").map_or("", |(_, subject)| subject);
    match extended_code {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID => {
            unique(subject)
        }
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Error::ForeignKey { constraint: None, table: None },
        ffi::SQLITE_CONSTRAINT_CHECK => Error::Check { constraint: subject.to_owned(), table: None },
        // RAISE(ABORT, 'text') in a trigger: the text is the rule's.
        ffi::SQLITE_CONSTRAINT_TRIGGER => Error::Check { constraint: message.to_owned(), table: None },
        ffi::SQLITE_CONSTRAINT_NOTNULL => {
            let (table, column) = table_and_column(subject);
            Error::NotNull { table, column }
        }
        ffi::SQLITE_CONSTRAINT_DATATYPE => Error::Datatype(message.into()),
        _ => Error::Statement(message.into()),
    }
}

/// `users.tenant, users.email`, or `index 'users_lower_email'` for an index on an expression.
fn unique(subject: &str) -> Error {
    if let Some(index) = subject.strip_prefix("index '") {
        let constraint = Some(index.trim_end_matches('\'').to_owned());
        return Error::Unique { constraint, table: None, columns: Vec::new() };
    }
    let mut table = None;
    let columns = subject.split(", ").filter(|part| !part.is_empty()).map(|part| {
        let (of, column) = table_and_column(part);
        table = of;
        column
    });
    let columns = columns.collect();
    Error::Unique { constraint: None, table, columns }
}

fn table_and_column(name: &str) -> (Option<String>, String) {
    match name.split_once('.') {
        Some((table, column)) => (Some(table.to_owned()), column.to_owned()),
        None => (None, name.to_owned()),
    }
}

/// Syntax errors quote the place, which may be a literal in the text.
fn without_literals(message: &str) -> String {
    let literal = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || c == '\'');
    if message.starts_with("unrecognized token") {
        return "unrecognized token".to_owned();
    }
    match message.strip_prefix("near \"") {
        Some(place) if literal(place) => "near a literal: syntax error".to_owned(),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_the_text_are_not_repeated() {
        assert_eq!(without_literals("near \"'secret'\": syntax error"), "near a literal: syntax error");
        assert_eq!(without_literals("near \"4711\": syntax error"), "near a literal: syntax error");
        assert_eq!(without_literals("unrecognized token: \"'secret\""), "unrecognized token");
        assert_eq!(without_literals("near \"SELEC\": syntax error"), "near \"SELEC\": syntax error");
    }
}
