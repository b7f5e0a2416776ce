//! Results that are kept, on either database.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use covet_data::{CachedQuery, Error, TableWrite, params};
use covet_telemetry::metrics::Registry;

use super::support::{Fixture, INSERT, SLOWLY, eventually};

static NAMES: CachedQuery = CachedQuery::new("SELECT name FROM things ORDER BY id", &["things"]);
static BY_ID: CachedQuery = CachedQuery::new("SELECT name FROM things WHERE id = $1", &["things"]);
static SHORT_LIVED: CachedQuery =
    CachedQuery::new("SELECT name FROM things ORDER BY id", &["things"]).ttl(Duration::from_millis(200));

async fn add(fixture: &Fixture, name: &str) {
    fixture.db.write().execute(INSERT, params![name]).await.unwrap();
}

async fn names(fixture: &Fixture) -> Vec<String> {
    fixture.db.cached(&NAMES).all::<String>(params![]).await.unwrap().to_vec()
}

/// Writes past the `Db` under test.
async fn add_elsewhere(fixture: &Fixture, name: &str) {
    let other = fixture.another().await;
    other.write().execute(INSERT, params![name]).await.unwrap();
    other.close().await;
}

#[tokio::test]
async fn a_result_is_kept_until_its_table_is_written_to() {
    let fixture = Fixture::things().await;
    add(&fixture, "a").await;
    assert_eq!(names(&fixture).await, ["a"]);
    add_elsewhere(&fixture, "b").await;
    assert_eq!(names(&fixture).await, ["a"], "it was not read again");
    fixture.run("CREATE TABLE others (id BIGINT)").await;
    add(&fixture, "c").await;
    assert_eq!(names(&fixture).await, ["a", "b", "c"]);
    add_elsewhere(&fixture, "d").await;
    fixture.run("INSERT INTO others VALUES (1)").await;
    assert_eq!(names(&fixture).await, ["a", "b", "c"], "another table is of no interest");
    fixture.db.forget_cached(&["things"]);
    assert_eq!(names(&fixture).await, ["a", "b", "c", "d"]);
    fixture.run("WITH gone AS (SELECT 1) DELETE FROM things WHERE name <> 'a'").await;
    assert_eq!(names(&fixture).await, ["a"]);
}

#[tokio::test]
async fn a_transaction_shows_at_its_commit_and_not_at_its_rollback() {
    let fixture = Fixture::things().await;
    add(&fixture, "a").await;
    assert_eq!(names(&fixture).await, ["a"]);
    for (commits, name, seen) in [(false, "b", &["a"][..]), (true, "c", &["a", "c"])] {
        let transaction = fixture.db.begin().await.unwrap();
        transaction.execute(INSERT, params![name]).await.unwrap();
        assert_eq!(names(&fixture).await, ["a"]);
        match commits {
            true => transaction.commit().await.unwrap(),
            false => transaction.rollback().await,
        }
        assert_eq!(names(&fixture).await, seen);
    }
    // Hooks read what was committed.
    let (db, transaction) = (fixture.db.clone(), fixture.db.begin().await.unwrap());
    transaction.execute(INSERT, params!["d"]).await.unwrap();
    let (sender, read) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    transaction.after_commit(move || {
        runtime.spawn(async move { sender.send(db.cached(&NAMES).all::<String>(params![]).await.unwrap().len()) });
    });
    transaction.commit().await.unwrap();
    assert_eq!(read.await.unwrap(), 3);
}

#[tokio::test]
async fn what_was_read_before_a_write_is_not_kept_after_it() {
    static SLOW: CachedQuery = CachedQuery::new(SLOWLY, &["things"]);
    let fixture = Fixture::things().await;
    add(&fixture, "0").await;
    let all = async || fixture.db.cached(&SLOW).all::<String>(params![]).await.unwrap().len();
    for before in 1..=20 {
        let db = fixture.db.clone();
        let reading = tokio::spawn(async move { db.cached(&SLOW).all::<String>(params![]).await.unwrap().len() });
        // On a quick machine it may have read before anybody looks.
        eventually("it is reading", async || fixture.db.connections().active > 0 || reading.is_finished()).await;
        let in_time = !reading.is_finished();
        add(&fixture, &before.to_string()).await;
        let read = reading.await.unwrap();
        assert_eq!(all().await, before + 1);
        if in_time && read == before {
            return;
        }
        // The write was there first, or too late: again.
    }
    panic!("no read was under way when the write came");
}

#[tokio::test]
async fn of_callers_at_once_one_reads() {
    let registry = Registry::new();
    registry.install_recorder().unwrap();
    let fixture = Fixture::things().await;
    add(&fixture, "a").await;
    let calls = (0..100).map(|_| fixture.db.cached(&BY_ID).one::<String>(params![1]));
    let all = futures_util::future::try_join_all(calls).await.unwrap();
    assert!(all.iter().all(|name| Arc::ptr_eq(name, &all[0]) && **name == "a"));
    let text = registry.render();
    for sample in ["db_cache_misses 1.0", "db_cache_hits 99.0"] {
        assert!(text.lines().any(|line| line == sample), "{sample}: {text}");
    }
    let reads = "db_queries_total{operation=\"SELECT\",table=\"things\",status=\"success\"} 1.0";
    assert!(text.lines().any(|line| line == reads), "{text}");
}

#[tokio::test]
async fn errors_are_not_kept() {
    static LATER: CachedQuery = CachedQuery::new("SELECT name FROM later", &["later"]);
    let fixture = Fixture::things().await;
    let read = async || fixture.db.cached(&LATER).all::<String>(params![]).await;
    assert!(matches!(read().await, Err(Error::Statement(_))));
    fixture.run("CREATE TABLE later (name TEXT)").await;
    assert!(read().await.unwrap().is_empty());

    let one = async |id: i64| fixture.db.cached(&BY_ID).one::<String>(params![id]).await;
    assert!(matches!(one(1).await, Err(Error::NotFound)));
    assert_eq!(*fixture.db.cached(&BY_ID).optional::<String>(params![1]).await.unwrap(), None);
    add_elsewhere(&fixture, "a").await;
    assert_eq!(*one(1).await.unwrap(), "a");
    assert_eq!(*fixture.db.cached(&BY_ID).optional::<String>(params![1]).await.unwrap(), None, "that is kept");
}

#[tokio::test]
async fn a_result_lives_as_long_as_it_may() {
    let fixture = Fixture::things().await;
    let read = async || fixture.db.cached(&SHORT_LIVED).all::<String>(params![]).await.unwrap().len();
    assert_eq!(read().await, 0);
    add_elsewhere(&fixture, "a").await;
    eventually("it was read again", async || read().await == 1).await;
}

#[tokio::test]
async fn without_room_nothing_is_kept() {
    let fixture = Fixture::with(|settings| settings.query_cache_rows = 0).await;
    fixture.run(super::support::THINGS).await;
    assert_eq!(names(&fixture).await.len(), 0);
    add_elsewhere(&fixture, "a").await;
    assert_eq!(names(&fixture).await.len(), 1);
}

/// The caller leaves while the write runs. It may happen at any time after that, and nothing older is given out then.
#[tokio::test]
async fn a_write_without_a_waiting_caller_leaves_nothing_old() {
    let fixture = Fixture::things().await;
    add(&fixture, "a").await;
    assert_eq!(names(&fixture).await, ["a"]);
    let slow_write = format!("INSERT INTO things (name) SELECT name || '2' FROM ({SLOWLY}) AS slowly");
    let db = fixture.db.clone();
    let writing = tokio::spawn(async move { db.write().execute(&slow_write, params![]).await });
    eventually("it is writing", async || fixture.is_writing().await).await;
    writing.abort();
    assert!(writing.await.is_err(), "the test is of no use if the machine is that slow");
    eventually("it was written", async || {
        let cached = names(&fixture).await;
        let there = fixture.names().await;
        // Read after the cached one, so what is cached may be older by that, and by nothing else.
        assert!(cached.len() <= there.len());
        cached.len() == 2
    })
    .await;
    assert_eq!(names(&fixture).await, ["a", "a2"]);
}

#[tokio::test]
async fn an_observer_is_told_of_each_write_and_of_nothing_else() {
    let fixture = Fixture::things().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    fixture.db.observe_writes(move |TableWrite { table, in_doubt }| {
        telling.lock().unwrap().push((table.map(str::to_owned), in_doubt));
    });
    add(&fixture, "a").await;
    names(&fixture).await;
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute("DELETE FROM things WHERE name = 'a'", params![]).await.unwrap();
    assert_eq!(told.lock().unwrap().len(), 1, "not before its commit");
    transaction.commit().await.unwrap();
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute(INSERT, params!["b"]).await.unwrap();
    transaction.rollback().await;
    fixture.db.forget_cached(&["others"]);
    let expected = ["things", "things", "others"].map(|table| (Some(table.to_owned()), false));
    assert_eq!(*told.lock().unwrap(), expected);
    fixture.db.hear_of_write(TableWrite { table: Some("things"), in_doubt: false });
    assert_eq!(told.lock().unwrap().len(), 3, "it is not told what others have told");
}

#[tokio::test]
async fn what_another_instance_has_written_is_read_anew() {
    let fixture = Fixture::things().await;
    add(&fixture, "a").await;
    assert_eq!(names(&fixture).await, ["a"]);
    for (name, table, seen) in
        [("b", Some("others"), &["a"][..]), ("c", Some("things"), &["a", "b", "c"]), ("d", None, &["a", "b", "c", "d"])]
    {
        add_elsewhere(&fixture, name).await;
        fixture.db.hear_of_write(TableWrite { table, in_doubt: false });
        assert_eq!(names(&fixture).await, seen);
    }
    fixture.db.hear_of_write(TableWrite { table: Some("things"), in_doubt: true });
    names(&fixture).await;
    add_elsewhere(&fixture, "e").await;
    assert_eq!(names(&fixture).await.len(), 5, "nothing is kept while a write may be under way");
}

#[tokio::test]
async fn who_does_not_hear_of_writes_keeps_nothing() {
    let fixture = Fixture::things().await;
    add(&fixture, "a").await;
    assert_eq!(names(&fixture).await, ["a"]);
    fixture.db.hears_of_writes(false);
    for (name, seen) in [("b", 2), ("c", 3)] {
        add_elsewhere(&fixture, name).await;
        assert_eq!(names(&fixture).await.len(), seen);
    }
    fixture.db.hears_of_writes(true);
    assert_eq!(names(&fixture).await.len(), 3);
    add_elsewhere(&fixture, "d").await;
    assert_eq!(names(&fixture).await.len(), 3, "kept again");
}
