//! Messages between instances, through losses.

use std::time::Duration;

use covet_cache::{Event, PubSub, Subscription};
use covet_testkit::{FaultProxy, RedisCluster, RedisSentinel, wait_until};

use crate::support::{Place, SOON};

async fn next(subscription: &mut Subscription) -> Event {
    tokio::time::timeout(SOON, subscription.next()).await.unwrap().unwrap()
}

/// Sends until one arrives; tells whether the subscriber had been told before that it may have missed some.
async fn arrives(from: &PubSub, at: &mut Subscription) -> bool {
    let mut missed = false;
    loop {
        let _ = from.publish(at.channel(), "again".into()).await;
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(50), at.next()).await {
            match event.unwrap() {
                Event::Missed => missed = true,
                Event::Message(message) if message == "again" => return missed,
                Event::Message(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_loss_subscribers_are_told_and_hear_again() {
    let server = covet_testkit::Redis::start().await.unwrap();
    let proxy = FaultProxy::in_front_of(server.port()).await.unwrap();
    let listener = Place { quick: true, ..Place::at(server.url_at(proxy.port())) }.open("test", |_| ()).await.cache;
    let sender = Place { quick: true, ..Place::at(server.url()) }.open("test", |_| ()).await.cache;
    let mut news = listener.pubsub().subscribe("news").await.unwrap();
    let mut other = listener.pubsub().subscribe("other").await.unwrap();
    sender.pubsub().publish("news", "first".into()).await.unwrap();
    assert_eq!(next(&mut news).await, Event::Message("first".into()));
    for way in ["reset", "down", "blackhole"] {
        match way {
            "reset" => proxy.reset(),
            "down" => proxy.take_down(),
            _ => proxy.blackhole(),
        }
        // Told when it is lost, before it is back.
        assert_eq!(next(&mut news).await, Event::Missed, "{way}");
        proxy.heal();
        tokio::time::timeout(SOON, arrives(sender.pubsub(), &mut news)).await.unwrap();
        assert!(tokio::time::timeout(SOON, arrives(sender.pubsub(), &mut other)).await.unwrap(), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_given_up_with_its_last_subscriber() {
    let server = covet_testkit::Redis::start().await.unwrap();
    let cache = Place::at(server.url())
        .open("test", |settings| settings.near_size = covet_core::settings::ByteSize::kibibytes(0))
        .await
        .cache;
    let channels = async || server.cli(&["PUBSUB", "CHANNELS", "test:channel:*"]).await.unwrap();
    let (one, two) = (cache.pubsub().subscribe("a").await.unwrap(), cache.pubsub().subscribe("a").await.unwrap());
    let _other = cache.pubsub().subscribe("b").await.unwrap();
    assert_eq!(channels().await.lines().count(), 2);
    drop((one, two));
    wait_until("the end of the channel", SOON, async || match channels().await.as_str() {
        "test:channel:b" => Ok(()),
        other => Err(other.to_owned()),
    })
    .await
    .unwrap();
    let clients = server.cli(&["CLIENT", "LIST", "TYPE", "PUBSUB"]).await.unwrap();
    assert_eq!(clients.lines().count(), 1, "one connection for all channels");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_made_while_redis_is_away_begins_with_missed() {
    let mut server = covet_testkit::Redis::start().await.unwrap();
    server.stop().await.unwrap();
    let cache = Place { quick: true, ..Place::at(server.url()) }.open("test", |_| ()).await.cache;
    let mut news = cache.pubsub().subscribe("news").await.unwrap();
    server.start_again().await.unwrap();
    assert_eq!(next(&mut news).await, Event::Missed);
    tokio::time::timeout(SOON, arrives(cache.pubsub(), &mut news)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_heard_again_after_a_failover() {
    let mut servers = RedisSentinel::start().await.unwrap();
    let sentinel_password = Some(servers.sentinel_password().to_owned());
    let place = Place { sentinel_password, quick: true, ..Place::at(servers.url()) };
    let (one, two) = (place.open("test", |_| ()).await.cache, place.open("test", |_| ()).await.cache);
    let mut news = one.pubsub().subscribe("news").await.unwrap();
    tokio::time::timeout(SOON, arrives(two.pubsub(), &mut news)).await.unwrap();
    servers.kill9(servers.master().await.unwrap()).await.unwrap();
    assert_eq!(next(&mut news).await, Event::Missed);
    tokio::time::timeout(SOON, arrives(two.pubsub(), &mut news)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_heard_again_when_a_node_of_the_cluster_is_gone() {
    let mut servers = RedisCluster::start().await.unwrap();
    let place = Place { quick: true, ..Place::at(servers.url()) };
    let (one, two) = (place.open("test", |_| ()).await.cache, place.open("test", |_| ()).await.cache);
    let mut news = one.pubsub().subscribe("news").await.unwrap();
    tokio::time::timeout(SOON, arrives(two.pubsub(), &mut news)).await.unwrap();
    let mut with = None;
    for node in 0..6 {
        let clients = servers.cli(node, &["CLIENT", "LIST", "TYPE", "PUBSUB"]).await.unwrap();
        with = with.or((!clients.is_empty()).then_some(node));
    }
    servers.kill9(with.expect("somebody listens somewhere")).await.unwrap();
    assert_eq!(next(&mut news).await, Event::Missed);
    tokio::time::timeout(SOON, arrives(two.pubsub(), &mut news)).await.unwrap();
}
