//! [`Db`]: the database, whichever it is.

use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;

use crate::address::Address;
use crate::plans::plans;
use crate::postgres::{Lsn, Position, Postgres, PostgresConnection};
use crate::query::{Reader, Writer};
use crate::query_cache::{Cached, CachedQuery, QueryCache, Writes};
use crate::settings::DatabaseSettings;
use crate::spans::System;
use crate::sqlite::Sqlite;
use crate::statement::{Statement, Statements};
use crate::transaction::{Handle, Transaction, TransactionOptions};
use crate::{Dialect, Error, Result, params};

/// Half of the longest pause before a transaction is run for the second time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

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

/// The driver in use.
#[derive(Debug)]
pub(crate) enum Backend {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

#[derive(Debug)]
pub(crate) struct Inner {
    backend: Backend,
    statements: Arc<Statements>,
    query_cache: Arc<QueryCache>,
    settings: DatabaseSettings,
    clock: Clock,
}

impl From<Arc<Inner>> for Db {
    fn from(inner: Arc<Inner>) -> Self {
        Self(inner)
    }
}

impl Db {
    /// Opens the database that the settings name. Call it after the metrics recorder is installed.
    ///
    /// # Errors
    /// [`Error::Connection`] if the file cannot be made, opened or written, or no server that takes writes can be
    /// reached; [`Error::Unsupported`] if the URL names something else than a SQLite file or PostgreSQL.
    pub async fn connect(settings: &DatabaseSettings, clock: Clock) -> Result<Self> {
        let backend = match Address::parse(&settings.url).map_err(Error::Unsupported)? {
            Address::Sqlite(file) => Backend::Sqlite(Sqlite::open(file, settings, clock.clone()).await?),
            Address::Postgres(target) => Backend::Postgres(Postgres::open(&target, settings, clock.clone()).await?),
        };
        let (plans, wanted) = settings.slow_query_plan.then(plans).unzip();
        let inner = Inner {
            backend,
            statements: Arc::new(Statements::new(settings.slow_query, System::of(&settings.url), plans)),
            query_cache: QueryCache::new(settings, clock.clone()),
            settings: settings.clone(),
            clock,
        };
        let db = Self(Arc::new(inner));
        if let Some(wanted) = wanted {
            tokio::spawn(wanted.tell(Arc::downgrade(&db.0)));
        }
        Ok(db)
    }

    /// For statements that only read. A statement that writes fails with [`Error::ReadOnly`]. On PostgreSQL with
    /// replicas they go to one that is not too far behind (`COVET_DATABASE__REPLICA_MAX_LAG`): what was written a moment
    /// ago may not be seen yet; [`read_your_writes`](Self::read_your_writes) and [`write`](Self::write) see it.
    #[must_use]
    pub fn read(&self) -> Reader<'_> {
        Reader { db: self, position: None }
    }

    /// As [`read`](Self::read), but sees everything that was written before `position` was taken: from a replica that
    /// has come so far, else from the primary.
    #[must_use]
    pub fn read_your_writes(&self, position: &Position) -> Reader<'_> {
        Reader { db: self, position: Some(*position) }
    }

    /// How far the database has written by now. Taken after a write, given to the client and brought back by it, it
    /// lets the client's next request [read its own writes](Self::read_your_writes), whichever instance answers it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn position(&self) -> Result<Position> {
        match &self.0.backend {
            Backend::Sqlite(_) => Ok(Position::ANYWHERE),
            Backend::Postgres(_) => {
                // A number: the driver has no type for places in the log.
                let sql = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
                self.write().one(sql, params![]).await.map(|lsn| Position::new(Lsn(lsn)))
            }
        }
    }

    /// For statements that write, each a transaction of its own. Reading through it sees every earlier write.
    ///
    /// A statement that has begun is carried through even if its caller stops waiting, and an error in *taking* the
    /// rows of a `RETURNING` does not undo it.
    #[must_use]
    pub fn write(&self) -> Writer<'_> {
        Writer(self)
    }

    /// For a query of which the results are kept until one of its tables is written to.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use covet_data::{CachedQuery, Db, Result, params};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Price {
    ///     sku: String,
    ///     cents: i64,
    /// }
    ///
    /// static PRICES: CachedQuery = CachedQuery::new("SELECT sku, cents FROM prices WHERE shop = $1", &["prices"]);
    ///
    /// async fn prices(db: &Db, shop: i64) -> Result<Arc<Vec<Price>>> {
    ///     db.cached(&PRICES).all(params![shop]).await
    /// }
    /// ```
    #[must_use]
    pub fn cached(&self, query: &'static CachedQuery) -> Cached<'_> {
        Cached { db: self, query }
    }

    /// Says that these tables were written to past this `Db`: results that were made from them are not given out any
    /// more, by other instances neither.
    pub fn forget_cached(&self, tables: &[&str]) {
        tables.iter().for_each(|table| self.0.query_cache.written(Writes::Table(table)));
    }

    /// Opens a transaction, waiting for those before it.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::Overloaded`] if its turn did not come, [`Error::Busy`] if another process kept
    /// writing.
    pub async fn begin(&self) -> Result<Transaction> {
        self.begin_with(&TransactionOptions::new()).await
    }

    /// Opens a transaction with another isolation than read committed.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub async fn begin_with(&self, options: &TransactionOptions) -> Result<Transaction> {
        let handle = match &self.0.backend {
            Backend::Sqlite(sqlite) => Handle::Sqlite(sqlite.begin().await?),
            Backend::Postgres(postgres) => Handle::Postgres(postgres.begin(options).await?),
        };
        Ok(Transaction::new(handle, Arc::clone(&self.0.statements), Arc::clone(&self.0.query_cache)))
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

    /// Runs a transaction, and all of it again if the database has rolled it back because of others that ran at the same
    /// time ([`Error::Deadlock`], [`Error::Serialization`], a schema that changed): after a short pause, at most as often
    /// as the options say. `make` makes the work of one attempt, as for [`transaction`](Self::transaction); it must do
    /// nothing outside of the transaction that may not happen twice.
    ///
    /// ```
    /// use covet_data::{Db, Error, Isolation, Transaction, TransactionOptions, params};
    ///
    /// async fn withdraw(db: &Db, account: i64, cents: i64) -> Result<bool, Error> {
    ///     let options = TransactionOptions::new().isolation(Isolation::Serializable);
    ///     db.retry(&options, || async move |transaction: &Transaction| {
    ///         let sql = "SELECT sum(cents) FROM postings WHERE account = $1";
    ///         let balance: Option<i64> = transaction.one(sql, params![account]).await?;
    ///         if balance.unwrap_or(0) < cents {
    ///             return Ok(false);
    ///         }
    ///         let sql = "INSERT INTO postings (account, cents) VALUES ($1, $2)";
    ///         transaction.execute(sql, params![account, -cents]).await?;
    ///         Ok(true)
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`transaction`](Self::transaction).
    pub async fn retry<R, E, M, F>(&self, options: &TransactionOptions, make: M) -> Result<R, E>
    where
        // Not AsyncFn: its futures cannot be sent to another thread (https://github.com/rust-lang/rust/issues/110338).
        M: Fn() -> F,
        F: AsyncFnOnce(&Transaction) -> Result<R, E>,
        E: From<Error>,
    {
        let mut attempt = 1;
        loop {
            let transaction = self.begin_with(options).await?;
            let (error, conflicted) = match make()(&transaction).await {
                Ok(result) => match transaction.try_commit().await {
                    Ok(()) => return Ok(result),
                    Err(not) => (not.error.into(), not.conflicted),
                },
                Err(error) => {
                    let conflicted = transaction.conflicted();
                    transaction.rollback().await;
                    (error, conflicted)
                }
            };
            if !conflicted || attempt >= options.most_attempts() {
                return Err(error);
            }
            tracing::debug!(attempt, "a transaction is run again: it conflicted with another");
            // Those that conflicted are not to meet again.
            let most = FIRST_PAUSE * 2_u32.pow(attempt.min(6));
            tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
            attempt += 1;
        }
    }

    /// Which database it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match &self.0.backend {
            Backend::Sqlite(_) => Dialect::Sqlite,
            Backend::Postgres(_) => Dialect::Postgres,
        }
    }

    /// PostgreSQL's driver: for `COPY`, `LISTEN` and whatever else `Db` does not do.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on SQLite; [`Error::Timeout`], [`Error::Overloaded`] or [`Error::Connection`] if no
    /// connection is to be had.
    pub async fn postgres(&self) -> Result<PostgresConnection> {
        match &self.0.backend {
            Backend::Postgres(postgres) => postgres.connection().await,
            Backend::Sqlite(_) => Err(Error::Unsupported("this database is SQLite, not PostgreSQL".to_owned())),
        }
    }

    /// SQLite's driver: runs `work` on the connection that writes, when it is its turn. What it leaves open is rolled
    /// back. Nothing in it is measured or limited in time, and nobody else writes meanwhile.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on PostgreSQL; [`Error::Timeout`] or [`Error::Overloaded`] if its turn did not come; what
    /// `work` returns.
    pub async fn sqlite<T, F>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        match &self.0.backend {
            Backend::Sqlite(sqlite) => sqlite.exclusively(|raw| work(raw).map_err(crate::sqlite::translate)).await,
            Backend::Postgres(_) => Err(Error::Unsupported("this database is PostgreSQL, not SQLite".to_owned())),
        }
    }

    /// Reads the whole file of a SQLite database and tells what is wrong with it; nothing if it is whole. The service goes
    /// on meanwhile; only the write-ahead log cannot be cut back until it is over. Takes as long as reading the file.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on PostgreSQL, which has tools of its own (`pg_amcheck`, checksums of pages);
    /// [`Error::Connection`] if the file cannot be opened.
    pub async fn check_integrity(&self) -> Result<Vec<String>> {
        match &self.0.backend {
            Backend::Sqlite(sqlite) => sqlite.check_integrity().await,
            Backend::Postgres(_) => Err(Error::Unsupported(
                "PostgreSQL is checked with its own tools: pg_amcheck for tables and indexes, data checksums for pages"
                    .to_owned(),
            )),
        }
    }

    /// How the connections stand at this moment.
    #[must_use]
    pub fn connections(&self) -> Connections {
        match &self.0.backend {
            Backend::Sqlite(sqlite) => sqlite.connections(),
            Backend::Postgres(postgres) => postgres.connections(),
        }
    }

    /// Finishes the statements that wait and the transaction that is open, takes no new ones, and closes all
    /// connections. Every clone is closed then: further calls fail with [`Error::Closed`].
    pub async fn close(&self) {
        match &self.0.backend {
            Backend::Sqlite(sqlite) => sqlite.close().await,
            Backend::Postgres(postgres) => postgres.close().await,
        }
    }

    /// Replicas that can be read from, and how many there are, if there are any.
    pub(crate) fn replicas(&self) -> Option<(usize, usize)> {
        match &self.0.backend {
            Backend::Postgres(postgres) => Some(postgres.replicas()).filter(|(_, all)| *all > 0),
            Backend::Sqlite(_) => None,
        }
    }

    pub(crate) fn statement(&self, sql: &str) -> Arc<Statement> {
        self.0.statements.get(sql)
    }

    pub(crate) fn query_cache(&self) -> &Arc<QueryCache> {
        &self.0.query_cache
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0.backend
    }

    pub(crate) fn settings(&self) -> &DatabaseSettings {
        &self.0.settings
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }
}
