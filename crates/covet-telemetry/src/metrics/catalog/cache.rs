//! The 10 of the cache, fed through [`CacheInstruments`](crate::metrics::instruments::CacheInstruments).

use crate::declare_metrics;

const CACHE_SECONDS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1];
const TTL_SECONDS: [f64; 9] = [60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0];

declare_metrics! {
    /// Cache.
    ///
    /// `cache_type` is `memory` or `redis`; for reads also `near`: what a process keeps in front of Redis for a moment
    /// (docs/guides/cache.md). `key_prefix` is that of a keyspace, which is declared in code.
    ///
    /// Of Redis, every instance tells the same keys, sizes and evictions: take their maximum, not their sum. They are those
    /// of all masters together, some seconds old at most.
    pub CACHE;

    /// Cache reads that found a value.
    ///
    /// Or that it is known that there is none. Failed reads are neither hits nor misses.
    counter CACHE_HITS_TOTAL = "cache_hits_total" {cache_type, key_prefix};
    /// Cache reads that found nothing.
    counter CACHE_MISSES_TOTAL = "cache_misses_total" {cache_type, key_prefix};
    /// Entries that the cache gave up to make room.
    ///
    /// Entries whose time was over are not among them. Of Redis: `evicted_keys` of its `INFO`.
    counter(of_cache) CACHE_EVICTIONS_TOTAL = "cache_evictions_total" {cache_type};
    /// Size of what is cached, in bytes.
    ///
    /// In memory: of keys and encoded values. Of Redis: `used_memory_dataset` of its `INFO`.
    gauge(of_cache) CACHE_SIZE_BYTES = "cache_size_bytes" {cache_type};
    /// Keys in the cache.
    ///
    /// A gauge, despite its name. Generations of tags and what other parts of the service keep in Redis are among them: it is
    /// what `DBSIZE` tells.
    gauge(of_cache) CACHE_KEYS_TOTAL = "cache_keys_total" {cache_type};
    /// Time of a cache operation, in seconds.
    ///
    /// `operation`: `get`, `set`, `delete`, `increment`, `expire`, `clear`, `publish`.
    histogram CACHE_OPERATION_DURATION_SECONDS = "cache_operation_duration_seconds" {operation, cache_type} CACHE_SECONDS;
    /// Failures to reach the cache.
    counter CACHE_CONNECTION_ERRORS = "cache_connection_errors" {cache_type, error_type};
    /// Memory the cache takes, in bytes.
    ///
    /// In memory: the size above, and what keeping an entry costs. Of Redis: `used_memory` of its `INFO`.
    gauge(of_cache) CACHE_MEMORY_USAGE_BYTES = "cache_memory_usage_bytes" {cache_type};
    /// Time to live given to entries, in seconds.
    ///
    /// Moved by each entry stored with one.
    histogram CACHE_TTL_SECONDS = "cache_ttl_seconds" {cache_type} TTL_SECONDS;
    /// Share of cache reads that found a value since the start, 0 to 1.
    ///
    /// Made at the scrape from `cache_hits_total` and `cache_misses_total`, of all processes together; not there before
    /// the first read. For the share of the last minutes, divide the rates of those two.
    gauge CACHE_HIT_RATIO = "cache_hit_ratio" {cache_type};
}
