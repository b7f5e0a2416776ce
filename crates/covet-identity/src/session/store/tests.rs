//! The rules of a store, on each of the two; on Redis by itself and as a cluster.

use std::sync::Arc;
use std::time::Duration;

use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, CacheParts};
use covet_core::clock::Clock;
use covet_telemetry::metrics::Registry;
use covet_testkit::{Redis, RedisCluster};

use super::*;
use crate::session::sessions::timestamp;
use crate::session::token::SessionToken;

/// A moment. Redis' own clock is another; it only takes away keys that nobody needs any longer.
pub(super) const NOW: i64 = 1_800_000_000_000;
const SECOND: i64 = 1000;

/// A store at this address, apart from those of other names.
async fn store_at(url: &str, service: &str) -> Arc<Store> {
    let parts = CacheParts {
        settings: &CacheSettings { timeout: Duration::from_secs(5), ..CacheSettings::at(url) },
        service,
        clock: &Clock::system(),
        metrics: &Registry::new(),
    };
    let redis = Cache::connect(parts).await.unwrap().redis().unwrap().clone();
    Arc::new(Store::Redis(RedisStore::new(redis, &Registry::new())))
}

pub(super) fn place(owner: u128, id: u128) -> Place {
    Place { owner: Owner::of_user(Uuid::from_u128(owner)), id: Uuid::from_u128(id) }
}

/// A session of this user's that was last used now and ends then.
pub(super) fn session(user: Option<u128>, expires: i64) -> Stored {
    let about = About {
        roles: Vec::new(),
        user: user.map(Uuid::from_u128),
        created_at: timestamp(NOW),
        ends_at: timestamp(expires),
        user_agent: Some("Firefox \"quoted\"".to_owned()),
        address: None,
    };
    let secret = secret();
    Stored {
        secret,
        about,
        times: Times { used: NOW, expires },
        contents: Contents { version: 1, json: r#"{"a":1}"#.to_owned() },
    }
}

fn secret() -> SecretHash {
    SessionToken::generate(Owner::nobody(), &Clock::system()).secret_hash()
}

fn used(session: Stored, used: i64) -> Stored {
    let times = Times { used, ..session.times };
    Stored { times, ..session }
}

/// Runs each rule on memory and on a Redis of its own, and all of them on one cluster.
macro_rules! on_every_store {
    ($($rule:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $rule() {
                rules::$rule(Arc::new(Store::Memory(MemoryStore::new()))).await;
                let redis = Redis::start().await.unwrap();
                rules::$rule(store_at(&redis.url(), "shop").await).await;
            }
        )*

        #[tokio::test]
        async fn the_rules_hold_on_a_cluster_too() {
            let cluster = RedisCluster::start().await.unwrap();
            $(rules::$rule(store_at(&cluster.url(), stringify!($rule)).await).await;)*
        }
    };
}

on_every_store! {
    what_is_opened_is_found_until_it_ends,
    use_prolongs_a_session_and_never_brings_one_back,
    a_change_of_an_old_version_is_told_the_new_one,
    of_many_changes_at_once_each_is_made_once,
    a_secret_is_replaced_once,
    a_users_sessions_are_listed_and_ended_together,
    one_too_many_ends_the_one_least_recently_used,
    only_users_sessions_count,
}

mod rules {
    use super::*;

    pub(super) async fn what_is_opened_is_found_until_it_ends(store: Arc<Store>) {
        let stored = session(Some(1), NOW + 1000 * SECOND);
        store.open(place(1, 10), stored.clone(), NOW, 9).await.unwrap();
        let found = store.load(place(1, 10), NOW + 999 * SECOND).await.unwrap().unwrap();
        assert_eq!((found.secret, &found.about, found.times), (stored.secret, &stored.about, stored.times));
        assert_eq!(found.contents, stored.contents);
        assert!(store.load(place(1, 10), NOW + 1000 * SECOND).await.unwrap().is_none());
        assert!(store.load(place(1, 11), NOW).await.unwrap().is_none());
        assert!(store.load(place(2, 10), NOW).await.unwrap().is_none());

        assert!(store.end(place(1, 10)).await.unwrap());
        assert!(!store.end(place(1, 10)).await.unwrap());
        assert!(store.load(place(1, 10), NOW).await.unwrap().is_none());
    }

    pub(super) async fn use_prolongs_a_session_and_never_brings_one_back(store: Arc<Store>) {
        store.open(place(1, 10), session(Some(1), NOW + 1000 * SECOND), NOW, 9).await.unwrap();
        let later = Times { used: NOW + 500 * SECOND, expires: NOW + 1500 * SECOND };
        assert!(store.touch(place(1, 10), later, NOW + 500 * SECOND, true).await.unwrap());
        assert_eq!(store.load(place(1, 10), NOW + 1499 * SECOND).await.unwrap().unwrap().times, later);
        assert_eq!(store.count(NOW + 1499 * SECOND).await.unwrap(), 1);
        assert_eq!(store.count(NOW + 1500 * SECOND).await.unwrap(), 0);

        store.end(place(1, 10)).await.unwrap();
        assert!(!store.touch(place(1, 10), later, NOW + 500 * SECOND, true).await.unwrap());
        let contents = Contents { version: 2, json: "{}".to_owned() };
        assert_eq!(store.write(place(1, 10), 1, &contents).await.unwrap(), Written::Gone);
        assert!(!store.renew(place(1, 10), secret(), secret()).await.unwrap());
        assert!(store.load(place(1, 10), NOW).await.unwrap().is_none());
        assert_eq!(store.count(NOW).await.unwrap(), 0);
    }

    pub(super) async fn a_change_of_an_old_version_is_told_the_new_one(store: Arc<Store>) {
        store.open(place(1, 10), session(Some(1), NOW + 1000 * SECOND), NOW, 9).await.unwrap();
        let second = Contents { version: 2, json: r#"{"b":2}"#.to_owned() };
        assert_eq!(store.write(place(1, 10), 1, &second).await.unwrap(), Written::Done);
        let other = Contents { version: 2, json: r#"{"c":3}"#.to_owned() };
        assert_eq!(store.write(place(1, 10), 1, &other).await.unwrap(), Written::Newer(second.clone()));
        assert_eq!(store.load(place(1, 10), NOW).await.unwrap().unwrap().contents, second);
    }

    pub(super) async fn of_many_changes_at_once_each_is_made_once(store: Arc<Store>) {
        let first =
            Stored { contents: Contents { version: 1, json: "0".to_owned() }, ..session(Some(1), NOW + 1000 * SECOND) };
        store.open(place(1, 10), first, NOW, 9).await.unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let mut before = store.load(place(1, 10), NOW).await.unwrap().unwrap().contents;
                    loop {
                        let json = (before.json.parse::<u32>().unwrap() + 1).to_string();
                        let after = Contents { version: before.version + 1, json };
                        match store.write(place(1, 10), before.version, &after).await.unwrap() {
                            Written::Done => return,
                            Written::Newer(newer) => before = newer,
                            Written::Gone => panic!("nobody has ended it"),
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(store.load(place(1, 10), NOW).await.unwrap().unwrap().contents.json, "20");
    }

    pub(super) async fn a_secret_is_replaced_once(store: Arc<Store>) {
        let stored = session(Some(1), NOW + 1000 * SECOND);
        store.open(place(1, 10), stored.clone(), NOW, 9).await.unwrap();
        let (second, third) = (secret(), secret());
        assert!(store.renew(place(1, 10), stored.secret, second).await.unwrap());
        assert!(!store.renew(place(1, 10), stored.secret, third).await.unwrap());
        let found = store.load(place(1, 10), NOW).await.unwrap().unwrap();
        assert_eq!((found.secret, found.contents), (second, stored.contents));
    }

    pub(super) async fn a_users_sessions_are_listed_and_ended_together(store: Arc<Store>) {
        for (owner, id, expires) in [
            (1, 10, NOW + 10 * SECOND),
            (1, 11, NOW + 1000 * SECOND),
            (1, 12, NOW + 1000 * SECOND),
            (2, 20, NOW + 1000 * SECOND),
        ] {
            store.open(place(owner, id), session(Some(owner), expires), NOW, 9).await.unwrap();
        }
        let owner = place(1, 0).owner;
        let ids = async |now| {
            let mut ids: Vec<_> =
                store.list(owner, now).await.unwrap().iter().map(|listed| listed.id.as_u128()).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(NOW).await, [10, 11, 12]);
        assert_eq!(ids(NOW + 10 * SECOND).await, [11, 12]);
        let listed = store.list(owner, NOW + 10 * SECOND).await.unwrap();
        assert_eq!(listed[0].about, session(Some(1), NOW + 1000 * SECOND).about);
        assert_eq!(store.count(NOW + 10 * SECOND).await.unwrap(), 3);

        assert_eq!(store.end_all(owner, Some(Uuid::from_u128(11)), NOW + 10 * SECOND).await.unwrap(), 1);
        assert_eq!(ids(NOW + 10 * SECOND).await, [11]);
        assert_eq!(store.end_all(owner, None, NOW + 10 * SECOND).await.unwrap(), 1);
        assert_eq!(store.end_all(owner, None, NOW + 10 * SECOND).await.unwrap(), 0);
        assert_eq!(store.count(NOW + 10 * SECOND).await.unwrap(), 1);
        assert!(store.load(place(2, 20), NOW).await.unwrap().is_some());
    }

    pub(super) async fn one_too_many_ends_the_one_least_recently_used(store: Arc<Store>) {
        store
            .open(place(1, 10), used(session(Some(1), NOW + 9000 * SECOND), NOW - 5 * SECOND), NOW - 5 * SECOND, 3)
            .await
            .unwrap();
        store
            .open(place(1, 11), used(session(Some(1), NOW + 1000 * SECOND), NOW - 9 * SECOND), NOW - 9 * SECOND, 3)
            .await
            .unwrap();
        store
            .open(place(1, 12), used(session(Some(1), NOW + 1000 * SECOND), NOW - SECOND), NOW - SECOND, 3)
            .await
            .unwrap();
        store
            .open(place(2, 20), used(session(Some(2), NOW + 1000 * SECOND), NOW - 99 * SECOND), NOW - 99 * SECOND, 3)
            .await
            .unwrap();
        store.open(place(1, 13), session(Some(1), NOW + 1000 * SECOND), NOW, 3).await.unwrap();
        assert!(store.load(place(1, 11), NOW).await.unwrap().is_none());
        for kept in [place(1, 10), place(1, 12), place(1, 13), place(2, 20)] {
            assert!(store.load(kept, NOW).await.unwrap().is_some(), "{kept:?}");
        }
        assert_eq!(store.count(NOW).await.unwrap(), 4);
    }

    pub(super) async fn only_users_sessions_count(store: Arc<Store>) {
        store.open(place(1, 10), session(None, NOW + 1000 * SECOND), NOW, 9).await.unwrap();
        assert!(
            store.touch(place(1, 10), Times { used: NOW, expires: NOW + 2000 * SECOND }, NOW, false).await.unwrap()
        );
        assert_eq!(store.count(NOW).await.unwrap(), 0);
        for user in 0..200 {
            store.open(place(user, 1000 + user), session(Some(user), NOW + 1000 * SECOND), NOW, 9).await.unwrap();
        }
        assert_eq!(store.count(NOW).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn in_redis_everything_has_a_time_to_live_and_nothing_tells_the_secret_or_the_user() {
    let redis = Redis::start().await.unwrap();
    let store = store_at(&redis.url(), "shop").await;
    let user = Uuid::from_u128(0x1234_5678);
    let token = SessionToken::generate(Owner::of_user(user), &Clock::system());
    let stored = Stored { secret: token.secret_hash(), ..session(Some(user.as_u128()), NOW + 60_000) };
    store.open(token.place, stored, NOW, 9).await.unwrap();
    store.open(place(9, 9), session(None, NOW + 60_000), NOW, 9).await.unwrap();

    let keys = redis.cli(&["KEYS", "*"]).await.unwrap();
    assert_eq!(keys.lines().count(), 3, "{keys}");
    assert!(!keys.contains(&user.to_string()) && !keys.contains(&user.simple().to_string()), "{keys}");
    let secret = &token.encode()[43..];
    for key in keys.lines() {
        assert!(key.starts_with("shop:session:{"), "{key}");
        let left: i64 = redis.cli(&["PTTL", key]).await.unwrap().trim_start_matches("(integer) ").parse().unwrap();
        assert!((1..=60_000).contains(&left), "{key}: {left}");
        if redis.cli(&["TYPE", key]).await.unwrap() == "hash" {
            let fields = redis.cli(&["HGETALL", key]).await.unwrap();
            assert!(!fields.contains(secret), "{fields}");
        }
    }
    store.end(token.place).await.unwrap();
    store.end(place(9, 9)).await.unwrap();
    assert_eq!(redis.cli(&["DBSIZE"]).await.unwrap().trim_start_matches("(integer) "), "0");
}

#[tokio::test]
async fn without_redis_every_operation_says_so() {
    let mut redis = Redis::start().await.unwrap();
    let store = store_at(&redis.url(), "shop").await;
    store.open(place(1, 10), session(Some(1), NOW + 1000 * SECOND), NOW, 9).await.unwrap();
    redis.kill9().await.unwrap();
    assert!(store.load(place(1, 10), NOW).await.unwrap_err().is_retryable());
    assert!(store.end(place(1, 10)).await.unwrap_err().is_retryable());
    assert!(store.count(NOW).await.unwrap_err().is_retryable());
}
