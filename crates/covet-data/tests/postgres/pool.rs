//! How many connections there are, who waits for one, and for how long.

use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::{Db, Error, params};

use super::support::{Fixture, INSERT, THINGS, eventually};

#[tokio::test]
async fn the_minimum_is_opened_and_kept() {
    let fixture = Fixture::new().await;
    eventually("five are open", async || fixture.db.connections().idle == 5).await;
    assert_eq!(fixture.sessions("application_name = 'covet'").await, 5);
    // Whatever ends them.
    fixture.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'covet' AND datname = current_database()").await;
    eventually("five are open again", async || {
        let connections = fixture.db.connections();
        fixture.sessions("application_name = 'covet'").await == 5 && connections.idle == 5
    })
    .await;
    assert_eq!(fixture.db.read().one::<i32>("SELECT 1", params![]).await.unwrap(), 1);
}

#[tokio::test]
async fn connections_beyond_the_minimum_close_when_unused() {
    let fixture = Fixture::with(|settings| settings.idle_timeout = Duration::from_millis(100)).await;
    let mut transactions = Vec::new();
    for _ in 0..12 {
        transactions.push(fixture.db.begin().await.unwrap());
    }
    assert_eq!(fixture.db.connections().active, 12);
    drop(transactions);
    eventually("five are left", async || {
        let connections = fixture.db.connections();
        connections.active == 0 && connections.idle == 5
    })
    .await;
    eventually("and no more on the server", async || fixture.sessions("application_name = 'covet'").await == 5).await;
}

#[tokio::test]
async fn the_twenty_first_waits_is_counted_and_told() {
    let fixture = Fixture::with(|settings| settings.acquire_timeout = Duration::from_millis(500)).await;
    let mut transactions = Vec::new();
    for _ in 0..20 {
        transactions.push(fixture.db.begin().await.unwrap());
    }
    let waiters: Vec<_> = (0..25)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.begin().await.map(drop) })
        })
        .collect();
    eventually("25 wait", async || fixture.db.connections().waiting == 25).await;
    let connections = fixture.db.connections();
    assert_eq!((connections.active, connections.idle), (20, 0));
    for waiter in waiters {
        match waiter.await.unwrap() {
            Err(error @ Error::Timeout { setting, .. }) => {
                assert!(error.is_retryable() && setting.contains("ACQUIRE_TIMEOUT"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fixture.db.connections().waiting, 0);
    // One that comes back goes to who has waited.
    let db = fixture.db.clone();
    let waiter = tokio::spawn(async move { db.read().one::<i32>("SELECT 7", params![]).await });
    eventually("it waits", async || fixture.db.connections().waiting == 1).await;
    transactions.pop();
    assert_eq!(waiter.await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_at_once() {
    let fixture = Fixture::with(|settings| {
        (settings.pool_min, settings.pool_max) = (2, 2);
        settings.queue_limit = 3;
    })
    .await;
    let _all = [fixture.db.begin().await.unwrap(), fixture.db.begin().await.unwrap()];
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.begin().await.map(drop) })
        })
        .collect();
    eventually("three wait", async || fixture.db.connections().waiting == 3).await;
    let refused = fixture.db.begin().await;
    assert!(matches!(refused, Err(Error::Overloaded { limit: 3 })), "{refused:?}");
    // Who no longer waits leaves room.
    waiters[0].abort();
    eventually("there is room", async || fixture.db.connections().waiting == 2).await;
    let db = fixture.db.clone();
    let again = tokio::spawn(async move { db.begin().await.map(drop) });
    eventually("it waits", async || fixture.db.connections().waiting == 3).await;
    again.abort();
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_ended_by_the_server() {
    let fixture = Fixture::with(|settings| settings.statement_timeout = Duration::from_millis(200)).await;
    fixture.run(THINGS).await;
    let is_timeout = |outcome: Result<u64, Error>| match outcome {
        Err(error @ Error::Timeout { setting, .. }) => {
            assert!(error.is_retryable() && setting.contains("STATEMENT_TIMEOUT"), "{error}");
        }
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        is_timeout(fixture.db.read().execute("SELECT pg_sleep(60)", params![]).await);
        let write = "INSERT INTO things (name) SELECT 'a' FROM pg_sleep(60)";
        is_timeout(fixture.db.write().execute(write, params![]).await);
        let transaction = fixture.db.begin().await.unwrap();
        is_timeout(transaction.execute("SELECT pg_sleep(60)", params![]).await);
    }
    fixture.db.write().execute(INSERT, params!["b"]).await.unwrap();
    assert_eq!(fixture.names().await, ["b"]);
}

#[tokio::test]
async fn closing_finishes_what_waits_and_takes_nothing_new() {
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (2, 2)).await;
    fixture.run(THINGS).await;
    let db = &fixture.db;
    let transactions = [db.begin().await.unwrap(), db.begin().await.unwrap()];
    transactions[0].execute(INSERT, params!["in a transaction"]).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move { db.write().execute(INSERT, params![n.to_string()]).await })
        })
        .collect();
    eventually("all wait", async || db.connections().waiting == 20).await;
    let closing = {
        let db = db.clone();
        tokio::spawn(async move { db.close().await })
    };
    eventually("nothing new is taken", async || {
        let (reader, limit) = (db.read(), Duration::from_millis(10));
        let read = tokio::time::timeout(limit, reader.one::<i32>("SELECT 1", params![])).await;
        matches!(read, Ok(Err(Error::Closed)))
    })
    .await;
    for transaction in transactions {
        transaction.commit().await.unwrap();
    }
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    closing.await.unwrap();
    assert!(matches!(db.write().execute(INSERT, params!["late"]).await, Err(Error::Closed)));
    assert!(matches!(db.begin().await, Err(Error::Closed)));
    assert_eq!(db.connections().idle + db.connections().active, 0);
    db.close().await;
    eventually("the server has no session of ours", async || fixture.sessions("application_name = 'covet'").await == 0)
        .await;
    assert_eq!(fixture.psql("SELECT count(*) FROM things").await, "21");
}

#[tokio::test]
async fn dropping_the_last_clone_closes_its_connections() {
    let fixture = Fixture::things().await;
    fixture.names().await;
    let Fixture { db, database, .. } = fixture;
    drop(db);
    eventually("all are closed", async || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'covet' AND datname = current_database()";
        database.psql(sql).await.unwrap() == "0"
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_told_with_each_host_and_no_password() {
    let fixture = Fixture::new().await;
    let port = covet_testkit::free_port().unwrap();
    let good = fixture.database.url();
    let bad = good.replace("only-for-tests", "wrong-hunter2");
    for (url, told) in [
        (format!("postgresql://u:hunter2@127.0.0.1:{port}/x"), &["127.0.0.1", "refused"][..]),
        (
            format!("postgresql://u:hunter2@no-such-host.invalid,127.0.0.1:{port}/x"),
            &["no-such-host.invalid:5432", "refused"],
        ),
        (bad, &["password authentication failed"]),
        (good.replace(fixture.database.name(), "no_such_database"), &["database \"no_such_database\" does not exist"]),
        (format!("{good}?sslmode=require"), &["TLS"]),
    ] {
        let mut settings = fixture.settings.clone();
        settings.url = covet_data::settings::DatabaseSettings::at(&url).url;
        let error = Db::connect(&settings, Clock::system()).await.unwrap_err();
        assert!(matches!(error, Error::Connection(_)) && error.is_retryable(), "{error:?}");
        let message = format!("{error} {error:?}");
        assert!(told.iter().all(|part| message.contains(part)) && !message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn the_second_host_is_used_where_the_first_is_not_there() {
    let fixture = Fixture::new().await;
    let port = covet_testkit::free_port().unwrap();
    let url = fixture.database.url().replace("@127.0.0.1", &format!("@127.0.0.1:{port},127.0.0.1"));
    let db = Db::connect(&covet_data::settings::DatabaseSettings::at(&url), Clock::system()).await.unwrap();
    assert_eq!(db.write().one::<i32>("SELECT 1", params![]).await.unwrap(), 1);
}
