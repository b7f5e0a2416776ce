//! Statements of many callers behind one another, and that a slow one never holds up the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use covet_data::{Db, Error, Transaction, params};

use super::support::{Fixture, INSERT, THINGS, eventually};

const QUICK: &str = "SELECT count(*) FROM things WHERE id = $1";

/// Runs it until it is known to be quick.
async fn know(db: &Db) {
    for id in 0..20_i64 {
        let _: i64 = db.read().one(QUICK, params![id]).await.unwrap();
    }
}

fn now() -> Instant {
    Clock::system().monotonic()
}

#[tokio::test]
async fn quick_reads_are_on_their_way_together_on_few_connections() {
    let fixture = Fixture::things().await;
    know(&fixture.db).await;
    // On a busy machine the server itself may take long at times; so not at the first attempt perhaps.
    eventually("32 reads share two connections", async || {
        let reader = fixture.db.read();
        let mut reads: Vec<_> = (0..32_i64).map(|id| Box::pin(reader.one::<i64>(QUICK, params![id]))).collect();
        for read in &mut reads {
            let _ = futures_util::poll!(read);
        }
        let connections = fixture.db.connections();
        futures_util::future::join_all(reads).await;
        connections.active <= 2 && connections.waiting == 0
    })
    .await;
}

#[tokio::test]
async fn more_reads_at_once_than_the_pool_has_connections_are_all_answered() {
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (2, 3)).await;
    fixture.run(THINGS).await;
    let reads = (0..1_000_i64).map(|id| {
        let db = fixture.db.clone();
        async move { db.read().one::<i64>(QUICK, params![id]).await.unwrap() }
    });
    futures_util::future::join_all(reads).await;
    assert!(fixture.sessions("backend_type = 'client backend'").await <= 3);
}

#[tokio::test]
async fn a_slow_statement_never_holds_up_quick_ones() {
    let fixture = Fixture::things().await;
    know(&fixture.db).await;
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.read().one::<()>("SELECT pg_sleep(5)", params![]).await })
        })
        .collect();
    eventually("they run", async || fixture.db.connections().active >= 10 && fixture.db.connections().waiting == 0)
        .await;
    let started = now();
    for id in 0..200_i64 {
        let _: i64 = fixture.db.read().one(QUICK, params![id]).await.unwrap();
    }
    assert!(slow.iter().all(|slow| !slow.is_finished()), "200 reads took {:?}", now() - started);
    for slow in slow {
        slow.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_statement_that_was_always_quick_and_now_is_slow_holds_up_others_only_shortly() {
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (2, 20)).await;
    fixture.run(THINGS).await;
    let sleep = "SELECT pg_sleep($1)";
    for _ in 0..20 {
        fixture.db.read().one::<()>(sleep, params![0.0]).await.unwrap();
    }
    know(&fixture.db).await;
    // All are sent in one go, the quick ones behind it on the same connection.
    let (db, quick_done) = (fixture.db.clone(), Arc::new(AtomicUsize::new(0)));
    let slow = tokio::spawn(async move { db.read().one::<()>(sleep, params![2.0]).await });
    tokio::task::yield_now().await;
    let quick: Vec<_> = (0..20_i64)
        .map(|id| {
            let (db, done) = (fixture.db.clone(), Arc::clone(&quick_done));
            tokio::spawn(async move {
                db.read().one::<i64>(QUICK, params![id]).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    let started = now();
    eventually("the quick ones are done", async || quick_done.load(Ordering::Relaxed) == 20).await;
    assert!(!slow.is_finished(), "the quick ones took {:?}", now() - started);
    // The server has stopped it on the shared connection; it goes on, to its end, on one of its own.
    slow.await.unwrap().unwrap();
    quick.into_iter().for_each(drop);
}

#[tokio::test]
async fn a_write_that_waits_for_a_lock_holds_up_no_other_and_happens_once() {
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (2, 4)).await;
    fixture.run("CREATE TABLE counters (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)").await;
    fixture.run("INSERT INTO counters SELECT id, 0 FROM generate_series(1, 100) AS id").await;
    let add = "UPDATE counters SET n = n + 1 WHERE id = $1";
    for _ in 0..20 {
        fixture.db.write().execute(add, params![50]).await.unwrap();
    }
    // Somebody else keeps row 1 locked.
    let holder = fixture.db.begin().await.unwrap();
    holder.execute(add, params![1]).await.unwrap();
    let db = fixture.db.clone();
    let waiting = tokio::spawn(async move { db.write().execute(add, params![1]).await });
    tokio::task::yield_now().await;
    let others = (2..=40).map(|id| {
        let db = fixture.db.clone();
        async move { db.write().execute(add, params![id]).await.unwrap() }
    });
    futures_util::future::join_all(others).await;
    assert!(!waiting.is_finished());
    holder.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
    let counts: Vec<i32> =
        fixture.db.read().all("SELECT n FROM counters WHERE id <= 40 ORDER BY id", params![]).await.unwrap();
    assert_eq!(counts[0], 2);
    assert!(counts[1..].iter().all(|n| *n == 1), "{counts:?}");
}

#[tokio::test]
async fn lanes_make_room_for_transactions() {
    let fixture = Fixture::with(|settings| {
        (settings.pool_min, settings.pool_max) = (2, 3);
        settings.acquire_timeout = Duration::from_secs(10);
    })
    .await;
    fixture.run(THINGS).await;
    know(&fixture.db).await;
    let stop = Arc::new(AtomicUsize::new(0));
    let load: Vec<_> = (0..50)
        .map(|_| {
            let (db, stop) = (fixture.db.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut reads = 0;
                while stop.load(Ordering::Relaxed) == 0 {
                    db.read().one::<i64>(QUICK, params![1]).await.unwrap();
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for n in 0..20 {
        let all =
            [fixture.db.begin().await.unwrap(), fixture.db.begin().await.unwrap(), fixture.db.begin().await.unwrap()];
        for (m, transaction) in all.into_iter().enumerate() {
            transaction.execute(INSERT, params![format!("{n}-{m}")]).await.unwrap();
            transaction.commit().await.unwrap();
        }
    }
    stop.store(1, Ordering::Relaxed);
    for task in load {
        assert!(task.await.unwrap() > 0);
    }
    assert_eq!(fixture.names().await.len(), 60);
}

#[tokio::test]
async fn callers_that_go_away_leave_the_lane_as_it_was() {
    let fixture = Fixture::things().await;
    know(&fixture.db).await;
    for round in 0..200 {
        let reader = fixture.db.read();
        let reads: Vec<_> = (0..20_i64).map(|id| Box::pin(reader.one::<i64>(QUICK, params![id]))).collect();
        for mut read in reads {
            // Sent, and dropped before the answer.
            let _ = futures_util::poll!(&mut read);
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    eventually("nothing is under way", async || fixture.db.connections().active == 0).await;
    assert_eq!(fixture.db.read().one::<i64>(QUICK, params![1]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_write_that_is_begun_is_carried_through_and_a_read_is_cancelled() {
    let fixture = Fixture::things().await;
    let write = "INSERT INTO things (name) SELECT 'late' FROM pg_sleep(0.3)";
    let abandoned = tokio::time::timeout(Duration::from_millis(50), fixture.db.write().execute(write, params![])).await;
    assert!(abandoned.is_err());
    let reader = fixture.db.read();
    let read = reader.one::<()>("SELECT pg_sleep(60)", params![]);
    assert!(tokio::time::timeout(Duration::from_millis(50), read).await.is_err());
    eventually("the write has happened", async || fixture.names().await == ["late"]).await;
    eventually("the read is gone", async || fixture.sessions("query LIKE '%pg_sleep(60)%'").await == 0).await;
}

#[tokio::test]
async fn a_changed_schema_is_noticed_under_prepared_statements() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE t (a INTEGER)").await;
    fixture.run("INSERT INTO t VALUES (1)").await;
    let all = "SELECT * FROM t";
    let read = async || fixture.db.read().one::<serde_json::Value>(all, params![]).await;
    for _ in 0..20 {
        assert_eq!(read().await.unwrap(), serde_json::json!({"a": 1}));
    }
    fixture.run("ALTER TABLE t ADD COLUMN b BOOLEAN NOT NULL DEFAULT true").await;
    assert_eq!(read().await.unwrap(), serde_json::json!({"a": 1, "b": true}));
    fixture.run("ALTER TABLE t RENAME COLUMN a TO c").await;
    assert_eq!(read().await.unwrap(), serde_json::json!({"c": 1, "b": true}));
    fixture.run("ALTER TABLE t DROP COLUMN b").await;
    assert_eq!(read().await.unwrap(), serde_json::json!({"c": 1}));
    fixture.run("DROP TABLE t").await;
    fixture.run("CREATE TABLE t (c TEXT)").await;
    fixture.run("INSERT INTO t VALUES ('x')").await;
    assert_eq!(read().await.unwrap(), serde_json::json!({"c": "x"}));
    // The type of a parameter too.
    let by = "SELECT count(*) FROM t WHERE c = $1";
    assert_eq!(fixture.db.read().one::<i64>(by, params!["x"]).await.unwrap(), 1);
    fixture.run("ALTER TABLE t ALTER COLUMN c TYPE INTEGER USING 7").await;
    assert_eq!(fixture.db.read().one::<i64>(by, params![7]).await.unwrap(), 1);

    // In a transaction it is too late, but a retry sees the schema as it is.
    let options = covet_data::TransactionOptions::new();
    let rows = fixture
        .db
        .retry(&options, || {
            async |transaction: &Transaction| transaction.one::<serde_json::Value>(all, params![]).await
        })
        .await
        .unwrap();
    assert_eq!(rows, serde_json::json!({"c": 7}));
}

#[tokio::test]
async fn a_statement_forgotten_by_the_server_is_prepared_again() {
    let fixture = Fixture::with(|settings| settings.statement_cache = 2).await;
    fixture.run(THINGS).await;
    know(&fixture.db).await;
    for n in 0..10 {
        let sum: i32 = fixture.db.read().one(&format!("SELECT {n} + $1::int"), params![1]).await.unwrap();
        assert_eq!(sum, n + 1);
        know(&fixture.db).await;
    }
    let deallocate = "DEALLOCATE ALL";
    for _ in 0..5 {
        fixture.db.write().execute(deallocate, params![]).await.unwrap();
        fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
        fixture.run("DELETE FROM things").await;
    }
}

#[test]
fn callers_on_several_runtimes_share_one_database() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The runtime that has opened the first connections ends at once.
    let fixture = runtime().block_on(Fixture::things());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let db = fixture.db.clone();
            scope.spawn(move || {
                runtime().block_on(async {
                    for n in 0..50_i64 {
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

#[tokio::test]
async fn a_panic_while_a_row_is_made_harms_nobody() {
    #[derive(Debug)]
    struct Bomb;
    impl<'de> serde::Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let n: i64 = serde::Deserialize::deserialize(deserializer)?;
            assert_ne!(n, 13, "on purpose");
            Ok(Self)
        }
    }
    let fixture = Fixture::new().await;
    let sql = "SELECT $1::bigint AS n";
    for n in 14..40 {
        fixture.db.read().one::<Bomb>(sql, params![n]).await.unwrap();
    }
    for _ in 0..5 {
        let db = fixture.db.clone();
        let task = tokio::spawn(async move { db.read().one::<Bomb>(sql, params![13]).await.map(drop) });
        assert!(task.await.unwrap_err().is_panic());
        fixture.db.read().one::<Bomb>(sql, params![14]).await.unwrap();
    }
    eventually("nothing is under way", async || fixture.db.connections().active == 0).await;
}

#[tokio::test]
async fn what_an_administrator_cancels_is_not_run_again() {
    let fixture = Fixture::new().await;
    let db = fixture.db.clone();
    let read = tokio::spawn(async move { db.read().one::<()>("SELECT pg_sleep(60)", params![]).await });
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' \
                  AND state = 'active' AND pid <> pg_backend_pid()";
    eventually("it is cancelled", async || fixture.psql(cancel).await == "1").await;
    let outcome = read.await.unwrap();
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
}
