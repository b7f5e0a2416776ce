//! Results of queries, kept until a table that they were made from is written to.
//!
//! | you want | look in |
//! |---|---|
//! | to declare such a query, and to ask it | [`CachedQuery`], [`Cached`] |
//! | when a table was written to | `query_cache/tables.rs` |
//! | who is told that a write is over, however it ends | `query_cache/pending.rs` |
//! | parameters as part of a key | `query_cache/key.rs` |
//! | to tell other instances of writes, and to hear of theirs | `query_cache/news.rs` |
//!
//! A key holds the generation of the query's tables, which every write to one of them raises. So what was read before a
//! write is never given out after it, also when it was still being read meanwhile; it is never searched for either, and
//! leaves when there is need of its place.

mod key;
mod news;
mod pending;
mod tables;

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use covet_telemetry::metrics::catalog;
use metrics::{Counter, counter};
use moka::Expiry;
use moka::future::Cache;
use serde::de::DeserializeOwned;

use crate::fetch::{All, Fetch, One, Optional};
use crate::settings::DatabaseSettings;
use crate::{Db, Params, Result};

use key::Key;
use news::Observer;
use tables::Tables;

pub use news::TableWrite;
pub(crate) use pending::PendingWrite;
pub(crate) use tables::Writes;

/// How long after the longest statement could have ended a write without an answer is over for certain.
const MARGIN: Duration = Duration::from_secs(5);

/// A query of which the results are kept in memory, until one of its tables is written to through the same [`Db`], and
/// no longer than its time to live. Declare it as a `static`, and ask it with [`Db::cached`].
///
/// Name every table that the result depends on, also those behind a view, and those whose rows go because others do (`ON
/// DELETE CASCADE`, triggers): a write is known by the table that its statement names. What is written past `Db` (the
/// driver itself, other programs) is not known: say so with [`Db::forget_cached`], or let the time to live be short. Of what
/// other instances of the service write [`Db::hear_of_write`] has to be told; `covet` sees to that where there is a Redis.
#[derive(Debug)]
pub struct CachedQuery {
    sql: &'static str,
    tables: &'static [&'static str],
    ttl: Option<Duration>,
}

impl CachedQuery {
    /// A query, and the tables it reads, as the database spells them.
    #[must_use]
    pub const fn new(sql: &'static str, tables: &'static [&'static str]) -> Self {
        Self { sql, tables, ttl: None }
    }

    /// How long a result is kept at most. Without it: `COVET_DATABASE__QUERY_CACHE_TTL` (1 h).
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

/// Asks a [`CachedQuery`]: [`Db::cached`].
///
/// Callers who ask the same at the same time wait for one of them to read it. It is read from the primary. A
/// [`Transaction`](crate::Transaction) has nothing of this: it reads what is there.
#[derive(Debug, Clone, Copy)]
pub struct Cached<'a> {
    pub(crate) db: &'a Db,
    pub(crate) query: &'static CachedQuery,
}

impl Cached<'_> {
    /// All rows.
    ///
    /// # Errors
    /// As [`Reader::all`](crate::Reader::all). Errors are not kept.
    pub async fn all<T>(self, params: Params) -> Result<Arc<Vec<T>>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        self.get::<All<T>>(params, Vec::len).await
    }

    /// The row, or that there is none.
    ///
    /// # Errors
    /// As [`Reader::optional`](crate::Reader::optional). Errors are not kept.
    pub async fn optional<T>(self, params: Params) -> Result<Arc<Option<T>>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        self.get::<Optional<T>>(params, |_| 1).await
    }

    /// The only row.
    ///
    /// # Errors
    /// As [`Reader::one`](crate::Reader::one). Errors are not kept.
    pub async fn one<T>(self, params: Params) -> Result<Arc<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        self.get::<One<T>>(params, |_| 1).await
    }

    async fn get<F: Fetch>(self, params: Params, rows: impl Fn(&F::Output) -> usize) -> Result<Arc<F::Output>>
    where
        F::Output: Sync,
    {
        let cache = self.db.query_cache();
        let Some(key) = cache.key::<F::Output>(self.query, &params) else {
            cache.misses.increment(1);
            return Box::pin(self.db.read_current::<F>(self.query.sql, params)).await.map(Arc::new);
        };
        let kept = match cache.results.get(&key).await {
            Some(kept) => {
                cache.hits.increment(1);
                kept
            }
            // Boxed, so that who finds it does not carry what reads it.
            None => Box::pin(self.read::<F>(key, params, rows)).await?,
        };
        Ok(Arc::downcast(kept.output).expect("the key holds the type"))
    }

    /// Reads it, or waits for somebody who does.
    async fn read<F: Fetch>(self, key: Key, params: Params, rows: impl Fn(&F::Output) -> usize) -> Result<Kept>
    where
        F::Output: Sync,
    {
        let cache = self.db.query_cache();
        let kept = cache.results.entry(key).or_try_insert_with(async {
            let output = self.db.read_current::<F>(self.query.sql, params).await?;
            let rows = u32::try_from(rows(&output)).unwrap_or(u32::MAX);
            let ttl = self.query.ttl.unwrap_or(cache.ttl);
            Ok(Kept { output: Arc::new(output), rows, ttl })
        });
        let kept = kept.await.map_err(|error: Arc<crate::Error>| Arc::unwrap_or_clone(error))?;
        match kept.is_fresh() {
            true => cache.misses.increment(1),
            false => cache.hits.increment(1),
        }
        Ok(kept.into_value())
    }
}

/// The results of one database.
pub(crate) struct QueryCache {
    results: Cache<Key, Kept>,
    off: bool,
    ttl: Duration,
    tables: Tables,
    clock: Clock,
    /// A write that got no answer is over after so long.
    doubt: Duration,
    /// Nobody would hear what others write.
    deaf: AtomicBool,
    observer: OnceLock<Observer>,
    hits: Counter,
    misses: Counter,
}

/// A result.
#[derive(Clone)]
struct Kept {
    output: Arc<dyn Any + Send + Sync>,
    rows: u32,
    ttl: Duration,
}

impl std::fmt::Debug for QueryCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryCache").field("results", &self.results.entry_count()).finish_non_exhaustive()
    }
}

struct Lifetimes;

impl Expiry<Key, Kept> for Lifetimes {
    fn expire_after_create(&self, _: &Key, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }
}

impl QueryCache {
    pub(crate) fn new(settings: &DatabaseSettings, clock: Clock) -> Arc<Self> {
        let results = Cache::builder()
            .max_capacity(settings.query_cache_rows)
            .weigher(|_: &Key, kept: &Kept| kept.rows.max(1))
            .expire_after(Lifetimes)
            .build();
        Arc::new(Self {
            results,
            off: settings.query_cache_rows == 0,
            ttl: settings.query_cache_ttl,
            tables: Tables::new(clock.monotonic()),
            clock,
            doubt: settings.statement_timeout + MARGIN,
            deaf: AtomicBool::new(false),
            observer: OnceLock::new(),
            hits: counter!(catalog::DB_CACHE_HITS.name),
            misses: counter!(catalog::DB_CACHE_MISSES.name),
        })
    }

    /// `None`: nothing is to be kept now.
    fn key<T: 'static>(&self, query: &'static CachedQuery, params: &Params) -> Option<Key> {
        if self.off || self.deaf.load(Ordering::Acquire) {
            return None;
        }
        let generation = self.tables.generation(query.tables, self.clock.monotonic())?;
        Some(Key::new::<T>(query, generation, params))
    }

    /// A write to these tables is over.
    pub(crate) fn written(&self, writes: Writes<'_>) {
        self.tables.written(writes);
        self.tell(writes, false);
    }

    /// A write to these tables is perhaps still under way: as [`written`](Self::written), and no result is kept until it is
    /// over.
    fn in_doubt(&self, writes: Writes<'_>) {
        self.tables.doubt(writes, self.clock.monotonic() + self.doubt);
        self.tell(writes, true);
    }
}
