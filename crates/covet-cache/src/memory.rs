//! Entries in this process' memory.
//!
//! Values are kept as they are, so a hit decodes nothing; what an entry weighs is the size that it would have in Redis,
//! and what keeping it costs. Generations of tags are entries too: one that has to go ends what bears it, never revives it.
//!
//! The least recently used go first. moka's other policy keeps what is used often and refuses newcomers while it is full:
//! better for lists of popular things, wrong for a session that was just opened.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use covet_telemetry::metrics::instruments::{CacheInstruments, CacheLevels};
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::{CompResult, Op};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::CacheKey;
use crate::format::Generations;
use crate::look::Look;

/// What an entry takes beside its key and its encoded value, in bytes: checked against the allocator by `tests/weight.rs`.
pub(crate) const OVERHEAD: usize = 320;

/// The entries of one cache.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    entries: Cache<Box<str>, Stored>,
}

/// An entry.
#[derive(Debug, Clone)]
struct Stored {
    what: What,
    weight: u32,
    ttl: Duration,
}

#[derive(Debug, Clone)]
enum What {
    /// A value, or that there is none; with the keyspace's version.
    Value { value: Option<Arc<dyn Any + Send + Sync>>, version: u32, generations: Generations },
    /// That of a tag.
    Generation(u64),
}

struct Lifetimes;

impl Expiry<Box<str>, Stored> for Lifetimes {
    fn expire_after_create(&self, _: &Box<str>, stored: &Stored, _: Instant) -> Option<Duration> {
        Some(stored.ttl)
    }

    fn expire_after_update(&self, _: &Box<str>, stored: &Stored, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(stored.ttl)
    }
}

impl Memory {
    pub(crate) fn new(size_bytes: u64, instruments: &CacheInstruments) -> Self {
        let instruments = instruments.clone();
        let entries = Cache::builder()
            .max_capacity(size_bytes)
            .weigher(|_: &_, stored: &Stored| stored.weight)
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(Lifetimes)
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    instruments.evicted(1);
                }
            })
            .build();
        Self { entries }
    }

    pub(crate) fn look<T: Send + Sync + 'static>(&self, key: &CacheKey<T>) -> Look<T> {
        let entry = self.entries.get(key.name());
        let seen = key.tags().iter().map(|tag| self.generation(tag));
        if let Some(Stored { what: What::Value { value, version, generations }, .. }) = entry
            && version == key.version()
            && generations.iter().map(|generation| Some(*generation)).eq(seen.clone())
        {
            match value.map(Arc::downcast) {
                None => return Look::Nothing(seen.collect()),
                Some(Ok(value)) => return Look::Value(value),
                Some(Err(_)) => {}
            }
        }
        Look::Absent(seen.collect())
    }

    /// The tags' generations, of which each has one now.
    pub(crate) fn begin(&self, tags: &[String], ttl: Duration) -> Generations {
        tags.iter()
            .map(|tag| {
                self.generation(tag).unwrap_or_else(|| {
                    let fresh = || Stored::generation(tag, ttl);
                    match self.entries.entry(tag.as_str().into()).or_insert_with(fresh).into_value().what {
                        What::Generation(generation) => generation,
                        What::Value { .. } => 0,
                    }
                })
            })
            .collect()
    }

    /// Stores a value of this encoded size, or that there is none.
    pub(crate) fn store<T: Send + Sync + 'static>(
        &self,
        key: &CacheKey<T>,
        value: Option<Arc<T>>,
        size: usize,
        generations: Generations,
        ttl: Duration,
    ) {
        let weight = weight(key.name().len() + size + generations.len() * 8);
        let value = value.map(|value| value as Arc<dyn Any + Send + Sync>);
        let what = What::Value { value, version: key.version(), generations };
        self.entries.insert(key.name().into(), Stored { what, weight, ttl });
    }

    /// True if there was one.
    pub(crate) fn delete(&self, name: &str) -> bool {
        self.entries.remove(name).is_some()
    }

    /// Gives an entry another time to live. False if there is none.
    pub(crate) fn expire(&self, name: &str, ttl: Duration) -> bool {
        let changed = self.entries.entry(name.into()).and_compute_with(|entry| match entry {
            Some(entry) => Op::Put(Stored { ttl, ..entry.into_value() }),
            None => Op::Nop,
        });
        matches!(changed, CompResult::ReplacedWith(_))
    }

    /// Ends all that bears this tag.
    pub(crate) fn invalidate(&self, tag: &str, ttl: Duration) {
        self.entries.insert(tag.into(), Stored::generation(tag, ttl));
    }

    /// How full it is, after what is due has been done: entries whose time is over leave, and those that are too many.
    pub(crate) fn levels(&self) -> CacheLevels {
        self.entries.run_pending_tasks();
        let (keys, memory_bytes) = (self.entries.entry_count(), self.entries.weighted_size());
        CacheLevels { keys, size_bytes: memory_bytes.saturating_sub(keys * OVERHEAD as u64), memory_bytes }
    }

    fn generation(&self, tag: &str) -> Option<u64> {
        match self.entries.get(tag)?.what {
            What::Generation(generation) => Some(generation),
            What::Value { .. } => None,
        }
    }
}

impl Stored {
    fn generation(tag: &str, ttl: Duration) -> Self {
        Self { what: What::Generation(fastrand::u64(..)), weight: weight(tag.len() + 8), ttl }
    }
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX)
}
