//! Other processes at the same file. To SQLite, a second `Db` or a bare connection is one.

use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::{Db, Error, params, settings::DatabaseSettings};

use super::support::{Fixture, INSERT, THINGS, eventually};

#[tokio::test]
async fn two_databases_on_one_file_lose_nothing() {
    let fixture = Fixture::things().await;
    let other = Db::connect(&DatabaseSettings::sqlite(&fixture.file), Clock::system()).await.unwrap();
    let tasks: Vec<_> = [fixture.db.clone(), other.clone()]
        .into_iter()
        .enumerate()
        .flat_map(|(n, db)| (0..5).map(move |task| (n, task, db.clone())))
        .map(|(n, task, db)| {
            tokio::spawn(async move {
                for i in 0..20 {
                    db.transaction(async |transaction| {
                        transaction.execute(INSERT, params![format!("{n}-{task}-{i}")]).await
                    })
                    .await
                    .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for db in [&fixture.db, &other] {
        assert_eq!(db.read().one::<i64>("SELECT count(*) FROM things", params![]).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_lock_held_elsewhere_is_waited_for_then_told_and_reads_go_on() {
    let fixture = Fixture::with(|settings| settings.busy_timeout = Duration::from_millis(60)).await;
    fixture.run(THINGS).await;
    fixture.db.write().execute(INSERT, params!["a"]).await.unwrap();
    let other = rusqlite::Connection::open(&fixture.file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let write = fixture.db.write().execute(INSERT, params!["b"]).await;
    assert!(matches!(&write, Err(error @ Error::Busy { .. }) if error.is_retryable()), "{write:?}");
    let begin = fixture.db.begin().await;
    assert!(matches!(begin, Err(Error::Busy { .. })), "{begin:?}");
    assert_eq!(fixture.names().await, ["a"]);

    other.execute_batch("COMMIT").unwrap();
    fixture.db.write().execute(INSERT, params!["c"]).await.unwrap();
    assert_eq!(fixture.names().await, ["a", "c"]);
}

#[tokio::test]
async fn a_short_lock_elsewhere_is_only_a_wait() {
    let fixture = Fixture::things().await;
    let other = rusqlite::Connection::open(&fixture.file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    eventually("the table is made", async || fixture.db.connections().active == 0).await;
    let db = fixture.db.clone();
    let write = tokio::spawn(async move { db.write().execute(INSERT, params!["a"]).await });
    eventually("the write waits", async || fixture.db.connections().active == 1).await;
    other.execute_batch("COMMIT").unwrap();
    write.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_another_process_wrote_is_read_at_once() {
    let fixture = Fixture::things().await;
    let other = rusqlite::Connection::open(&fixture.file).unwrap();
    for n in 1..=100 {
        other.execute("INSERT INTO things (name) VALUES (?1)", [n.to_string()]).unwrap();
        let count: i64 = fixture.db.read().one("SELECT count(*) FROM things", params![]).await.unwrap();
        assert_eq!(count, n);
    }
}
