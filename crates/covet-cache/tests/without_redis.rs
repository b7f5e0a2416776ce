//! What becomes of a cache when Redis is away, and when it is back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheCheck, CacheCollector, CacheParts, Error, Keyspace, Ttl};
use covet_core::clock::Clock;
use covet_core::health::{Check as _, Status};
use covet_telemetry::metrics::Registry;
use covet_testkit::{Redis, eventually};

static NAMES: Keyspace<String> = Keyspace::new("names", Ttl::Query);

async fn open(url: &str) -> (Cache, Registry) {
    let (settings, metrics, clock) = (CacheSettings::at(url), Registry::new(), Clock::system());
    let parts = CacheParts { settings: &settings, service: "away", metrics: &metrics, clock: &clock };
    let cache = Cache::connect(parts).await.unwrap();
    metrics.register(Arc::new(CacheCollector::new(&cache)));
    (cache, metrics)
}

async fn load(cache: &Cache, loads: &AtomicUsize) -> String {
    let key = NAMES.key(1).tag("names");
    let load = async || {
        loads.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>("ada".to_owned())
    };
    cache.get_or_load(&key, load).await.unwrap().as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_goes_on_without_it_and_uses_it_when_it_is_back() {
    let mut redis = Redis::start().await.unwrap();
    let (cache, _) = open(&redis.url()).await;
    let check = CacheCheck::new(cache.clone());
    let loads = AtomicUsize::new(0);
    for _ in 0..3 {
        assert_eq!(load(&cache, &loads).await, "ada");
    }
    assert_eq!(loads.swap(0, Ordering::SeqCst), 1);
    assert_eq!(check.check().await.status, Status::Healthy);

    redis.kill9().await.unwrap();
    for _ in 0..100 {
        assert_eq!(load(&cache, &loads).await, "ada");
    }
    assert_eq!(loads.swap(0, Ordering::SeqCst), 100);
    let error = cache.get(&NAMES.key(1)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let outcome = check.check().await;
    assert_eq!(outcome.status, Status::Degraded);
    assert!(!format!("{outcome:?}").contains("127.0.0.1"), "anybody may read it: {outcome:?}");

    redis.start_again().await.unwrap();
    eventually("it to be used again", async || {
        loads.store(0, Ordering::SeqCst);
        load(&cache, &loads).await;
        load(&cache, &loads).await;
        loads.load(Ordering::SeqCst) < 2
    })
    .await;
    assert_eq!(check.check().await.status, Status::Healthy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_without_it() {
    let mut redis = Redis::start().await.unwrap();
    redis.kill9().await.unwrap();
    let (cache, _) = open(&redis.url()).await;
    let loads = AtomicUsize::new(0);
    assert_eq!(load(&cache, &loads).await, "ada");
    redis.start_again().await.unwrap();
    eventually("it to be used", async || cache.set(&NAMES.key(2), "bob".to_owned()).await.is_ok()).await;
}

/// A partition, not a restart: what was cached is still there when Redis is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalidation_that_could_not_be_told_is_told_when_it_is_back() {
    let redis = Redis::start().await.unwrap();
    let (cache, _) = open(&redis.url()).await;
    let (other, _) = open(&redis.url()).await;
    let (tagged, plain) = (NAMES.key("tagged").tag("t"), NAMES.key("plain"));
    cache.set(&tagged, "old".to_owned()).await.unwrap();
    cache.set(&plain, "old".to_owned()).await.unwrap();

    redis.pause().unwrap();
    cache.invalidate(["t"]).await.unwrap_err();
    cache.delete(&plain).await.unwrap_err();
    redis.resume().unwrap();

    // This instance never gives the old ones out, whether it has been told by then or not.
    let loaded = cache.get_or_load(&tagged, async || Ok::<_, Error>("new".to_owned())).await.unwrap();
    assert_eq!(*loaded, "new");
    let loaded = cache.get_or_load(&plain, async || Ok::<_, Error>("new".to_owned())).await.unwrap();
    assert_eq!(*loaded, "new");
    // The others do not when it has.
    for key in [&tagged, &plain] {
        eventually("the old one to end", async || {
            !matches!(other.get(key).await, Ok(Some(value)) if *value == "old") && other.get(key).await.is_ok()
        })
        .await;
    }
    eventually("this one to cache again", async || {
        cache.get_or_load(&plain, async || Ok::<_, Error>("newer".to_owned())).await.unwrap();
        cache.get(&plain).await.is_ok_and(|value| value.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_levels_are_what_redis_tells_and_nothing_when_it_tells_nothing() {
    let redis = Redis::builder().setting("maxmemory", "3mb").setting("maxmemory-policy", "allkeys-lru");
    let mut redis = redis.start().await.unwrap();
    let (cache, metrics) = open(&redis.url()).await;
    for number in 0..3000 {
        cache.set(&NAMES.key(number), "x".repeat(1000)).await.unwrap();
    }
    let sample = |name: &str| {
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with(&format!("{name}{{cache_type=\"redis\"}}")));
        line.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
    };
    // Whoever asks a full server makes it evict.
    let (mut keys, mut evicted) = (0.0, 0.0);
    eventually("its levels", async || {
        let told = (sample("cache_keys_total"), sample("cache_evictions_total"));
        keys = redis.cli(&["DBSIZE"]).await.unwrap().parse().unwrap();
        let stats = redis.cli(&["INFO", "stats"]).await.unwrap();
        let line = stats.lines().find_map(|line| line.trim().strip_prefix("evicted_keys:"));
        evicted = line.unwrap().parse().unwrap();
        told == (Some(keys), Some(evicted))
    })
    .await;
    assert!(keys > 0.0 && evicted > 0.0 && keys + evicted == 3000.0, "{keys} {evicted}");
    let (size, memory) = (sample("cache_size_bytes").unwrap(), sample("cache_memory_usage_bytes").unwrap());
    assert!(size > keys * 1000.0 && memory > size && memory < 4e6, "{keys} keys, {size} of {memory} bytes");
    redis.kill9().await.unwrap();
    redis.start_again().await.unwrap();
    eventually("its levels to be new", async || sample("cache_keys_total") == Some(0.0)).await;
    assert_eq!(sample("cache_evictions_total"), Some(evicted), "a counter does not go back");
}
