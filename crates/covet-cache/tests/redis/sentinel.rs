//! Following Sentinel.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use covet_cache::redis::redis::cmd;
use covet_cache::{CacheOperation, Event, Keyspace, Ttl};
use covet_testkit::{RedisSentinel, wait_until};

use crate::support::{Load, Place, Report, SOON, get, now, refusals, set};

/// Ten times what is normal: on a busy machine a test is not about speed.
const LONGEST_GAP_SECONDS: f64 = 2.5;

static NAMES: Keyspace<String> = Keyspace::new("names", Ttl::Query);

fn place(redis: &RedisSentinel, url: String) -> Place {
    let sentinel_password = Some(redis.sentinel_password().to_owned());
    Place { sentinel_password, ..Place::at(url) }
}

/// With the time limits of production.
fn quick_place(redis: &RedisSentinel) -> Place {
    Place { quick: true, ..place(redis, redis.url()) }
}

/// How long nothing could be written.
struct Gap {
    from_loss_seconds: f64,
    /// Less than nothing if writes went on before the first sentinel said it.
    from_switch_seconds: f64,
}

impl Gap {
    /// Answers of a master that is gone may still be on their way.
    const ON_THEIR_WAY: Duration = Duration::from_millis(100);

    fn of(reports: &[Report], lost_at: SystemTime, switched_at: SystemTime) -> Self {
        let written = reports.iter().flat_map(|report| &report.written_at);
        let resumed_at = written.filter(|at| **at >= lost_at + Self::ON_THEIR_WAY).min().expect("a write");
        let seconds = |since: SystemTime| match resumed_at.duration_since(since) {
            Ok(later) => later.as_secs_f64(),
            Err(earlier) => -earlier.duration().as_secs_f64(),
        };
        Self { from_loss_seconds: seconds(lost_at), from_switch_seconds: seconds(switched_at) }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from_loss_seconds, from_switch_seconds } = self;
        write!(f, "{from_loss_seconds:.3} s from the loss, {from_switch_seconds:.3} s from +switch-master")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_resume_by_themselves_after_kill_9_of_the_master_and_it_comes_back_as_a_replica() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let redis = quick_place(&servers).redis().await;
    let load = Load::start(&redis);
    load.more(200).await;

    let lost = servers.master().await.unwrap();
    servers.kill9(lost).await.unwrap();
    let lost_at = now();
    let (heir, switched_at) = servers.switched_after(lost_at).await.unwrap();
    load.more(200).await;
    // Comes back as a master, in its own eyes, until the sentinels tell it otherwise.
    servers.start_again(lost).await.unwrap();
    servers.wait_whole().await.unwrap();
    load.more(200).await;

    let reports = load.stop().await;
    let gap = Gap::of(&reports, lost_at, switched_at);
    let (refused, slowest) = (refusals(&reports), reports.iter().map(|report| report.slowest).max().unwrap());
    println!("{gap}; {refused} refused, slowest {slowest:?}");
    assert!(gap.from_switch_seconds < LONGEST_GAP_SECONDS && refused > 0);
    // Nothing went to the former master: it would have been lost when it became a replica.
    for report in &reports {
        for (key, (acknowledged, _)) in &report.values {
            let value = wait_until("a read", SOON, async || get(&redis, key).await).await.unwrap();
            assert!(value.is_some_and(|value| value >= *acknowledged), "{key}");
        }
    }
    let mut masters = 0;
    for node in 0..3 {
        masters += usize::from(servers.cli(node, &["ROLE"]).await.unwrap().starts_with("master"));
    }
    assert_eq!(masters, 1, "the former one is a replica");
    assert_ne!(heir, lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_connections_move_when_the_master_is_changed_by_hand_and_nothing_is_refused_for_long() {
    let servers = RedisSentinel::start().await.unwrap();
    let redis = place(&servers, servers.url()).redis().await;
    let load = Load::start(&redis);
    load.more(50).await;
    let (old, before) = (servers.master().await.unwrap(), now());
    servers.sentinel_cli(0, &["SENTINEL", "FAILOVER", "mymaster"]).await.unwrap();
    let (new, switched_at) = servers.switched_after(before).await.unwrap();
    servers.wait_whole().await.unwrap();
    load.more(200).await;
    let reports = load.stop().await;
    let longest = reports.iter().map(|report| report.slowest).max().unwrap();
    println!(
        "{} refused, slowest {longest:?}; +switch-master after {:?}",
        refusals(&reports),
        switched_at.duration_since(before)
    );
    assert_ne!(old, new);
    for (key, (acknowledged, tried)) in reports.iter().flat_map(|report| &report.values) {
        let value = get(&redis, key).await.unwrap().unwrap_or_default();
        // A failover by hand loses nothing but what was under way.
        assert!(
            (*acknowledged..=*tried).contains(&value),
            "{key}: {value}, acknowledged {acknowledged}, tried {tried}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sentinel_in_the_url_is_enough_the_others_are_learnt_of() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let redis = place(&servers, servers.url_of(&[1])).redis().await;
    set(&redis, "key", 1).await.unwrap();
    // The one it came from is gone, and so is the master.
    servers.kill9_sentinel(1).await.unwrap();
    let before = now();
    servers.kill9(0).await.unwrap();
    servers.switched_after(before).await.unwrap();
    wait_until("a write", SOON, async || set(&redis, "key", 2).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_that_was_away_does_not_lead_back_to_the_former_master() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let user = ["ACL", "SETUSER", "ours", "on", ">password", "~*", "&*", "+@all"];
    for node in 0..3 {
        servers.cli(node, &user).await.unwrap();
    }
    let url = servers.url().replace("//:redis-password@", "//ours:password@");
    let redis = Place { url, ..quick_place(&servers) }.redis().await;
    // It sleeps through the failover.
    servers.kill9_sentinel(2).await.unwrap();
    let before = now();
    servers.kill9(0).await.unwrap();
    let (heir, _) = servers.switched_after(before).await.unwrap();
    wait_until("a write", SOON, async || set(&redis, "key", 1).await).await.unwrap();
    // Both are back with what they remember: a master, and somebody who believes in it.
    servers.start_again(0).await.unwrap();
    servers.cli(0, &user).await.unwrap();
    servers.start_sentinel_again(2).await.unwrap();
    let is_master = async || servers.cli(0, &["ROLE"]).await.unwrap().starts_with("master");
    let mut as_master = 0;
    for value in 2..100 {
        // Our connections, and not those of the sentinels.
        let _ = servers.cli(heir, &["CLIENT", "KILL", "USER", "ours"]).await;
        let was_master = is_master().await;
        if set(&redis, "key", value).await.is_ok() && was_master {
            let held = servers.cli(0, &["GET", "key"]).await.unwrap();
            // Later it is a replica, and has what is written to its master.
            assert!(held != value.to_string() || !is_master().await, "{value} was written to the former master");
            as_master += 1;
        }
    }
    println!("{as_master} writes while the former master said that it is one");
    servers.wait_whole().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_left_when_the_sentinels_have_another() {
    let servers = RedisSentinel::start().await.unwrap();
    let redis = quick_place(&servers).redis().await;
    let before = now();
    servers.pause(0).unwrap();
    servers.switched_after(before).await.unwrap();
    wait_until("a write", SOON, async || set(&redis, "key", 1).await).await.unwrap();
    servers.resume(0).unwrap();
    servers.wait_whole().await.unwrap();
    assert_eq!(wait_until("a read", SOON, async || get(&redis, "key").await).await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_read_from_when_asked_and_the_master_when_they_are_gone() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let redis = place(&servers, servers.url()).redis_with(|settings| settings.read_from_replicas = true).await;
    set(&redis, "key", 7).await.unwrap();
    servers.cli(0, &["WAIT", "2", "5000"]).await.unwrap();
    let read = async || redis.read::<Option<u64>>(CacheOperation::Get, cmd("GET").arg("key")).await;
    let gets = async |node: usize| {
        let said = servers.cli(node, &["INFO", "commandstats"]).await.unwrap();
        let line = said.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    wait_until("reads from both replicas", SOON, async || {
        assert_eq!(read().await.unwrap(), Some(7));
        let counts = (gets(1).await, gets(2).await);
        if counts.0 > 0 && counts.1 > 0 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await
    .unwrap();
    let of_master = gets(0).await;
    for _ in 0..20 {
        assert_eq!(read().await.unwrap(), Some(7));
    }
    assert_eq!(gets(0).await, of_master, "not while replicas are there");
    servers.kill9(1).await.unwrap();
    servers.kill9(2).await.unwrap();
    for _ in 0..20 {
        assert_eq!(read().await.unwrap(), Some(7));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sentinels_do_not_know_and_whom_they_do_not_let_in_is_told() {
    let servers = RedisSentinel::start().await.unwrap();
    let other = place(&servers, servers.url().replace("/mymaster/", "/other/")).redis().await;
    let error = wait_until("an error", SOON, async || match other.ping().await {
        Err(error @ covet_cache::Error::Refused(_)) => Ok(error.to_string()),
        other => Err(format!("{other:?}")),
    });
    let error = error.await.unwrap();
    assert!(error.contains("no master of the name other"), "{error}");
    let stranger = Place::at(servers.url()).redis().await;
    let error = stranger.ping().await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, covet_cache::Error::Refused(_)), "{error:?}");
    assert!(!error.to_string().contains("redis-password"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_with_the_documented_rights_are_enough() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let guide = include_str!("../../../../docs/guides/redis.md");
    let documented = |name: &str| {
        let line = guide.lines().find(|line| line.starts_with(&format!("ACL SETUSER {name} "))).expect("the command");
        line.split(' ').collect::<Vec<&str>>()
    };
    for number in 0..3 {
        servers.cli(number, &documented("shop")).await.unwrap();
        servers.sentinel_cli(number, &documented("shop-sentinel")).await.unwrap();
    }
    let url = servers.url().replace("//:redis-password@", "//shop:password@");
    let open = async || {
        let place = Place { sentinel_password: Some("other-password".to_owned()), ..Place::at(url.clone()) };
        place.open("shop", |settings| settings.sentinel_user = Some("shop-sentinel".to_owned())).await
    };
    let (one, two) = (open().await, open().await);
    let mut news = one.cache.pubsub().subscribe("news").await.unwrap();
    two.cache.pubsub().publish("news", "first".into()).await.unwrap();
    assert_eq!(news.next().await, Some(Event::Message("first".into())));
    let load = async || Ok::<_, Infallible>("ada".to_owned());
    let key = NAMES.key(1).tag("names");
    assert_eq!(*one.cache.get_or_load(&key, load).await.unwrap(), "ada");
    assert_eq!(two.cache.get(&key).await.unwrap().as_deref().map(String::as_str), Some("ada"));
    one.cache.invalidate(["names"]).await.unwrap();
    assert_eq!(two.cache.get(&key).await.unwrap(), None);
    assert_eq!(one.cache.redis().unwrap().info().await.len(), 1);
    // The switch is heard.
    let before = now();
    servers.kill9(0).await.unwrap();
    servers.switched_after(before).await.unwrap();
    wait_until("a write", SOON, async || one.cache.set(&key, "grace".to_owned()).await).await.unwrap();
}

/// How often the next test loses the master.
fn failovers() -> usize {
    let count = std::env::var_os("COVET_TEST_FAILOVERS").unwrap_or_else(|| "3".into());
    count.to_string_lossy().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: scripts/test redis-failover"]
async fn writes_resume_soon_after_switch_master_again_and_again() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let redis = quick_place(&servers).redis().await;
    let (mut from_loss, mut from_switch) = (Vec::new(), Vec::new());
    for turn in 1..=failovers() {
        let load = Load::start(&redis);
        load.more(200).await;
        let lost = servers.master().await.unwrap();
        servers.kill9(lost).await.unwrap();
        let lost_at = now();
        let (_, switched_at) = servers.switched_after(lost_at).await.unwrap();
        load.more(200).await;
        let reports = load.stop().await;
        refusals(&reports);
        let gap = Gap::of(&reports, lost_at, switched_at);
        println!("failover {turn}: {gap}");
        from_loss.push(gap.from_loss_seconds);
        from_switch.push(gap.from_switch_seconds);
        servers.start_again(lost).await.unwrap();
        servers.wait_whole().await.unwrap();
    }
    for (since, mut gaps) in [("the loss", from_loss), ("+switch-master", from_switch)] {
        gaps.sort_by(f64::total_cmp);
        let (count, longest) = (gaps.len(), gaps[gaps.len() - 1]);
        let percentile = |percent: usize| gaps[(count * percent).div_ceil(100) - 1];
        println!(
            "{count} failovers, from {since} to the first acknowledged write: p50 {:.3} s, p95 {:.3} s, longest {longest:.3} s",
            percentile(50),
            percentile(95),
        );
        assert!(since == "the loss" || longest < LONGEST_GAP_SECONDS);
    }
}
