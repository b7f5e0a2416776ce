//! Following a cluster.

use covet_cache::CacheOperation;
use covet_cache::redis::Script;
use covet_cache::redis::redis::cmd;
use covet_testkit::{RedisCluster, wait_until};

use crate::support::{Load, Place, SOON, get, refusals, set};

fn place(servers: &RedisCluster) -> Place {
    Place::at(servers.url())
}

/// With the time limits of production.
fn quick_place(servers: &RedisCluster) -> Place {
    Place { quick: true, ..place(servers) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_under_load_costs_retries_and_no_wrong_answer() {
    let servers = RedisCluster::start().await.unwrap();
    let redis = place(&servers).redis().await;
    let load = Load::start(&redis);
    load.more(500).await;
    // All keys of one writer's choice: each in its own slot.
    for number in 0..20 {
        let slot = servers.slot_of(&format!("writer:0:{number}")).await.unwrap();
        let from = servers.owner_of(slot).await.unwrap();
        let to = servers.owner_of((slot + 8192) % 16_384).await.unwrap();
        servers.begin_move(slot, from, to).await.unwrap();
        load.more(20).await;
        servers.end_move(slot, from, to).await.unwrap();
    }
    load.more(500).await;
    let reports = load.stop().await;
    assert_eq!(refusals(&reports), 0);
    for (key, (acknowledged, _)) in reports.iter().flat_map(|report| &report.values) {
        assert_eq!(get(&redis, key).await.unwrap(), Some(*acknowledged), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_under_load_is_replaced_and_no_answer_is_wrong() {
    let mut servers = RedisCluster::start().await.unwrap();
    let redis = quick_place(&servers).redis().await;
    let load = Load::start(&redis);
    load.more(500).await;
    let slot = servers.slot_of("writer:0:1").await.unwrap();
    let lost = servers.owner_of(slot).await.unwrap();
    // What was acknowledged a while ago has been replicated.
    wait_until("a write", SOON, async || set(&redis, "settled{writer:0:1}", 7).await).await.unwrap();
    servers.cli(lost, &["WAIT", "1", "5000"]).await.unwrap();
    servers.kill9(lost).await.unwrap();
    wait_until("somebody to notice", SOON, async || if redis.is_available() { Err("available") } else { Ok(()) })
        .await
        .unwrap();
    wait_until("a write to the slot", SOON, async || set(&redis, "{writer:0:1}", 1).await).await.unwrap();
    let settled = wait_until("a read", SOON, async || get(&redis, "settled{writer:0:1}").await);
    assert_eq!(settled.await.unwrap(), Some(7));
    servers.start_again(lost).await.unwrap();
    servers.wait_whole().await.unwrap();
    load.more(500).await;
    let reports = load.stop().await;
    println!("{} refused", refusals(&reports));
    for (key, (_, tried)) in reports.iter().flat_map(|report| &report.values) {
        // Replication is asynchronous: what was acknowledged in the last moment may be lost, and is older then.
        let value = wait_until("a read", SOON, async || get(&redis, key).await).await.unwrap();
        assert!(value.is_none_or(|value| value <= *tried), "{key}");
    }
    wait_until("all to be well", SOON, async || if redis.is_available() { Ok(()) } else { Err("not available") })
        .await
        .unwrap();
    wait_until("a ping", SOON, async || redis.ping().await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_left_when_its_replica_has_taken_over() {
    let servers = RedisCluster::start().await.unwrap();
    let redis = quick_place(&servers).redis().await;
    let owner = servers.owner_of(servers.slot_of("key").await.unwrap()).await.unwrap();
    wait_until("a write", SOON, async || set(&redis, "key", 1).await).await.unwrap();
    servers.pause(owner).unwrap();
    wait_until("a write", SOON, async || set(&redis, "key", 2).await).await.unwrap();
    servers.resume(owner).unwrap();
    servers.wait_whole().await.unwrap();
    assert_eq!(wait_until("a read", SOON, async || get(&redis, "key").await).await.unwrap(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_commands_go_to_several_nodes_and_answers_keep_their_order() {
    let servers = RedisCluster::start().await.unwrap();
    let redis = place(&servers).redis().await;
    let sets: Vec<_> = (0..100).map(|number| cmd("SET").arg(format!("key{number}")).arg(number).take()).collect();
    let answers: Vec<String> = redis.all(CacheOperation::Set, &sets).await.unwrap();
    assert!(answers.len() == 100 && answers.iter().all(|answer| answer == "OK"));
    // The map is old: this slot was moved since.
    let slot = servers.slot_of("key7").await.unwrap();
    let from = servers.owner_of(slot).await.unwrap();
    let to = servers.owner_of((slot + 8192) % 16_384).await.unwrap();
    servers.begin_move(slot, from, to).await.unwrap();
    servers.end_move(slot, from, to).await.unwrap();
    let sets: Vec<_> = (0..8).map(|number| cmd("SET").arg("key7").arg(number).take()).collect();
    redis.all::<String>(CacheOperation::Set, &sets).await.unwrap();
    let gets: Vec<_> = (0..100).map(|number| cmd("GET").arg(format!("key{number}")).take()).collect();
    let answers: Vec<u64> = redis.all(CacheOperation::Get, &gets).await.unwrap();
    assert_eq!(answers, (0..100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_runs_where_its_keys_are_and_is_loaded_there_once() {
    let servers = RedisCluster::start().await.unwrap();
    let redis = place(&servers).redis().await;
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for round in 1..=2 {
        for key in ["a", "b", "c", "d", "e", "f"] {
            let count: u64 =
                redis.script(CacheOperation::Increment, &script, &[key.as_bytes()], &[b"2"]).await.unwrap();
            assert_eq!(count, round * 2);
        }
    }
    let keys: [&[u8]; 2] = [b"a", b"b"];
    let error = redis.script::<u64>(CacheOperation::Increment, &script, &keys, &[b"2"]).await.unwrap_err();
    assert!(matches!(&error, covet_cache::Error::Refused(said) if said.contains("slot")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_in_the_url_is_enough() {
    let mut servers = RedisCluster::start().await.unwrap();
    let redis = Place::at(servers.url_of(&[4])).redis().await;
    for key in ["a", "b", "c", "d"] {
        set(&redis, key, 1).await.unwrap();
    }
    servers.kill9(4).await.unwrap();
    for key in ["a", "b", "c", "d"] {
        assert_eq!(get(&redis, key).await.unwrap(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_read_from_when_asked() {
    let servers = RedisCluster::start().await.unwrap();
    // A replica is not listed before others know that something was replicated to it.
    wait_until("replicas to be listed", SOON, async || {
        let said = servers.cli(0, &["CLUSTER", "SLOTS"]).await.unwrap();
        let listed = |node: usize| said.lines().any(|line| line == servers.port(node).to_string());
        if (0..6).all(listed) { Ok(()) } else { Err(said) }
    })
    .await
    .unwrap();
    let redis = place(&servers).redis_with(|settings| settings.read_from_replicas = true).await;
    set(&redis, "key", 7).await.unwrap();
    let owner = servers.owner_of(servers.slot_of("key").await.unwrap()).await.unwrap();
    servers.cli(owner, &["WAIT", "1", "5000"]).await.unwrap();
    let gets = async || {
        let mut sum = 0;
        for node in 0..6 {
            let said = servers.cli(node, &["INFO", "commandstats"]).await.unwrap();
            let line = said.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
            let count = line.map_or(0, |line| line.split(',').next().unwrap().parse::<u64>().unwrap());
            sum += if node == owner { 0 } else { count };
        }
        sum
    };
    wait_until("reads from a replica", SOON, async || {
        let read: Option<u64> = redis.read(CacheOperation::Get, cmd("GET").arg("key")).await.unwrap();
        assert_eq!(read, Some(7));
        if gets().await > 0 { Ok(()) } else { Err("none") }
    })
    .await
    .unwrap();
}
