//! The rows of a running statement.

use std::sync::Arc;

use rusqlite::types::ValueRef;

use super::connection::Connection;
use crate::decode::{self, Cell, Cells, Column, Columns, Refusal};
use crate::fetch::FromRow;
use crate::statement::{Operation, Statement};
use crate::{Error, Result};

pub(crate) struct Rows<'a> {
    connection: &'a Connection,
    statement: &'a Statement,
    rows: rusqlite::Rows<'a>,
    columns: Option<Arc<Columns>>,
    first_run: bool,
    finished: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        statement: &'a Statement,
        prepared: &'a mut rusqlite::Statement<'_>,
        first_run: bool,
    ) -> Self {
        Self { connection, statement, rows: prepared.raw_query(), columns: None, first_run, finished: false }
    }

    /// The next row as a `T`.
    pub(crate) fn next<T: FromRow>(&mut self) -> Result<Option<T>> {
        let Some(row) = step(&mut self.rows, &mut self.finished, self.connection)? else { return Ok(None) };
        let columns =
            self.columns.get_or_insert_with(|| self.connection.columns(self.statement, row.as_ref(), self.first_run));
        decode::row(columns, row).map(Some).map_err(Error::RowMismatch)
    }

    /// Moves past the next row. False if there is none.
    pub(crate) fn skip(&mut self) -> Result<bool> {
        step(&mut self.rows, &mut self.finished, self.connection).map(|row| row.is_some())
    }

    /// How many rows the finished statement changed; `None` if it only reads.
    pub(crate) fn changed(&self) -> Option<u64> {
        match self.statement.operation {
            Operation::Insert | Operation::Update | Operation::Delete => Some(self.connection.changes()),
            Operation::Select => None,
            Operation::Define | Operation::Transaction | Operation::Other => Some(0),
        }
    }
}

/// SQLite would start the statement again if it were stepped after its end.
fn step<'r, 'a>(
    rows: &'r mut rusqlite::Rows<'a>,
    finished: &mut bool,
    connection: &Connection,
) -> Result<Option<&'r rusqlite::Row<'a>>> {
    if *finished {
        return Ok(None);
    }
    let row = rows.next().map_err(|error| connection.translate(error));
    *finished = !matches!(row, Ok(Some(_)));
    row
}

impl Cells for rusqlite::Row<'_> {
    fn cell(&self, index: usize) -> Result<Cell<'_>, Refusal> {
        let value = self.get_ref(index).map_err(|_| Refusal::new("no such column", "a column for each field"))?;
        Ok(match value {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(value) => Cell::Integer(value),
            ValueRef::Real(value) => Cell::Real(value),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Cell::Text(text),
                Err(_) => return Err(Refusal::new("TEXT that is not UTF-8", "text")),
            },
            ValueRef::Blob(bytes) => Cell::Blob(bytes),
        })
    }
}

/// Names and declared types of a prepared statement's columns.
pub(super) fn columns_of(prepared: &rusqlite::Statement<'_>) -> Columns {
    Columns::new(prepared.columns().map(|column| Column::new(column.name(), column.decl_type())).collect())
}
