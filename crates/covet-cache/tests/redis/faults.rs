//! Servers and networks that fail: calls end in time, the breaker opens, and all heals by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covet_cache::redis::redis::cmd;
use covet_cache::{CacheOperation, Error, Redis};
use covet_testkit::{FaultProxy, wait_until};
use tokio::time::Instant;

use crate::support::{Load, Place, SOON, get, set};

/// `COVET_CACHE__TIMEOUT`.
const TIMEOUT: Duration = Duration::from_millis(100);
/// What is bounded by it ends so late on a busy machine.
const BOUND: Duration = Duration::from_millis(1500);

async fn behind_proxy() -> (covet_testkit::Redis, FaultProxy, Redis) {
    behind_proxy_within(TIMEOUT).await
}

async fn behind_proxy_within(timeout: Duration) -> (covet_testkit::Redis, FaultProxy, Redis) {
    let server = covet_testkit::Redis::builder().password("sesame").start().await.unwrap();
    let proxy = FaultProxy::in_front_of(server.port()).await.unwrap();
    let place = Place { quick: true, ..Place::at(server.url_at(proxy.port())) };
    let redis = place.redis_with(|settings| settings.timeout = timeout).await;
    wait_until("a write", SOON, async || set(&redis, "key", 1).await).await.unwrap();
    (server, proxy, redis)
}

/// Calls until they fail at once, with the breaker open.
async fn opens(redis: &Redis) {
    let began = Instant::now();
    wait_until("the breaker to open", SOON, async || {
        let called = Instant::now();
        let outcome = get(redis, "key").await;
        assert!(called.elapsed() < BOUND, "{:?}", called.elapsed());
        match outcome {
            Err(Error::Unavailable(_)) if !redis.is_available() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    println!("the breaker opened after {:?}", began.elapsed());
    let began = Instant::now();
    for _ in 0..1000 {
        assert!(matches!(get(redis, "key").await, Err(Error::Unavailable(_))));
    }
    println!("a call costs {:?} then", began.elapsed() / 1000);
    assert!(began.elapsed() < TIMEOUT * 100, "calls do not wait");
}

async fn heals(redis: &Redis) {
    let began = Instant::now();
    let healed = wait_until("Redis to be used again", SOON, async || match get(redis, "key").await {
        Ok(value) => Ok(value),
        other => Err(format!("{other:?}")),
    });
    healed.await.unwrap();
    println!("healed after {:?}", began.elapsed());
    assert!(redis.is_available());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_and_started_again() {
    let (mut server, _proxy, redis) = behind_proxy().await;
    server.stop().await.unwrap();
    opens(&redis).await;
    server.start_again().await.unwrap();
    heals(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything() {
    let (_server, proxy, redis) = behind_proxy().await;
    proxy.blackhole();
    opens(&redis).await;
    proxy.heal();
    heals(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs() {
    let (server, _proxy, redis) = behind_proxy().await;
    server.pause().unwrap();
    opens(&redis).await;
    server.resume().unwrap();
    heals(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_too_slow_is_not_used_until_it_is_quick_again() {
    let (_server, proxy, redis) = behind_proxy().await;
    proxy.delay(TIMEOUT * 3);
    opens(&redis).await;
    // A connection can be had, and would be of no use.
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        assert!(matches!(get(&redis, "key").await, Err(Error::Unavailable(_) | Error::Timeout { .. })));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.heal();
    heals(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_down() {
    let (_server, proxy, redis) = behind_proxy().await;
    proxy.take_down();
    opens(&redis).await;
    proxy.heal();
    heals(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_reset_is_replaced_at_once_and_reads_do_not_notice() {
    let (_server, proxy, redis) = behind_proxy_within(TIMEOUT * 20).await;
    for _ in 0..5 {
        proxy.reset();
        assert_eq!(get(&redis, "key").await.unwrap(), Some(1));
        // Connections that break at once are not replaced at once.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert!(proxy.accepted() >= 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_run_and_must_not_run_twice_is_not_sent_again() {
    let (server, proxy, redis) = behind_proxy().await;
    let going_on = Arc::new(AtomicBool::new(true));
    let counting: Vec<_> = (0..8)
        .map(|_| {
            let (redis, going_on) = (redis.clone(), Arc::clone(&going_on));
            tokio::spawn(async move {
                let (mut counted, mut unknown) = (0_u64, 0_u64);
                while going_on.load(Ordering::Relaxed) {
                    match redis.call::<u64>(CacheOperation::Increment, cmd("INCR").arg("count")).await {
                        Ok(_) => counted += 1,
                        Err(Error::Unavailable(_) | Error::Timeout { .. }) => unknown += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                (counted, unknown)
            })
        })
        .collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        proxy.reset();
    }
    going_on.store(false, Ordering::Relaxed);
    let (mut counted, mut lost) = (0, 0);
    for task in counting {
        let (task_counted, task_lost) = task.await.unwrap();
        (counted, lost) = (counted + task_counted, lost + task_lost);
    }
    let count: u64 = server.cli(&["GET", "count"]).await.unwrap().parse().unwrap();
    println!("{counted} acknowledged, {lost} unknown, {count} in Redis");
    assert!((counted..=counted + lost).contains(&count) && counted > 0 && lost > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_is_opened_while_redis_is_away_is_used_when_it_is_there() {
    let mut server = covet_testkit::Redis::start().await.unwrap();
    server.stop().await.unwrap();
    let redis = Place { quick: true, ..Place::at(server.url()) }.redis().await;
    assert!(matches!(get(&redis, "key").await, Err(Error::Unavailable(_))));
    server.start_again().await.unwrap();
    heals(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_became_a_replica_is_not_written_to() {
    let (server, _proxy, redis) = behind_proxy().await;
    let other = covet_testkit::Redis::builder().password("sesame").start().await.unwrap();
    server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).await.unwrap();
    wait_until("the refusal", SOON, async || match set(&redis, "key", 2).await {
        Err(Error::Unavailable(said)) if said.contains("replica") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    server.cli(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    wait_until("a write", SOON, async || set(&redis, "key", 3).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_and_a_missing_right_are_told_and_no_secret_is() {
    let server = covet_testkit::Redis::builder().password("sesame").user("worker", "open").start().await.unwrap();
    let wrong = Place::at(server.url().replace("open", "hunter2")).redis().await;
    let error = get(&wrong, "key").await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)) && !wrong.is_available(), "{error:?}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    println!("{error}");
    let right = Place::at(server.url()).redis().await;
    let error = right.call::<()>(CacheOperation::Clear, &cmd("FLUSHALL")).await.unwrap_err();
    assert!(matches!(&error, Error::Refused(said) if said.starts_with("NOPERM")), "{error:?}");
    assert!(right.is_available(), "the server is well");
    let error = right.call::<()>(CacheOperation::Get, cmd("SECRETCOMMAND").arg("hunter2")).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)) && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_somebody_else_is_not_believed() {
    let certificate = covet_testkit::Certificate::self_signed("redis.test").await.unwrap();
    let stranger = covet_testkit::Certificate::self_signed("stranger.test").await.unwrap();
    let server = covet_testkit::Redis::builder().certificate(certificate).start().await.unwrap();
    let trusting = async |authority| Place { authority, ..Place::at(server.url()) }.redis().await.ping().await;
    let error = trusting(Some(stranger.certificate_path())).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)) && error.to_string().contains("certificate"), "{error}");
    wait_until("the right one", SOON, async || trusting(server.authority()).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_outlive_the_runtime_that_opened_them_and_end_with_the_cache() {
    let (server, _proxy, _) = behind_proxy().await;
    let place = Place::at(server.url());
    let opened = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(place.redis())
    });
    let redis = opened.join().unwrap();
    assert_eq!(get(&redis, "key").await.unwrap(), Some(1));
    let load = Load::start(&redis);
    load.more(100).await;
    load.stop().await;
    let clients = async || {
        let said = server.cli(&["CLIENT", "LIST"]).await.unwrap();
        said.lines().filter(|line| line.contains("cmd=set") || line.contains("cmd=get")).count()
    };
    let before = clients().await;
    drop(redis);
    wait_until("the connection to close", SOON, async || match clients().await {
        now if now < before => Ok(()),
        now => Err(format!("{now} of {before}")),
    })
    .await
    .unwrap();
}
