//! What a process keeps in front of Redis.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheKey, CacheOperation, CacheParts, Error, Keyspace, Ttl};
use covet_core::clock::Clock;
use covet_telemetry::metrics::Registry;
use covet_testkit::{Redis, eventually};

static NEAR: Keyspace<u64> = Keyspace::new("near", Ttl::Query).near();
static FAR: Keyspace<u64> = Keyspace::new("far", Ttl::Query);

struct Instance {
    cache: Cache,
    metrics: Registry,
}

impl Instance {
    /// Opens an instance, and waits until its near tier hears what others say: before that nothing stays in it.
    async fn open(redis: &Redis, near_ttl: Duration) -> Self {
        let settings = CacheSettings { near_ttl, ..CacheSettings::at(&redis.url()) };
        let (metrics, clock) = (Registry::new(), Clock::system());
        let parts = CacheParts { settings: &settings, service: "near", metrics: &metrics, clock: &clock };
        let instance = Self { cache: Cache::connect(parts).await.unwrap(), metrics };
        let key = NEAR.key("listening");
        eventually("the near tier to keep", async || {
            instance.cache.set(&key, 1).await.unwrap();
            let before = instance.hits();
            for _ in 0..20 {
                assert_eq!(instance.get(&key).await, Some(1));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            instance.hits() - before >= 19.0
        })
        .await;
        instance
    }

    async fn get(&self, key: &CacheKey<u64>) -> Option<u64> {
        self.cache.get(key).await.unwrap().map(|value| *value)
    }

    /// Those of the near tier.
    fn hits(&self) -> f64 {
        let text = self.metrics.render();
        let line = text.lines().find(|line| line.starts_with("cache_hits_total{cache_type=\"near\""));
        line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }

    /// Deletes an entry so that no instance notices.
    async fn delete_behind_the_back(&self, prefix: &str, key: &str) {
        let redis = self.cache.redis().unwrap();
        let mut delete = redis::cmd("DEL");
        delete.arg(redis.key(prefix, key));
        assert_eq!(redis.call::<u64>(CacheOperation::Delete, &delete).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_near_is_read_without_redis_for_no_longer_than_is_said() {
    const SAID: Duration = Duration::from_secs(2);
    let redis = Redis::start().await.unwrap();
    let instance = Instance::open(&redis, SAID).await;
    let (key, clock) = (NEAR.key("a").tag("t"), Clock::system());
    let loaded = instance.cache.get_or_load(&key, async || Ok::<_, Error>(7)).await.unwrap();
    let kept = clock.monotonic();
    assert_eq!(*loaded, 7);
    instance.delete_behind_the_back("near", "a").await;
    let mut last = kept;
    eventually("the end of its time", async || {
        let asked = clock.monotonic();
        let there = instance.get(&key).await.is_some();
        if there {
            last = asked;
        }
        !there
    })
    .await;
    assert!(last > kept, "it was given out without Redis");
    assert!(last - kept <= SAID, "for {:?}", last - kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_on_one_instance_ends_on_all() {
    let redis = Redis::start().await.unwrap();
    // So long that only news can end it.
    let long = Duration::from_secs(3600);
    let (one, two) = (Instance::open(&redis, long).await, Instance::open(&redis, long).await);
    let key = NEAR.key("b").tag("t");
    for round in 0..3 {
        one.cache.set(&key, round).await.unwrap();
        eventually("the value", async || two.get(&key).await == Some(round)).await;
        assert_eq!(one.get(&key).await, Some(round));
        match round {
            0 => one.cache.invalidate(["t"]).await.unwrap(),
            1 => drop(one.cache.delete(&key).await.unwrap()),
            _ => drop(one.cache.set(&key, 9).await.unwrap()),
        }
        let then = (round == 2).then_some(9);
        assert_eq!(one.get(&key).await, then, "at once where it was done");
        eventually("the news", async || two.get(&key).await == then).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_near_over_a_time_in_which_nothing_was_heard() {
    let mut redis = Redis::start().await.unwrap();
    let instance = Instance::open(&redis, Duration::from_secs(3600)).await;
    let key = NEAR.key("c");
    instance.cache.set(&key, 7).await.unwrap();
    assert_eq!((instance.get(&key).await, instance.get(&key).await), (Some(7), Some(7)));
    redis.kill9().await.unwrap();
    // Empty, as it has kept nothing: whoever still gives the value out has not heard of it.
    redis.start_again().await.unwrap();
    eventually("it to end", async || matches!(instance.cache.get(&key).await, Ok(None))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_declared_near_is_read_from_redis() {
    let redis = Redis::start().await.unwrap();
    let instance = Instance::open(&redis, Duration::from_secs(3600)).await;
    let key = FAR.key("a");
    instance.cache.set(&key, 7).await.unwrap();
    assert_eq!(instance.get(&key).await, Some(7));
    instance.delete_behind_the_back("far", "a").await;
    assert_eq!(instance.get(&key).await, None);
}
