//! The cache in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "suite/all.rs"]
mod suite;

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheCollector, CacheParts, Keyspace, Ttl};
use covet_core::clock::Clock;
use covet_core::settings::ByteSize;
use covet_telemetry::metrics::Registry;
use suite::{Instance, Stage};

struct InMemory;

impl Stage for InMemory {
    async fn open(&self, change: fn(&mut CacheSettings)) -> Instance {
        let mut settings = CacheSettings::memory();
        change(&mut settings);
        let (metrics, clock) = (Registry::new(), Clock::system());
        let parts = CacheParts { settings: &settings, service: "suite", metrics: &metrics, clock: &clock };
        let cache = Cache::connect(parts).await.unwrap();
        metrics.register(std::sync::Arc::new(CacheCollector::new(&cache)));
        Instance { cache, metrics }
    }

    /// What is in memory is shared within a process.
    async fn several(&self, count: usize) -> Vec<Instance> {
        vec![self.open(|_| ()).await; count]
    }
}

macro_rules! tests {
    ($($module:ident::$name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                suite::$module::$name(&InMemory).await;
            }
        )*
    };
}
suite::behaviours!(tests);

static TEXTS: Keyspace<String> = Keyspace::new("texts", Ttl::Query);

#[tokio::test]
async fn a_hit_gives_out_the_value_itself() {
    let cache = InMemory.open(|_| ()).await.cache;
    let stored = cache.set(&TEXTS.key(1), "x".to_owned()).await.unwrap();
    let read = cache.get(&TEXTS.key(1)).await.unwrap().unwrap();
    assert!(std::sync::Arc::ptr_eq(&stored, &read));
}

#[tokio::test]
async fn a_full_cache_gives_up_the_least_recently_used_and_counts_them() {
    let instance = InMemory.open(|settings| settings.memory_size = ByteSize::kibibytes(2048)).await;
    let cache = &instance.cache;
    for number in 0..4000 {
        cache.set(&TEXTS.key(number), "x".repeat(1000)).await.unwrap();
        cache.get(&TEXTS.key(0)).await.unwrap().expect("what is used stays");
    }
    let [keys, size, memory, evictions] =
        ["cache_keys_total", "cache_size_bytes", "cache_memory_usage_bytes", "cache_evictions_total"]
            .map(|name| instance.metric(name, &[("cache_type", "memory")]));
    assert_eq!(keys + evictions, 4000.0);
    assert!(memory <= 2048.0 * 1024.0 && memory > 2000.0 * 1024.0, "{memory}");
    assert!(size > keys * 1000.0 && size < memory, "{size}");
    assert!(cache.get(&TEXTS.key(1)).await.unwrap().is_none());
    assert!(cache.get(&TEXTS.key(3999)).await.unwrap().is_some(), "the newest is taken");
}
