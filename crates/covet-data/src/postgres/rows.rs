//! Running a prepared statement on a connection, and its rows.

use std::pin::pin;

use futures_util::TryStreamExt as _;
use tokio_postgres::types::{FromSql, Type};

use super::bind::{bound, check_count};
use super::column::ValueDeserializer;
use super::prepared::{Prepared, columns_of};
use super::translate::is_stale;
use super::types::Column;
use crate::decode::{self, Cells, Columns, Refusal};
use crate::fetch::{self, Fetch, FromRow};
use crate::statement::Operation;
use crate::{Error, Params};

/// Why a statement did not give what it was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver's or the server's word.
    Driver(tokio_postgres::Error),
    /// Ours: about values or rows.
    Ours(Error),
}

impl Failure {
    /// True if a statement that was prepared before may succeed when it is prepared again.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Driver(error) => is_stale(error),
            // The types or the number of its parameters may have changed.
            Self::Ours(error) => matches!(error, Error::Parameters(_)),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

/// Runs the statement and takes its rows as `F` does.
pub(super) async fn run<F: Fetch>(
    client: &tokio_postgres::Client,
    prepared: &Prepared,
    operation: Operation,
    params: &Params,
) -> Result<(F::Output, u64), Failure> {
    let values = params.as_slice();
    check_count(prepared.statement.params().len(), values.len()).map_err(Failure::Ours)?;
    let rows = client.query_raw(&prepared.statement, bound(values)).await?;
    take::<F>(rows, Some(&prepared.columns), operation).await
}

/// Takes the rows of a running statement, to their end also when they do not fit: until then it may still fail, or
/// commit. Without `columns` they are looked at anew.
pub(super) async fn take<F: Fetch>(
    rows: tokio_postgres::RowStream,
    columns: Option<&Columns<Column>>,
    operation: Operation,
) -> Result<(F::Output, u64), Failure> {
    let mut rows = pin!(rows);
    let mut fetch = F::default();
    let mut refused = None;
    let mut looked_at = None;
    while let Some(row) = rows.try_next().await? {
        if refused.is_none() {
            let columns = columns.unwrap_or_else(|| looked_at.get_or_insert_with(|| columns_of(row.columns())));
            refused = fetch.row(&Row { row: &row, columns }).err();
        }
    }
    match refused {
        Some(error) => Err(Failure::Ours(error)),
        None => {
            let changed = (operation != Operation::Select).then(|| rows.rows_affected().unwrap_or(0));
            fetch.finish(changed).map_err(Failure::Ours)
        }
    }
}

/// A row and its columns.
pub(super) struct Row<'a> {
    pub(super) row: &'a tokio_postgres::Row,
    pub(super) columns: &'a Columns<Column>,
}

impl fetch::Row for Row<'_> {
    fn decode<T: FromRow>(&self) -> Result<T, Error> {
        decode::row(self.columns, self.row).map_err(Error::RowMismatch)
    }
}

impl Cells for tokio_postgres::Row {
    type Column = Column;
    type Value<'a> = ValueDeserializer<'a>;

    fn value<'a>(&'a self, index: usize, column: &'a Column, diagnose: bool) -> Result<ValueDeserializer<'a>, Refusal> {
        Ok(ValueDeserializer::new(&column.of, raw(self, index)?, diagnose))
    }

    fn is_null(&self, index: usize) -> Result<bool, Refusal> {
        Ok(raw(self, index)?.is_none())
    }
}

fn raw(row: &tokio_postgres::Row, index: usize) -> Result<Option<&[u8]>, Refusal> {
    match row.try_get::<_, Raw<'_>>(index) {
        Ok(Raw(raw)) => Ok(raw),
        Err(_) => Err(Refusal::new("no such column", "a column for each field")),
    }
}

/// A value as it was sent.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_of: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_of: &Type) -> bool {
        true
    }
}
