//! What every cache does, done by Redis in all its forms.

use std::sync::atomic::{AtomicUsize, Ordering};

use covet_cache::settings::CacheSettings;
use covet_testkit::{Certificate, Redis, RedisCluster, RedisSentinel};

use crate::suite;
use crate::suite::{Instance, Stage};
use crate::support::Place;

/// All behaviours have the servers to themselves, one after another.
struct OnServers {
    place: Place,
    number: AtomicUsize,
}

impl OnServers {
    fn new(place: Place) -> Self {
        Self { place, number: AtomicUsize::new(0) }
    }

    fn next(&self) {
        self.number.fetch_add(1, Ordering::Relaxed);
    }
}

impl Stage for OnServers {
    async fn open(&self, change: fn(&mut CacheSettings)) -> Instance {
        self.place.open(&format!("suite{}", self.number.load(Ordering::Relaxed)), change).await
    }
}

macro_rules! all_of {
    ($($module:ident::$name:ident)*) => {
        /// Runs all behaviours. `empty` makes the servers empty.
        async fn run_all(place: Place, empty: impl AsyncFn()) {
            let stage = OnServers::new(place);
            $(
                empty().await;
                stage.next();
                println!(stringify!($name));
                suite::$module::$name(&stage).await;
            )*
        }
    };
}
suite::behaviours!(all_of);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_server_does_all_that_a_cache_does() {
    let redis = Redis::builder().password("sesame").start().await.unwrap();
    run_all(Place::at(redis.url()), async || {
        redis.cli(&["FLUSHALL"]).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_user_with_few_rights_over_tls_does_all_that_a_cache_does() {
    let certificate = Certificate::self_signed("redis.test").await.unwrap();
    let redis =
        Redis::builder().password("sesame").user("worker", "p@ss").certificate(certificate).start().await.unwrap();
    let place = Place { authority: redis.authority(), ..Place::at(redis.url().replace("p@ss", "p%40ss")) };
    run_all(place, async || {
        redis.cli(&["FLUSHALL"]).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_master_known_by_sentinels_does_all_that_a_cache_does() {
    let redis = RedisSentinel::start().await.unwrap();
    let sentinel_password = Some(redis.sentinel_password().to_owned());
    run_all(Place { sentinel_password, ..Place::at(redis.url()) }, async || {
        redis.cli(0, &["FLUSHALL"]).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_does_all_that_a_cache_does() {
    let redis = RedisCluster::start().await.unwrap();
    run_all(Place::at(redis.url()), async || {
        for master in 0..3 {
            redis.cli(master, &["FLUSHALL"]).await.unwrap();
        }
    })
    .await;
}
