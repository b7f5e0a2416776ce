//! The rows of a running statement.

use std::cell::OnceCell;
use std::sync::Arc;

use rusqlite::types::ValueRef;

use super::cell::{Cell, Column};
use super::column::ColumnDeserializer;
use super::connection::Connection;
use crate::decode::{self, Cells, Columns, Refusal};
use crate::fetch::{self, Fetch, FromRow, Row as _};
use crate::statement::{Operation, Statement};
use crate::{Error, Result};

pub(super) struct Rows<'a> {
    of: Of<'a>,
    rows: rusqlite::Rows<'a>,
    finished: bool,
}

/// What the rows are of.
struct Of<'a> {
    connection: &'a Connection,
    statement: &'a Statement,
    first_run: bool,
    columns: OnceCell<Arc<Columns<Column>>>,
}

/// The row that the statement stands on.
struct Row<'r, 'a> {
    row: &'r rusqlite::Row<'a>,
    of: &'r Of<'a>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        statement: &'a Statement,
        prepared: &'a mut rusqlite::Statement<'_>,
        first_run: bool,
    ) -> Self {
        let of = Of { connection, statement, first_run, columns: OnceCell::new() };
        Self { of, rows: prepared.raw_query(), finished: false }
    }

    /// The next row as a `T`.
    pub(super) fn next<T: FromRow>(&mut self) -> Result<Option<T>> {
        self.step()?.map(|row| row.decode()).transpose()
    }

    /// Moves past the next row. False if there is none.
    pub(super) fn skip(&mut self) -> Result<bool> {
        self.step().map(|row| row.is_some())
    }

    /// SQLite would start the statement again if it were stepped after its end.
    fn step(&mut self) -> Result<Option<Row<'_, 'a>>> {
        if self.finished {
            return Ok(None);
        }
        let row = self.rows.next().map_err(|error| self.of.connection.translate(error));
        self.finished = !matches!(row, Ok(Some(_)));
        Ok(row?.map(|row| Row { row, of: &self.of }))
    }

    /// How many rows the finished statement changed; `None` if it only reads.
    fn changed(&self) -> Option<u64> {
        match self.of.statement.operation {
            Operation::Insert | Operation::Update | Operation::Delete => Some(self.of.connection.changes()),
            Operation::Select => None,
            Operation::Define | Operation::Transaction | Operation::Other => Some(0),
        }
    }
}

/// Takes all rows as `F` does. Returns its output, and how many rows were read or changed.
pub(super) fn fetch<F: Fetch>(rows: &mut Rows<'_>) -> Result<(F::Output, u64)> {
    let mut fetch = F::default();
    while let Some(row) = rows.step()? {
        fetch.row(&row)?;
    }
    fetch.finish(rows.changed())
}

impl fetch::Row for Row<'_, '_> {
    fn decode<T: FromRow>(&self) -> Result<T> {
        let of = self.of;
        let columns = of.columns.get_or_init(|| of.connection.columns(of.statement, self.row.as_ref(), of.first_run));
        decode::row(columns, self.row).map_err(Error::RowMismatch)
    }
}

impl Cells for rusqlite::Row<'_> {
    type Column = Column;
    type Value<'a>
        = ColumnDeserializer<'a>
    where
        Self: 'a;

    fn value<'a>(
        &'a self,
        index: usize,
        column: &'a Column,
        diagnose: bool,
    ) -> Result<ColumnDeserializer<'a>, Refusal> {
        Ok(ColumnDeserializer { column, cell: cell(self, index)?, diagnose })
    }

    fn is_null(&self, index: usize) -> Result<bool, Refusal> {
        Ok(matches!(cell(self, index)?, Cell::Null))
    }
}

fn cell<'a>(row: &'a rusqlite::Row<'_>, index: usize) -> Result<Cell<'a>, Refusal> {
    let value = row.get_ref(index).map_err(|_| Refusal::new("no such column", "a column for each field"))?;
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

/// Names and declared types of a prepared statement's columns.
pub(super) fn columns_of(prepared: &rusqlite::Statement<'_>) -> Columns<Column> {
    Columns::new(prepared.columns().map(|column| Column::new(column.name(), column.decl_type())).collect())
}
