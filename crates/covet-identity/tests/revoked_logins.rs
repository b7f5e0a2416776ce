//! Revoked logins of several instances, over a real Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

use std::time::Duration;

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheParts};
use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::settings::Section;
use covet_identity::settings::AuthSettings;
use covet_identity::token::{RevokedLogins, RevokedParts};
use covet_telemetry::metrics::Registry;
use covet_testkit::{Redis, eventually};
use uuid::Uuid;

struct Instance {
    revoked: RevokedLogins,
    metrics: Registry,
}

async fn instance(redis: &Redis) -> Instance {
    instance_with(redis, &AuthSettings::defaults(Environment::Development)).await
}

async fn instance_with(redis: &Redis, settings: &AuthSettings) -> Instance {
    let (metrics, clock) = (Registry::new(), Clock::system());
    let mut cache = CacheSettings::at(&redis.url());
    // A busy machine is no reason to fail.
    cache.timeout = Duration::from_secs(2);
    cache.connect_timeout = Duration::from_secs(5);
    let parts = CacheParts { settings: &cache, service: "shop", metrics: &metrics, clock: &clock };
    let cache = Cache::connect(parts).await.unwrap();
    let parts = RevokedParts { settings, cache: &cache, metrics: &metrics, clock };
    Instance { revoked: RevokedLogins::start(parts).await, metrics }
}

fn login(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

impl Instance {
    async fn hears_of(&self, number: u128) {
        eventually("the other instance's login", async || self.revoked.contains(login(number))).await;
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|found| found == line)
    }
}

#[tokio::test]
async fn what_one_instance_revokes_all_refuse_also_those_that_start_later() {
    let redis = Redis::start().await.unwrap();
    let (one, two) = (instance(&redis).await, instance(&redis).await);
    one.revoked.revoke(&[login(1), login(2)]).await;
    assert!(one.revoked.contains(login(1)) && !one.revoked.contains(login(3)));
    two.hears_of(1).await;
    two.hears_of(2).await;

    let late = instance(&redis).await;
    assert!(late.revoked.contains(login(1)) && late.revoked.contains(login(2)), "known when it has started");
    assert!(late.shows("app_auth_revoked_logins 2.0") && late.shows("app_auth_revocations_heard 1.0"));
}

#[tokio::test]
async fn more_logins_than_are_read_at_a_time_are_all_known_after_a_start() {
    let redis = Redis::start().await.unwrap();
    let one = instance(&redis).await;
    let logins: Vec<Uuid> = (0..12_000).map(login).collect();
    for some in logins.chunks(400) {
        one.revoked.revoke(some).await;
    }
    let late = instance(&redis).await;
    assert!(logins.iter().all(|login| late.revoked.contains(*login)));
}

#[tokio::test]
async fn the_set_in_redis_ends_with_its_logins_and_holds_no_more_than_its_bound() {
    let redis = Redis::start().await.unwrap();
    let settings = AuthSettings { revoked_logins: 1000, ..AuthSettings::defaults(Environment::Development) };
    let one = instance_with(&redis, &settings).await;
    let logins: Vec<Uuid> = (0..3000).map(login).collect();
    for some in logins.chunks(500) {
        one.revoked.revoke(some).await;
    }
    assert_eq!(redis.cli(&["ZCARD", "shop:auth:revoked_logins"]).await.unwrap().trim(), "1000");
    let left: u64 = redis.cli(&["TTL", "shop:auth:revoked_logins"]).await.unwrap().trim().parse().unwrap();
    let longest = settings.access_token_ttl + settings.clock_leeway + Duration::from_secs(60);
    assert!((1..=longest.as_secs()).contains(&left), "{left}");
}

#[tokio::test]
async fn what_is_revoked_while_redis_is_away_all_hear_when_it_is_back() {
    let mut redis = Redis::start().await.unwrap();
    let (one, two) = (instance(&redis).await, instance(&redis).await);
    one.revoked.revoke(&[login(1)]).await;
    two.hears_of(1).await;

    redis.kill9().await.unwrap();
    one.revoked.revoke(&[login(2)]).await;
    assert!(one.revoked.contains(login(2)), "its own instance needs no Redis");
    assert!(two.revoked.contains(login(1)), "what it has heard it does not forget");
    eventually("that it hears nothing", async || two.shows("app_auth_revocations_heard 0.0")).await;

    redis.start_again().await.unwrap();
    two.hears_of(2).await;
    eventually("that it hears again", async || two.shows("app_auth_revocations_heard 1.0")).await;
}
