//! How statements are run: [`Reader`], [`Writer`] and [`Transaction`] have the same methods; [`Executor`] is for code
//! that takes any of them.

use std::future::Future;

use serde::de::DeserializeOwned;

use crate::db::{Backend, Db};
use crate::fetch::{All, Execute, Fetch, One, Optional};
use crate::postgres::Position;
use crate::query_cache::PendingWrite;
use crate::stream::RowStream;
use crate::transaction::Transaction;
use crate::{Params, Result};

/// Statements that only read: [`Db::read`].
///
/// Each statement sees what was committed when it began, on a replica a little earlier. Two statements may see different
/// states; a [`Transaction`] sees one.
///
/// On PostgreSQL a statement whose connection was lost is run again, so a function that does something outside of the
/// database must not be called here.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub(crate) db: &'a Db,
    pub(crate) position: Option<Position>,
}

/// Statements that each are a transaction of their own: [`Db::write`].
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a>(pub(crate) &'a Db);

impl Reader<'_> {
    async fn run<F: Fetch>(&self, sql: &str, params: Params) -> Result<F::Output> {
        let statement = self.db.statement(sql);
        match self.db.backend() {
            Backend::Sqlite(sqlite) => sqlite.read::<F>(statement, params).await,
            Backend::Postgres(postgres) => postgres.read::<F>(&statement, &params, self.position.as_ref()).await,
        }
    }

    /// All rows, one after another, without holding them all in memory.
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout) or [`Error::Overloaded`](crate::Error::Overloaded) if no connection
    /// came free. Errors of the statement itself come with the rows.
    pub async fn stream<T: DeserializeOwned + Send + 'static>(
        &self,
        sql: &str,
        params: Params,
    ) -> Result<RowStream<T>> {
        let statement = self.db.statement(sql);
        match self.db.backend() {
            Backend::Sqlite(sqlite) => sqlite.stream(statement, params).await,
            Backend::Postgres(postgres) => postgres.stream(statement, params, self.position.as_ref()).await,
        }
    }
}

impl Writer<'_> {
    async fn run<F: Fetch>(&self, sql: &str, params: Params) -> Result<F::Output> {
        let statement = self.0.statement(sql);
        let pending = PendingWrite::of(self.0.query_cache(), &statement);
        let outcome = match self.0.backend() {
            Backend::Sqlite(sqlite) => sqlite.write::<F>(statement, params).await,
            Backend::Postgres(postgres) => postgres.write::<F>(&statement, &params).await,
        };
        if let Some(pending) = pending {
            pending.ended(&outcome);
        }
        outcome
    }
}

impl Db {
    /// Reads what is committed now: not from a replica.
    pub(crate) async fn read_current<F: Fetch>(&self, sql: &str, params: Params) -> Result<F::Output> {
        let statement = self.statement(sql);
        match self.backend() {
            Backend::Sqlite(sqlite) => sqlite.read::<F>(statement, params).await,
            Backend::Postgres(postgres) => postgres.read_current::<F>(&statement, &params).await,
        }
    }
}

/// What [`Reader`], [`Writer`] and [`Transaction`] have in common, for functions that take any of them.
///
/// ```
/// use covet_data::{Executor, Result, params};
///
/// async fn name_of(db: &impl Executor, id: i64) -> Result<Option<String>> {
///     db.optional("SELECT name FROM users WHERE id = $1", params![id]).await
/// }
/// ```
pub trait Executor: Send + Sync + sealed::Sealed {
    /// The only row of the statement.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) without a row,
    /// [`Error::TooManyRows`](crate::Error::TooManyRows) with a second,
    /// [`Error::RowMismatch`](crate::Error::RowMismatch) if it is no `T`, and whatever the database refuses.
    fn one<T: DeserializeOwned + Send + 'static>(
        &self,
        sql: &str,
        params: Params,
    ) -> impl Future<Output = Result<T>> + Send;

    /// The row of the statement, or none.
    ///
    /// # Errors
    /// As [`one`](Self::one), but none is no error.
    fn optional<T: DeserializeOwned + Send + 'static>(
        &self,
        sql: &str,
        params: Params,
    ) -> impl Future<Output = Result<Option<T>>> + Send;

    /// All rows. They are held in memory: give the statement a `LIMIT`, or use [`Reader::stream`].
    ///
    /// # Errors
    /// [`Error::RowMismatch`](crate::Error::RowMismatch) if a row is no `T`, and whatever the database refuses.
    fn all<T: DeserializeOwned + Send + 'static>(
        &self,
        sql: &str,
        params: Params,
    ) -> impl Future<Output = Result<Vec<T>>> + Send;

    /// Runs the statement. Returns how many rows it inserted, updated or deleted (for a `SELECT`, how many it found).
    ///
    /// # Errors
    /// Whatever the database refuses.
    fn execute(&self, sql: &str, params: Params) -> impl Future<Output = Result<u64>> + Send;
}

mod sealed {
    pub trait Sealed {}
}

/// The methods of [`Executor`], also without importing it.
macro_rules! methods {
    ($($type:ty),*) => {$(
        impl $type {
            /// The only row of the statement.
            ///
            /// # Errors
            /// [`Error::NotFound`](crate::Error::NotFound) without a row,
            /// [`Error::TooManyRows`](crate::Error::TooManyRows) with a second,
            /// [`Error::RowMismatch`](crate::Error::RowMismatch) if it is no `T`, and whatever the database refuses.
            pub async fn one<T: DeserializeOwned + Send + 'static>(&self, sql: &str, params: Params) -> Result<T> {
                self.run::<One<T>>(sql, params).await
            }

            /// The row of the statement, or none.
            ///
            /// # Errors
            /// As [`one`](Self::one), but none is no error.
            pub async fn optional<T: DeserializeOwned + Send + 'static>(
                &self,
                sql: &str,
                params: Params,
            ) -> Result<Option<T>> {
                self.run::<Optional<T>>(sql, params).await
            }

            /// All rows. They are held in memory: give the statement a `LIMIT`, or use [`Reader::stream`].
            ///
            /// # Errors
            /// [`Error::RowMismatch`](crate::Error::RowMismatch) if a row is no `T`, and whatever the database
            /// refuses.
            pub async fn all<T: DeserializeOwned + Send + 'static>(
                &self,
                sql: &str,
                params: Params,
            ) -> Result<Vec<T>> {
                self.run::<All<T>>(sql, params).await
            }

            /// Runs the statement. Returns how many rows it inserted, updated or deleted (for a `SELECT`, how many it
            /// found).
            ///
            /// # Errors
            /// Whatever the database refuses.
            pub async fn execute(&self, sql: &str, params: Params) -> Result<u64> {
                self.run::<Execute>(sql, params).await
            }
        }

        impl sealed::Sealed for $type {}

        impl Executor for $type {
            async fn one<T: DeserializeOwned + Send + 'static>(&self, sql: &str, params: Params) -> Result<T> {
                self.run::<One<T>>(sql, params).await
            }

            async fn optional<T: DeserializeOwned + Send + 'static>(
                &self,
                sql: &str,
                params: Params,
            ) -> Result<Option<T>> {
                self.run::<Optional<T>>(sql, params).await
            }

            async fn all<T: DeserializeOwned + Send + 'static>(&self, sql: &str, params: Params) -> Result<Vec<T>> {
                self.run::<All<T>>(sql, params).await
            }

            async fn execute(&self, sql: &str, params: Params) -> Result<u64> {
                self.run::<Execute>(sql, params).await
            }
        }
    )*};
}

methods!(Reader<'_>, Writer<'_>, Transaction);
