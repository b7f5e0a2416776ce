//! The ways to take a statement's rows: what `one`, `optional`, `all` and `execute` mean, once for both drivers.
//!
//! A driver makes a [`Fetch`], shows it row after row, and asks it at the end what came of them.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Takes rows and makes something of them.
pub(crate) trait Fetch: Default + Send + 'static {
    type Output: Send + 'static;

    /// Takes the next row. After an error it wants no further one.
    fn row(&mut self, row: &impl Row) -> Result<()>;

    /// The output, and how many rows were read or changed. `changed` is what the database counts; `None` if the
    /// statement only reads.
    fn finish(self, changed: Option<u64>) -> Result<(Self::Output, u64)>;
}

/// The row a driver stands on.
pub(crate) trait Row {
    fn decode<T: FromRow>(&self) -> Result<T>;
}

/// What a row can become.
pub(crate) trait FromRow: DeserializeOwned + Send + 'static {}

impl<T: DeserializeOwned + Send + 'static> FromRow for T {}

/// Exactly one row.
pub(crate) struct One<T>(Optional<T>);

impl<T> Default for One<T> {
    fn default() -> Self {
        Self(Optional::default())
    }
}

impl<T: FromRow> Fetch for One<T> {
    type Output = T;

    fn row(&mut self, row: &impl Row) -> Result<()> {
        self.0.row(row)
    }

    fn finish(self, changed: Option<u64>) -> Result<(T, u64)> {
        let (row, count) = self.0.finish(changed)?;
        Ok((row.ok_or(Error::NotFound)?, count))
    }
}

/// One row or none.
pub(crate) struct Optional<T>(Option<T>);

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: FromRow> Fetch for Optional<T> {
    type Output = Option<T>;

    fn row(&mut self, row: &impl Row) -> Result<()> {
        if self.0.is_some() {
            return Err(Error::TooManyRows);
        }
        self.0 = Some(row.decode()?);
        Ok(())
    }

    fn finish(self, _changed: Option<u64>) -> Result<(Option<T>, u64)> {
        let count = u64::from(self.0.is_some());
        Ok((self.0, count))
    }
}

/// All rows.
pub(crate) struct All<T>(Vec<T>);

impl<T> Default for All<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromRow> Fetch for All<T> {
    type Output = Vec<T>;

    fn row(&mut self, row: &impl Row) -> Result<()> {
        self.0.push(row.decode()?);
        Ok(())
    }

    fn finish(self, _changed: Option<u64>) -> Result<(Vec<T>, u64)> {
        let count = self.0.len() as u64;
        Ok((self.0, count))
    }
}

/// No rows, only how many were changed.
#[derive(Default)]
pub(crate) struct Execute {
    read: u64,
}

impl Fetch for Execute {
    type Output = u64;

    fn row(&mut self, _row: &impl Row) -> Result<()> {
        self.read += 1;
        Ok(())
    }

    fn finish(self, changed: Option<u64>) -> Result<(u64, u64)> {
        let count = changed.unwrap_or(self.read);
        Ok((count, count))
    }
}
