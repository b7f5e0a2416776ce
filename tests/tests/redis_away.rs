//! Redis that is stopped, silent or slow: the service goes on without its cache, says so, and uses it again when it is back.
//!
//! What the connections do then: `crates/covet-cache/tests/redis/faults.rs`; failovers: `redis/sentinel.rs`, `redis/cluster.rs`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet::clock::Clock;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::{SOON, drill};
use covet_testkit::{FaultProxy, Redis, Service, wait_until};
use futures_util::future::try_join_all;
use serde_json::Value;

/// `COVET_CACHE__TIMEOUT`, as it is by default.
const TIMEOUT: Duration = Duration::from_millis(100);
/// A request asks the cache a few times at most before it goes on without it; the rest is for a busy machine.
const LONGEST: Duration = Duration::from_secs(3);
/// Readers at a time, and how often each reads during a fault.
const READERS: usize = 8;
const READS: usize = 40;

async fn health(service: &Service) -> Result<(u16, Value)> {
    let response = service.client().get(service.url("/health")).timeout(Duration::from_secs(5)).send().await?;
    let status = response.status().as_u16();
    Ok((status, response.json().await?))
}

/// Waits until the check of the cache says so. The service as a whole is never worse than degraded.
async fn cache_is(service: &Service, expected: &str) -> Result<()> {
    wait_until(format!("the cache to be {expected}"), SOON, async || {
        let (status, report) = health(service).await.map_err(|error| format!("{error:#}"))?;
        assert_eq!(status, 200, "{report}");
        if report["checks"]["cache"]["status"] == expected { Ok(()) } else { Err(report.to_string()) }
    })
    .await?;
    let ready = service.client().get(service.url("/health/ready")).send().await?.status();
    ensure!(ready == 200, "{ready}");
    Ok(())
}

/// Reads through the cache, from several sides at once. Every answer is right; tells how long they took.
async fn read(service: &Service) -> Result<Vec<Duration>> {
    let clock = Clock::system();
    let reader = async |number: usize| {
        let mut took = Vec::new();
        for turn in 0..READS {
            let began = clock.monotonic();
            let path = format!("/cache/read/{number}-{}", turn % 5);
            let response = service.client().get(service.url(&path)).timeout(SOON).send().await?.error_for_status()?;
            let text = response.text().await?;
            took.push(clock.monotonic() - began);
            ensure!(text == "x".repeat(1000), "{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(took)
    };
    let mut took: Vec<Duration> = try_join_all((0..READERS).map(reader)).await?.into_iter().flatten().collect();
    took.sort();
    Ok(took)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_while_redis_is_stopped_silent_or_slow_and_all_heals() -> Result<()> {
    let mut redis = Redis::builder().password("sesame").start().await?;
    let proxy = FaultProxy::in_front_of(redis.port()).await?;
    let service = drill::builder()?.env("REDIS_URL", redis.url_at(proxy.port())).start().await?;
    cache_is(&service, "healthy").await?;
    let took = read(&service).await?;
    println!("well: p50 {:?}, p99 {:?}", percentile(&took, 50), percentile(&took, 99));
    for fault in ["stopped", "silent", "slow", "unreachable"] {
        match fault {
            "stopped" => drop(redis.stop().await?),
            "silent" => proxy.blackhole(),
            "slow" => proxy.delay(TIMEOUT * 3),
            _ => proxy.take_down(),
        }
        let took = read(&service).await?;
        let (p50, p99, longest) = (percentile(&took, 50), percentile(&took, 99), took[took.len() - 1]);
        println!("{fault}: p50 {p50:?}, p99 {p99:?}, longest {longest:?}");
        ensure!(longest < LONGEST, "{fault}: {longest:?}");
        cache_is(&service, "degraded").await?;
        match fault {
            "stopped" => redis.start_again().await?,
            _ => proxy.heal(),
        }
        cache_is(&service, "healthy").await?;
        read(&service).await?;
    }
    let metrics = Exposition::parse(&service.metrics().await?)?;
    ensure!(metrics.sum("cache_connection_errors", &[("cache_type", "redis")]) > 0.0, "failures are counted");
    let stored = redis.cli(&["DBSIZE"]).await?.parse::<usize>().context("a number")?;
    ensure!(stored >= READERS * 5, "{stored} keys: the cache is used again");
    Ok(())
}
