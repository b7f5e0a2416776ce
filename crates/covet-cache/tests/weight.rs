//! What the cache in memory says that it takes, against what the allocator says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheCollector, CacheParts, Keyspace, Ttl};
use covet_core::clock::Clock;
use covet_telemetry::metrics::Registry;
use tikv_jemalloc_ctl::{epoch, stats};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

static TEXTS: Keyspace<String> = Keyspace::new("texts", Ttl::Query);

fn allocated() -> f64 {
    epoch::advance().unwrap();
    stats::allocated::read().unwrap() as f64
}

/// One test a process: everything that is allocated counts.
#[tokio::test(flavor = "current_thread")]
async fn the_memory_that_is_told_is_about_what_is_taken() {
    for (length, entries) in [(10, 20_000_u32), (1000, 10_000)] {
        let (settings, metrics, clock) = (CacheSettings::memory(), Registry::new(), Clock::system());
        let parts = CacheParts { settings: &settings, service: "weight", metrics: &metrics, clock: &clock };
        let cache = Cache::connect(parts).await.unwrap();
        metrics.register(Arc::new(CacheCollector::new(&cache)));
        let before = allocated();
        for entry in 0..entries {
            cache.set(&TEXTS.key(entry), "x".repeat(length)).await.unwrap();
        }
        let text = metrics.render();
        let taken = allocated() - before;
        let told = text.lines().find_map(|line| line.strip_prefix("cache_memory_usage_bytes{cache_type=\"memory\"} "));
        let told: f64 = told.unwrap().parse().unwrap();
        println!(
            "{length}: {taken} taken, {told} told, {} an entry beside the value",
            taken / f64::from(entries) - length as f64
        );
        assert!((0.75..1.33).contains(&(told / taken)), "values of {length}: {told} told, {taken} taken");
    }
}
