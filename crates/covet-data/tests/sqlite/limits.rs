//! Time limits, queues, abandoned work and panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use covet_data::{Error, params};
use serde::{Deserialize, Deserializer};

use super::support::{ENDLESS, Fixture, INSERT, THINGS, eventually};

#[tokio::test]
async fn a_statement_that_runs_too_long_is_interrupted() {
    let fixture = Fixture::with(|settings| settings.statement_timeout = Duration::from_millis(50)).await;
    fixture.run(THINGS).await;
    let read = fixture.db.read().one::<i64>(ENDLESS, params![]).await;
    assert!(matches!(&read, Err(Error::Timeout { setting, .. }) if setting.contains("STATEMENT_TIMEOUT")), "{read:?}");
    let endless = format!("INSERT INTO things (name) {}", ENDLESS.replace("count(*)", "i"));
    let write = fixture.db.write().execute(&endless, params![]).await;
    assert!(matches!(&write, Err(error @ Error::Timeout { .. }) if error.is_retryable()), "{write:?}");
    fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
    assert_eq!(fixture.names().await, ["a"]);
}

#[tokio::test]
async fn a_read_nobody_waits_for_is_interrupted() {
    let fixture = Fixture::new().await;
    let db = fixture.db.clone();
    let read = tokio::spawn(async move { db.read().one::<i64>(ENDLESS, params![]).await });
    eventually("the read runs", async || fixture.db.connections().active == 1).await;
    read.abort();
    eventually("its connection is free", async || fixture.db.connections().active == 0).await;
}

#[tokio::test]
async fn a_slow_read_does_not_hold_up_the_others() {
    let fixture = Fixture::things().await;
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.read().one::<i64>(ENDLESS, params![]).await })
        })
        .collect();
    eventually("ten connections are busy", async || fixture.db.connections().active == 10).await;
    assert!(fixture.names().await.is_empty());
    slow.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn connections_beyond_the_minimum_close_when_idle() {
    let fixture = Fixture::with(|settings| settings.idle_timeout = Duration::from_millis(50)).await;
    assert_eq!(fixture.db.connections().idle, 5);
    let slow: Vec<_> = (0..8)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.read().one::<i64>(ENDLESS, params![]).await })
        })
        .collect();
    eventually("eight are busy", async || fixture.db.connections().active == 8).await;
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("five are left", async || {
        let connections = fixture.db.connections();
        connections.active == 0 && connections.idle == 5
    })
    .await;
    assert_eq!(fixture.db.read().one::<i64>("SELECT 1", params![]).await.unwrap(), 1);
}

#[tokio::test]
async fn the_pool_does_not_grow_beyond_its_maximum_and_who_waits_too_long_is_told() {
    let fixture = Fixture::with(|settings| {
        (settings.pool_min, settings.pool_max) = (2, 3);
        settings.acquire_timeout = Duration::from_millis(100);
    })
    .await;
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.read().one::<i64>(ENDLESS, params![]).await })
        })
        .collect();
    eventually("both readers are busy", async || fixture.db.connections().active == 2).await;
    let waited = fixture.db.read().one::<i64>("SELECT 1", params![]).await;
    assert!(
        matches!(&waited, Err(Error::Timeout { setting, .. }) if setting.contains("ACQUIRE_TIMEOUT")),
        "{waited:?}"
    );
    assert_eq!(fixture.db.connections().active, 2);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("a reader is free", async || fixture.db.read().one::<i64>("SELECT 1", params![]).await.is_ok()).await;
}

#[tokio::test]
async fn who_waits_too_long_for_the_writer_is_told_and_nothing_is_written() {
    let fixture = Fixture::with(|settings| settings.acquire_timeout = Duration::from_millis(50)).await;
    fixture.run(THINGS).await;
    let transaction = fixture.db.begin().await.unwrap();
    let waited = fixture.db.write().execute(INSERT, params!["late"]).await;
    assert!(matches!(&waited, Err(Error::Timeout { .. })), "{waited:?}");
    assert!(matches!(fixture.db.begin().await, Err(Error::Timeout { .. })));
    transaction.commit().await.unwrap();
    fixture.db.write().execute(INSERT, params!["next"]).await.unwrap();
    assert_eq!(fixture.names().await, ["next"]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_abandoned_work_does_not_fill_it() {
    let fixture = Fixture::with(|settings| settings.queue_limit = 3).await;
    fixture.run(THINGS).await;
    let transaction = fixture.db.begin().await.unwrap();
    let insert = |name: &'static str| {
        let db = fixture.db.clone();
        tokio::spawn(async move { db.write().execute(INSERT, params![name]).await })
    };
    let waiting = [insert("a"), insert("b"), insert("c")];
    eventually("three wait", async || fixture.db.connections().waiting == 3).await;
    let refused = fixture.db.write().execute(INSERT, params!["d"]).await;
    assert!(matches!(&refused, Err(error @ Error::Overloaded { limit: 3 }) if error.is_retryable()), "{refused:?}");

    waiting[1].abort();
    eventually("two wait", async || fixture.db.connections().waiting == 2).await;
    let next = insert("e");
    eventually("three wait again", async || fixture.db.connections().waiting == 3).await;
    transaction.rollback().await;
    next.await.unwrap().unwrap();
    // What was abandoned before it began was not done.
    assert_eq!(fixture.names().await, ["a", "c", "e"]);
}

#[tokio::test]
async fn a_write_that_has_begun_is_carried_through_when_its_caller_leaves() {
    let fixture = Fixture::things().await;
    let slow = "INSERT INTO things (name) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE \
                i < 300000) SELECT max(i) FROM n";
    eventually("the table is made", async || fixture.db.connections().active == 0).await;
    let db = fixture.db.clone();
    let write = tokio::spawn(async move { db.write().execute(slow, params![]).await });
    eventually("the write runs", async || fixture.db.connections().active == 1).await;
    write.abort();
    eventually("the write is done", async || fixture.db.connections().active == 0).await;
    assert_eq!(fixture.names().await, ["300000"]);
}

/// Panics when it is made of a row.
#[derive(Debug)]
struct Bomb;

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_panic_on_a_database_thread_reaches_its_caller_and_nobody_else() {
    let fixture = Fixture::things().await;
    for _ in 0..10 {
        let read = fixture.db.read().one::<Bomb>("SELECT 1", params![]).await;
        assert!(matches!(read, Err(Error::Panicked)));
    }
    let write = fixture.db.write().one::<Bomb>("INSERT INTO things (name) VALUES ('a') RETURNING id", params![]).await;
    assert!(matches!(write, Err(Error::Panicked)));
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["b"]).await.unwrap();
    assert!(matches!(transaction.one::<Bomb>("SELECT 1", params![]).await, Err(Error::Panicked)));
    // Nobody knows what the statement has done.
    assert!(matches!(transaction.commit().await, Err(Error::TransactionOver(_))));
    assert!(!fixture.names().await.contains(&"b".to_owned()));
    fixture.db.write().execute(INSERT, params!["c"]).await.unwrap();
    assert!(fixture.names().await.contains(&"c".to_owned()));
}

#[tokio::test]
async fn a_panic_in_a_read_done_in_place_leaves_the_connection_usable() {
    #[derive(Debug)]
    struct SomeBomb;
    impl<'de> Deserialize<'de> for SomeBomb {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            assert_ne!(i64::deserialize(deserializer)?, 13, "on purpose");
            Ok(Self)
        }
    }
    let fixture = Fixture::new().await;
    let sql = "SELECT $1 + 0";
    for n in 0..13 {
        fixture.db.read().one::<SomeBomb>(sql, params![n]).await.unwrap();
    }
    let db = fixture.db.clone();
    let task = tokio::spawn(async move { db.read().one::<SomeBomb>(sql, params![13]).await.map(drop) });
    match task.await {
        Err(panic) => assert!(panic.is_panic()),
        Ok(outcome) => assert!(matches!(outcome, Err(Error::Panicked))),
    }
    for n in 14..40 {
        fixture.db.read().one::<SomeBomb>(sql, params![n]).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_that_is_quick_for_one_value_and_endless_for_another_is_moved_to_a_thread() {
    let fixture = Fixture::with(|settings| settings.statement_timeout = Duration::from_millis(300)).await;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT count(*) FROM n";
    for _ in 0..50 {
        assert_eq!(fixture.db.read().one::<i64>(sql, params![3]).await.unwrap(), 3);
    }
    // In place it would be cut short at once; that is not what the caller sees.
    let count: i64 = fixture.db.read().one(sql, params![20_000]).await.unwrap();
    assert_eq!(count, 20_000);
    // Once quick again, the long one must not keep the runtime's thread: neither finish on it nor hold up this test.
    eventually("it is quick again", async || {
        let quick = fixture.db.read().one::<i64>(sql, params![3]).await.unwrap() == 3;
        quick && fixture.db.connections().active == 0
    })
    .await;
    let db = fixture.db.clone();
    let long = tokio::spawn(async move { db.read().one::<i64>(sql, params![30_000_000]).await });
    eventually("it runs on a thread", async || fixture.db.connections().active == 1).await;
    assert!(matches!(long.await.unwrap(), Err(Error::Timeout { .. })));
    assert_eq!(fixture.db.read().one::<i64>(sql, params![3]).await.unwrap(), 3);
}

#[tokio::test]
async fn a_loop_of_quick_reads_lets_others_have_the_thread() {
    let fixture = Fixture::new().await;
    let (db, reads) = (fixture.db.clone(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&reads);
    let reader = tokio::spawn(async move {
        loop {
            db.read().one::<i64>("SELECT 1", params![]).await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    // tokio's budget is 128 operations of a task at a time. The first read is not done in place.
    while reads.load(Ordering::Relaxed) < 10_000 {
        let before = reads.load(Ordering::Relaxed);
        tokio::task::yield_now().await;
        let at_a_time = reads.load(Ordering::Relaxed) - before;
        assert!(at_a_time <= 130, "{at_a_time}");
    }
    reader.abort();
}

#[test]
fn callers_on_several_runtimes_share_one_database() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = runtime().block_on(Fixture::things());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let db = fixture.db.clone();
            scope.spawn(move || {
                runtime().block_on(async {
                    for n in 0..50 {
                        db.write().execute(INSERT, params![format!("{worker}-{n}")]).await.unwrap();
                        let sql = "SELECT count(*) FROM things WHERE name LIKE $1";
                        let own: i64 = db.read().one(sql, params![format!("{worker}-%")]).await.unwrap();
                        assert_eq!(own, n + 1);
                    }
                });
            });
        }
    });
}
