//! The ways to take a statement's rows: what `one`, `optional`, `all` and `execute` mean, once for every driver's use.
//!
//! Each driver runs a [`Fetch`] over its own rows; so far there is SQLite's [`Rows`].

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::sqlite::Rows;
use crate::{Error, Result};

/// Takes rows and makes something of them.
pub(crate) trait Fetch: Send + 'static {
    type Output: Send + 'static;

    /// The output, and how many rows were read or changed.
    fn fetch(rows: &mut Rows<'_>) -> Result<(Self::Output, u64)>;
}

/// What a row can become.
pub(crate) trait FromRow: DeserializeOwned + Send + 'static {}

impl<T: DeserializeOwned + Send + 'static> FromRow for T {}

/// Exactly one row.
pub(crate) struct One<T>(PhantomData<fn() -> T>);

impl<T: FromRow> Fetch for One<T> {
    type Output = T;

    fn fetch(rows: &mut Rows<'_>) -> Result<(T, u64)> {
        let (row, count) = Optional::<T>::fetch(rows)?;
        Ok((row.ok_or(Error::NotFound)?, count))
    }
}

/// One row or none.
pub(crate) struct Optional<T>(PhantomData<fn() -> T>);

impl<T: FromRow> Fetch for Optional<T> {
    type Output = Option<T>;

    fn fetch(rows: &mut Rows<'_>) -> Result<(Option<T>, u64)> {
        let Some(row) = rows.next()? else { return Ok((None, 0)) };
        if rows.skip()? { Err(Error::TooManyRows) } else { Ok((Some(row), 1)) }
    }
}

/// All rows.
pub(crate) struct All<T>(PhantomData<fn() -> T>);

impl<T: FromRow> Fetch for All<T> {
    type Output = Vec<T>;

    fn fetch(rows: &mut Rows<'_>) -> Result<(Vec<T>, u64)> {
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(row);
        }
        let count = all.len() as u64;
        Ok((all, count))
    }
}

/// No rows, only how many were changed.
pub(crate) struct Execute;

impl Fetch for Execute {
    type Output = u64;

    fn fetch(rows: &mut Rows<'_>) -> Result<(u64, u64)> {
        let mut read = 0;
        while rows.skip()? {
            read += 1;
        }
        let changed = rows.changed().unwrap_or(read);
        Ok((changed, changed))
    }
}
