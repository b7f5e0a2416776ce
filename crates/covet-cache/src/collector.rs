//! How full the cache is, told when somebody scrapes. Register it with `covet_telemetry`'s registry.
//!
//! In memory it is looked up at once. Redis is asked in the background, every few seconds and after each scrape, because a
//! scrape must not wait for it; what is told is the last answer. Is that too old, nothing is told: better no value than a
//! wrong one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use covet_telemetry::metrics::instruments::{CacheInstruments, CacheLevels};
use covet_telemetry::metrics::{Collector, Exposition};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::cache::Backend;
use crate::redis::Info;
use crate::{Cache, Redis};

/// How often Redis is asked when nobody scrapes.
const EVERY: Duration = Duration::from_secs(10);

/// How often it is asked at most.
const AT_MOST_EVERY: Duration = Duration::from_millis(500);

/// The age from which an answer is not told any more.
const TOO_OLD: Duration = Duration::from_secs(60);

/// Tells `cache_keys_total`, `cache_size_bytes`, `cache_memory_usage_bytes` and `cache_evictions_total`.
#[derive(Debug)]
pub struct CacheCollector(Source);

#[derive(Debug)]
enum Source {
    Memory(Cache),
    Redis(Asked),
}

#[derive(Debug)]
struct Asked {
    last: Arc<Last>,
    clock: Clock,
    asker: AbortHandle,
}

#[derive(Debug, Default)]
struct Last {
    answer: Mutex<Option<(Instant, CacheLevels)>>,
    wanted: Notify,
}

/// Adds up what the nodes have evicted, also over their restarts, which begin at 0 again.
#[derive(Debug, Default)]
struct Evictions {
    /// By node: its run, and its count.
    seen: HashMap<String, (String, u64)>,
    sum: u64,
}

impl CacheCollector {
    /// A collector for this cache.
    #[must_use]
    pub fn new(cache: &Cache) -> Self {
        Self(match &cache.0.backend {
            Backend::Memory(_) => Source::Memory(cache.clone()),
            Backend::Redis(remote) => {
                let (last, clock) = (Arc::<Last>::default(), cache.clock().clone());
                let asking = ask(remote.redis().clone(), cache.instruments().clone(), Arc::clone(&last), clock.clone());
                Source::Redis(Asked { last, clock, asker: tokio::spawn(asking).abort_handle() })
            }
        })
    }
}

impl Collector for CacheCollector {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn collect(&self, out: &mut Exposition) {
        match &self.0 {
            Source::Memory(cache) => {
                if let Backend::Memory(memory) = &cache.0.backend {
                    memory.levels().tell("memory", out);
                }
            }
            Source::Redis(Asked { last, clock, .. }) => {
                last.wanted.notify_one();
                let answer = *last.answer.lock().unwrap_or_else(PoisonError::into_inner);
                match answer {
                    Some((at, levels)) if clock.monotonic().saturating_duration_since(at) < TOO_OLD => {
                        levels.tell("redis", out);
                    }
                    _ => out.failure("Redis has not told how full it is"),
                }
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.asker.abort();
    }
}

/// Asks for as long as there is a collector.
async fn ask(redis: Redis, instruments: CacheInstruments, last: Arc<Last>, clock: Clock) {
    let mut evictions = Evictions::default();
    loop {
        let nodes = redis.info().await;
        if !nodes.is_empty() {
            instruments.evicted_in_all(evictions.add(&nodes));
            let answer = Some((clock.monotonic(), levels(&nodes)));
            *last.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
        // Either will do.
        let _ = tokio::time::timeout(EVERY - AT_MOST_EVERY, last.wanted.notified()).await;
    }
}

fn levels(nodes: &[(String, Info)]) -> CacheLevels {
    let sum = |of: fn(&Info) -> u64| nodes.iter().map(|(_, info)| of(info)).sum();
    CacheLevels {
        keys: sum(|info| info.keys),
        size_bytes: sum(|info| info.dataset_bytes),
        memory_bytes: sum(|info| info.used_memory_bytes),
    }
}

impl Evictions {
    /// What they are together, after this answer.
    fn add(&mut self, nodes: &[(String, Info)]) -> u64 {
        for (node, info) in nodes {
            let (run, before) = self.seen.entry(node.clone()).or_default();
            let same_run = *run == info.run_id && info.evicted_keys >= *before;
            self.sum += if same_run { info.evicted_keys - *before } else { info.evicted_keys };
            (*run, *before) = (info.run_id.clone(), info.evicted_keys);
        }
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, run: &str, evicted_keys: u64) -> (String, Info) {
        let info = Info { evicted_keys, keys: 3, dataset_bytes: 10, used_memory_bytes: 100, ..Info::default() };
        (name.to_owned(), Info { run_id: run.to_owned(), ..info })
    }

    #[test]
    fn evictions_are_those_of_all_nodes_and_go_on_after_a_restart() {
        let mut evictions = Evictions::default();
        assert_eq!(evictions.add(&[node("a", "1", 5), node("b", "2", 7)]), 12);
        assert_eq!(evictions.add(&[node("a", "1", 6), node("b", "2", 7)]), 13);
        assert_eq!(evictions.add(&[node("a", "3", 2), node("b", "2", 8)]), 16);
        assert_eq!(evictions.add(&[node("c", "4", 1)]), 17);
        assert_eq!(evictions.add(&[node("a", "3", 2), node("c", "4", 1)]), 17);
    }

    #[test]
    fn levels_are_those_of_all_nodes_together() {
        let levels = levels(&[node("a", "1", 0), node("b", "2", 0)]);
        assert_eq!((levels.keys, levels.size_bytes, levels.memory_bytes), (6, 20, 200));
    }
}
