//! [`Db`]: the database, whichever it is.

use std::sync::Arc;

use covet_core::clock::Clock;

use crate::query::{Reader, Writer};
use crate::settings::DatabaseSettings;
use crate::spans::System;
use crate::sqlite::Sqlite;
use crate::statement::{Statement, Statements};
use crate::transaction::Transaction;
use crate::{Error, Result};

/// The database. Cheap to clone; every clone is the same database.
///
/// ```
/// use covet_core::clock::Clock;
/// use covet_data::{Db, params, settings::DatabaseSettings};
///
/// #[derive(Debug, PartialEq, serde::Deserialize)]
/// struct User {
///     id: i64,
///     name: String,
///     nickname: Option<String>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> covet_data::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let settings = DatabaseSettings::sqlite(folder.path().join("shop.db"));
/// let db = Db::connect(&settings, Clock::system()).await?;
/// db.write()
///     .execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, nickname TEXT)", params![])
///     .await?;
///
/// let sql = "INSERT INTO users (name) VALUES ($1) RETURNING id";
/// let id: i64 = db.write().one(sql, params!["Ada"]).await?;
///
/// let user: User = db.read().one("SELECT id, name, nickname FROM users WHERE id = $1", params![id]).await?;
/// assert_eq!(user, User { id, name: "Ada".into(), nickname: None });
/// db.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Db(Arc<Inner>);

/// How the connections stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// In use.
    pub active: usize,
    /// Open and unused.
    pub idle: usize,
    /// Callers that wait for one.
    pub waiting: usize,
}

#[derive(Debug)]
struct Inner {
    sqlite: Sqlite,
    statements: Arc<Statements>,
    settings: DatabaseSettings,
    clock: Clock,
}

impl Db {
    /// Opens the database that the settings name. Call it after the metrics recorder is installed.
    ///
    /// # Errors
    /// [`Error::Connection`] if the file cannot be made, opened or written; [`Error::Unsupported`] if the URL names
    /// something else than a SQLite file.
    pub async fn connect(settings: &DatabaseSettings, clock: Clock) -> Result<Self> {
        let inner = Inner {
            sqlite: Sqlite::open(settings, clock.clone()).await?,
            statements: Arc::new(Statements::new(settings.slow_query, System::of(&settings.url))),
            settings: settings.clone(),
            clock,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// For statements that only read. A statement that writes fails with [`Error::ReadOnly`].
    #[must_use]
    pub fn read(&self) -> Reader<'_> {
        Reader(self)
    }

    /// For statements that write, each a transaction of its own. Reading through it sees every earlier write.
    ///
    /// A statement that has begun is carried through even if its caller stops waiting, and an error in *taking* the
    /// rows of a `RETURNING` does not undo it.
    #[must_use]
    pub fn write(&self) -> Writer<'_> {
        Writer(self)
    }

    /// Opens a transaction, waiting for those before it.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::Overloaded`] if its turn did not come, [`Error::Busy`] if another process kept
    /// writing.
    pub async fn begin(&self) -> Result<Transaction> {
        let handle = self.0.sqlite.begin().await?;
        Ok(Transaction::new(handle, Arc::clone(&self.0.statements)))
    }

    /// Runs `work` in a transaction: commits if it returns `Ok`, rolls back if it returns `Err` or panics.
    ///
    /// ```
    /// # use covet_data::{Db, Error, params};
    /// # async fn rename(db: &Db) -> Result<(), Error> {
    /// let renamed = db
    ///     .transaction(async |transaction| {
    ///         transaction.execute("DELETE FROM names WHERE user_id = $1", params![7]).await?;
    ///         transaction.execute("INSERT INTO names (user_id, name) VALUES ($1, $2)", params![7, "Ada"]).await
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of `work`, or as [`begin`](Self::begin) and [`Transaction::commit`].
    pub async fn transaction<R, E, F>(&self, work: F) -> Result<R, E>
    where
        F: AsyncFnOnce(&Transaction) -> Result<R, E>,
        E: From<Error>,
    {
        let transaction = self.begin().await?;
        match work(&transaction).await {
            Ok(result) => {
                transaction.commit().await?;
                Ok(result)
            }
            Err(error) => {
                transaction.rollback().await;
                Err(error)
            }
        }
    }

    /// How the connections stand at this moment.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.0.sqlite.connections()
    }

    /// Finishes the statements that wait and the transaction that is open, takes no new ones, and closes all
    /// connections. Every clone is closed then: further calls fail with [`Error::Closed`].
    pub async fn close(&self) {
        self.0.sqlite.close().await;
    }

    pub(crate) fn statement(&self, sql: &str) -> Arc<Statement> {
        self.0.statements.get(sql)
    }

    pub(crate) fn sqlite(&self) -> &Sqlite {
        &self.0.sqlite
    }

    pub(crate) fn settings(&self) -> &DatabaseSettings {
        &self.0.settings
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}
