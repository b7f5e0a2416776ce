//! What a cache does, and how full it is.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::metrics::catalog::{
    CACHE_CONNECTION_ERRORS, CACHE_EVICTIONS_TOTAL, CACHE_HITS_TOTAL, CACHE_KEYS_TOTAL, CACHE_MEMORY_USAGE_BYTES,
    CACHE_MISSES_TOTAL, CACHE_OPERATION_DURATION_SECONDS, CACHE_SIZE_BYTES, CACHE_TTL_SECONDS, DB_CACHE_HITS,
    DB_CACHE_MISSES,
};
use crate::metrics::{Exposition, Registry};

/// The metrics of one cache.
///
/// ```
/// use covet_telemetry::metrics::Registry;
/// use covet_telemetry::metrics::instruments::{CacheInstruments, CacheOperation};
/// use std::time::Duration;
///
/// let registry = Registry::new();
/// let cache = CacheInstruments::new(&registry, "memory");
/// let users = cache.of_prefix("user");
/// users.hit();
/// cache.took(CacheOperation::Get, Duration::from_micros(3));
///
/// let text = registry.render();
/// assert!(text.contains("cache_hits_total{cache_type=\"memory\",key_prefix=\"user\"} 1.0\n"));
/// assert!(text.contains("cache_hit_ratio{cache_type=\"memory\"} 1.0\n"));
/// ```
#[derive(Debug, Clone)]
pub struct CacheInstruments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    cache_type: &'static str,
    evictions: Counter,
    ttls: Histogram,
    durations: [Histogram; CacheOperation::ALL.len()],
}

/// What is done with a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOperation {
    /// Reading.
    Get,
    /// Storing.
    Set,
    /// Removing.
    Delete,
    /// Counting up or down.
    Increment,
    /// Giving another time to live.
    Expire,
    /// Removing many at once: everything with a tag.
    Clear,
    /// Sending a message to subscribers.
    Publish,
}

/// Hits and misses of the keys with one prefix.
#[derive(Debug, Clone)]
pub struct CacheUse {
    hits: Counter,
    misses: Counter,
}

impl CacheOperation {
    const ALL: [Self; 7] =
        [Self::Get, Self::Set, Self::Delete, Self::Increment, Self::Expire, Self::Clear, Self::Publish];

    /// Its word in the label `operation`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Increment => "increment",
            Self::Expire => "expire",
            Self::Clear => "clear",
            Self::Publish => "publish",
        }
    }
}

impl CacheInstruments {
    /// The metrics of a cache of this type: `memory`, `redis`, or `near` for what is kept in front of Redis.
    #[must_use]
    pub fn new(registry: &Registry, cache_type: &'static str) -> Self {
        let duration = |operation: CacheOperation| {
            registry.histogram(CACHE_OPERATION_DURATION_SECONDS, &[operation.label(), cache_type])
        };
        Self(Arc::new(Inner {
            registry: registry.clone(),
            cache_type,
            evictions: registry.counter(CACHE_EVICTIONS_TOTAL, &[cache_type]),
            ttls: registry.histogram(CACHE_TTL_SECONDS, &[cache_type]),
            durations: CacheOperation::ALL.map(duration),
        }))
    }

    /// Its word in the label `cache_type`.
    #[must_use]
    pub fn cache_type(&self) -> &'static str {
        self.0.cache_type
    }

    /// Hits and misses of the keys with this prefix. Prefixes are declared in code, so their number is bounded; keep what
    /// this returns.
    #[must_use]
    pub fn of_prefix(&self, prefix: &'static str) -> CacheUse {
        let Inner { registry, cache_type, .. } = &*self.0;
        CacheUse {
            hits: registry.counter(CACHE_HITS_TOTAL, &[cache_type, prefix]),
            misses: registry.counter(CACHE_MISSES_TOTAL, &[cache_type, prefix]),
        }
    }

    /// An operation took so long, found or not.
    pub fn took(&self, operation: CacheOperation, duration: Duration) {
        self.0.durations[operation as usize].record(duration);
    }

    /// An entry was stored, to live so long.
    pub fn stored_for(&self, ttl: Duration) {
        self.0.ttls.record(ttl);
    }

    /// Entries were given up to make room.
    pub fn evicted(&self, entries: u64) {
        self.0.evictions.increment(entries);
    }

    /// As many entries in all have been given up, as the cache itself has counted them.
    pub fn evicted_in_all(&self, entries: u64) {
        self.0.evictions.absolute(entries);
    }

    /// The cache could not be reached. `error_type` is a fixed word, such as `timeout` or `refused`.
    pub fn connection_failed(&self, error_type: &'static str) {
        self.0.registry.counter(CACHE_CONNECTION_ERRORS, &[self.0.cache_type, error_type]).increment(1);
    }
}

impl CacheUse {
    /// A read found a value.
    pub fn hit(&self) {
        self.hits.increment(1);
    }

    /// A read found nothing.
    pub fn missed(&self) {
        self.misses.increment(1);
    }
}

/// How full a cache is: what a cache's [`Collector`](crate::metrics::Collector) tells at a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLevels {
    /// Keys in it.
    pub keys: u64,
    /// Size of what is cached, in bytes.
    pub size_bytes: u64,
    /// Memory that it takes in all, in bytes.
    pub memory_bytes: u64,
}

impl CacheLevels {
    /// Tells them.
    pub fn tell(self, cache_type: &'static str, out: &mut Exposition) {
        out.gauge(CACHE_KEYS_TOTAL, &[cache_type], self.keys);
        out.gauge(CACHE_SIZE_BYTES, &[cache_type], self.size_bytes);
        out.gauge(CACHE_MEMORY_USAGE_BYTES, &[cache_type], self.memory_bytes);
    }
}

/// Whether queries were answered from the query cache.
#[derive(Debug, Clone)]
pub struct QueryCacheInstruments {
    hits: Counter,
    misses: Counter,
}

impl QueryCacheInstruments {
    /// The query cache's metrics.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self { hits: registry.counter(DB_CACHE_HITS, &[]), misses: registry.counter(DB_CACHE_MISSES, &[]) }
    }

    /// A query was answered from the cache.
    pub fn hit(&self) {
        self.hits.increment(1);
    }

    /// A query had to ask the database.
    pub fn missed(&self) {
        self.misses.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_moves_its_metric() {
        let registry = Registry::new();
        let cache = CacheInstruments::new(&registry, "redis");
        cache.of_prefix("note").missed();
        cache.of_prefix("note").hit();
        cache.took(CacheOperation::Publish, Duration::from_millis(2));
        cache.stored_for(Duration::from_secs(300));
        cache.evicted(3);
        cache.evicted_in_all(2);
        cache.connection_failed("timeout");
        let queries = QueryCacheInstruments::new(&registry);
        queries.hit();
        queries.missed();
        let text = registry.render();
        for line in [
            "cache_misses_total{cache_type=\"redis\",key_prefix=\"note\"} 1.0\n",
            "cache_hits_total{cache_type=\"redis\",key_prefix=\"note\"} 1.0\n",
            "cache_operation_duration_seconds_bucket{operation=\"publish\",cache_type=\"redis\",le=\"0.005\"} 1.0\n",
            "cache_ttl_seconds_bucket{cache_type=\"redis\",le=\"300.0\"} 1.0\n",
            "cache_evictions_total{cache_type=\"redis\"} 3.0\n",
            "cache_connection_errors{cache_type=\"redis\",error_type=\"timeout\"} 1.0\n",
            "db_cache_hits 1.0\n",
            "db_cache_misses 1.0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
