//! Rate limits of several instances with one Redis, and without it.

use std::time::Duration;

use anyhow::Result;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::scrape::{scrape, scrape_until};
use covet_system_tests::{SOON, drill};
use covet_testkit::{FaultProxy, Redis, RedisCluster, Service, ServiceBuilder, wait_until};
use futures_util::future::try_join_all;
use tokio::time::Instant;

const SWITCH: &str = "COVET_RATE_LIMIT__ENABLED";

/// A service with limits and this Redis, patient on a busy machine.
fn with_redis(builder: ServiceBuilder, url: impl Into<String>) -> ServiceBuilder {
    builder.without_env(SWITCH).env("REDIS_URL", url).env("COVET_CACHE__TIMEOUT", "5s")
}

async fn three(url: &str) -> Result<Vec<Service>> {
    try_join_all((0..3).map(async |_| anyhow::Ok(with_redis(drill::builder()?, url).start().await?))).await
}

/// Statuses of so many requests, one after the other.
async fn get(port: u16, times: usize) -> Result<Vec<u16>> {
    let mut connection = Connection::open(port).await?;
    let mut statuses = Vec::new();
    for _ in 0..times {
        connection.send_get("/hello").await?;
        statuses.push(connection.response().await?.status);
    }
    Ok(statuses)
}

fn passed(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 200).count()
}

async fn counted_local(service: &Service) -> Result<f64> {
    Ok(scrape(service).await?.sum("rate_limit_local_total", &[]))
}

#[tokio::test]
async fn three_instances_let_exactly_a_hundred_through_in_total() -> Result<()> {
    let redis = Redis::start().await?;
    let services = three(&redis.url()).await?;
    let began = Instant::now();
    let statuses = try_join_all(services.iter().map(|service| get(service.port(), 60))).await?.concat();
    assert!(began.elapsed() < Duration::from_secs(60), "all within the minute");
    assert_eq!((passed(&statuses), statuses.len()), (100, 180));
    for service in &services {
        let mut connection = Connection::open(service.port()).await?;
        connection.send_get("/hello").await?;
        let refused = connection.response().await?;
        assert_eq!((refused.status, refused.header("ratelimit-remaining")), (429, Some("0")));
        let wait: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(counted_local(service).await?, 0.0);
    }
    // Whoever is told of one instance is another client of none.
    let mut other = Connection::open_from("127.0.0.2".parse()?, services[1].port()).await?;
    other.send_get("/hello").await?;
    assert_eq!(other.response().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_known_to_be_refused_costs_redis_nothing_and_is_let_in_when_it_was_told() -> Result<()> {
    let redis = Redis::start().await?;
    let short = with_redis(drill::builder()?, redis.url());
    let short = short.env("COVET_RATE_LIMIT__PER_MINUTE", "60").env("COVET_RATE_LIMIT__BURST", "3");
    let service = short.start().await?;
    assert_eq!(get(service.port(), 4).await?, [200, 200, 200, 429]);
    let calls = async || -> Result<u64> {
        let stats = redis.cli(&["INFO", "commandstats"]).await?;
        let of = |name: &str| -> Option<u64> {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")))?;
            line.split(',').next()?.parse().ok()
        };
        Ok(of("evalsha").unwrap_or(0) + of("eval").unwrap_or(0))
    };
    let before = calls().await?;
    let statuses = get(service.port(), 200).await?;
    let asked = calls().await? - before;
    let let_in = passed(&statuses) as u64;
    // On a machine that is busy for seconds some may be let in, and each refusal after one of them is asked for.
    assert!(asked <= 2 * let_in + 1, "{asked} calls for 200 requests, of which {let_in} were let in");
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/hello").await?;
    let refused = connection.response().await?;
    if refused.status == 429 {
        let wait = refused.header("retry-after").unwrap_or_default().parse()?;
        tokio::time::sleep(Duration::from_secs(wait)).await;
        assert_eq!(get(service.port(), 1).await?, [200]);
    }
    Ok(())
}

#[tokio::test]
async fn without_redis_each_instance_counts_alone_and_together_again_when_it_is_back() -> Result<()> {
    let mut redis = Redis::start().await?;
    let services = three(&redis.url()).await?;
    assert_eq!(get(services[0].port(), 1).await?, [200]);
    redis.kill9().await?;
    for service in &services {
        // None fails for it.
        let statuses = get(service.port(), 120).await?;
        assert_eq!(passed(&statuses), 100, "each by its own count: {statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 429)));
        assert!(counted_local(service).await? >= 100.0);
    }
    redis.start_again().await?;
    // A client of whom nobody knows anything.
    let mut other = 2_u8;
    wait_until("the instances to ask Redis again", SOON, async || {
        other += 1;
        let before = counted_local(&services[0]).await.map_err(|error| error.to_string())?;
        let source = std::net::Ipv4Addr::new(127, 0, 0, other);
        let mut connection = Connection::open_from(source, services[0].port()).await.map_err(|e| e.to_string())?;
        connection.send_get("/hello").await.map_err(|error| error.to_string())?;
        let status = connection.response().await.map_err(|error| error.to_string())?.status;
        let after = counted_local(&services[0]).await.map_err(|error| error.to_string())?;
        if status == 200 && before == after { Ok(()) } else { Err(format!("{status}, {before}, {after}")) }
    })
    .await?;
    let keys = redis.cli(&["KEYS", "drill-service:rate_limit:*"]).await?;
    assert!(keys.contains("{127.0.0."), "{keys}");
    Ok(())
}

#[tokio::test]
async fn a_redis_that_does_not_answer_costs_a_request_its_time_limit_at_most_and_then_nothing() -> Result<()> {
    let redis = Redis::start().await?;
    let proxy = FaultProxy::in_front_of(redis.port()).await?;
    let url = redis.url_at(proxy.port());
    let service = with_redis(drill::builder()?, url).env("COVET_CACHE__TIMEOUT", "200ms").start().await?;
    assert_eq!(get(service.port(), 1).await?, [200]);
    proxy.blackhole();
    let began = Instant::now();
    let statuses = get(service.port(), 90).await?;
    assert_eq!(passed(&statuses), 90);
    // Some wait until the breaker opens, one now and then asks whether it is back.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} for 90 requests", began.elapsed());
    scrape_until(&service, "requests to be counted here", |now| now.sum("rate_limit_local_total", &[]) >= 90.0).await?;
    proxy.heal();
    Ok(())
}

#[tokio::test]
async fn on_a_cluster_all_limits_of_a_client_are_asked_in_one_call() -> Result<()> {
    let cluster = RedisCluster::start().await?;
    let service = with_redis(Service::builder(), cluster.url()).start().await?;
    let wrong = serde_json::json!({"email": "nobody@covet.example", "password": "whatever it may be"});
    for expected in [401; 10].into_iter().chain([429]) {
        let answer = service.client().post(service.url("/api/auth/login")).json(&wrong).send().await?;
        assert_eq!(answer.status(), expected);
    }
    assert_eq!(counted_local(&service).await?, 0.0);
    let read = service.client().get(service.url("/api/notes")).send().await?;
    assert_eq!(read.headers()["ratelimit-remaining"].to_str()?, "89");
    Ok(())
}

#[tokio::test]
async fn instances_that_are_not_to_share_do_not() -> Result<()> {
    let redis = Redis::start().await?;
    let service = with_redis(drill::builder()?, redis.url()).env("COVET_RATE_LIMIT__SHARED", "false").start().await?;
    assert_eq!(passed(&get(service.port(), 101).await?), 100);
    assert_eq!(redis.cli(&["KEYS", "*rate_limit*"]).await?.trim(), "");
    Ok(())
}
