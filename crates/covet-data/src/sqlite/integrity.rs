//! Whether the file is whole, looked at while it is in use.

use std::path::Path;

use rusqlite::{Connection, Row};

use super::{aside, translate};
use crate::{Error, Result};

/// Problems told at most; a damaged file can have thousands.
const MOST_TOLD: usize = 100;

/// What is wrong; nothing if the file is whole. Reads all of it.
pub(super) fn check(file: &Path) -> Result<Vec<String>> {
    let connection = aside::open(file)?;
    let pages = lines(&connection, &format!("PRAGMA integrity_check({MOST_TOLD})"), |row| row.get(0))?;
    let references = lines(&connection, "PRAGMA foreign_key_check", |row| {
        let (table, row_id, parent) =
            (row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?);
        let row = row_id.map_or_else(|| "a row".to_owned(), |id| format!("row {id}"));
        Ok(format!("{row} of {table} refers to a row that is missing in {parent}"))
    })?;
    Ok(pages.into_iter().filter(|line| line != "ok").chain(references).take(MOST_TOLD).collect())
}

/// What a pragma tells. A file so damaged that it cannot be read tells that.
fn lines(
    connection: &Connection,
    sql: &str,
    line: impl Fn(&Row<'_>) -> rusqlite::Result<String>,
) -> Result<Vec<String>> {
    let told = connection.prepare(sql).and_then(|mut statement| statement.query_map([], |row| line(row))?.collect());
    match told.map_err(translate) {
        Err(Error::Storage(damage)) => Ok(vec![damage]),
        told => told,
    }
}
