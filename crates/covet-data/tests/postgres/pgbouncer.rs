//! Through PgBouncer, which gives each transaction any of two connections.

use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, Error, params};
use covet_testkit::{Database, PgBouncer};
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::support::{INSERT, THINGS, eventually};

struct Pooled {
    db: Db,
    _pooler: PgBouncer,
    database: Database,
}

async fn pooled(change: impl FnOnce(&mut DatabaseSettings)) -> Pooled {
    let database = Database::create().await.unwrap();
    let pooler = PgBouncer::in_front_of(&database, 2).await.unwrap();
    let mut settings = DatabaseSettings::at(pooler.url());
    settings.pgbouncer = true;
    change(&mut settings);
    let db = Db::connect(&settings, Clock::system()).await.unwrap();
    db.write().execute(THINGS, params![]).await.unwrap();
    Pooled { db, _pooler: pooler, database }
}

#[tokio::test]
async fn statements_and_transactions_of_many_callers_work() {
    let pooled = pooled(|_| {}).await;
    let tasks: Vec<_> = (0..10)
        .map(|task| {
            let db = pooled.db.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let name = format!("{task}-{n}");
                    db.write().execute(INSERT, params![name]).await.unwrap();
                    let sql = "SELECT id, name FROM things WHERE name = $1";
                    let (id, read): (i64, String) = db.read().one(sql, params![name]).await.unwrap();
                    assert_eq!(read, name);
                    db.transaction(async |transaction| {
                        transaction
                            .execute("UPDATE things SET name = $2 WHERE id = $1", params![id, name + "!"])
                            .await?;
                        transaction.one::<String>("SELECT name FROM things WHERE id = $1", params![id]).await
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
    let changed = "SELECT count(*) FROM things WHERE name LIKE '%!'";
    assert_eq!(pooled.db.read().one::<i64>(changed, params![]).await.unwrap(), 100);
    let mut stream = pooled.db.read().stream::<String>("SELECT name FROM things", params![]).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(stream.count().await, 99);
}

#[tokio::test]
async fn values_and_errors_are_those_of_a_direct_connection() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Admin,
    }
    let Pooled { db, .. } = &pooled(|_| {}).await;
    db.write().execute("CREATE TYPE role AS ENUM ('member', 'admin')", params![]).await.unwrap();
    for _ in 0..10 {
        let sql =
            "SELECT $1::bigint AS a, $2::text AS b, $3::float8 AS c, $4::bool AS d, $5::bytea AS e, $6::bigint[] AS f";
        let values = params![i64::MIN, "it's; -- 中", 0.1, true, [0_u8, 255], vec![1_i64, 2]];
        let row: (i64, String, f64, bool, Vec<u8>, Vec<i64>) = db.read().one(sql, values).await.unwrap();
        assert_eq!(row, (i64::MIN, "it's; -- 中".into(), 0.1, true, vec![0, 255], vec![1, 2]));
        let at: jiff::Timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        let row: (jiff::Timestamp, Option<i64>) =
            db.read().one("SELECT $1::timestamptz AS a, $2::bigint AS b", params![at, None::<i64>]).await.unwrap();
        assert_eq!(row, (at, None));
        assert_eq!(db.read().one::<Role>("SELECT $1::role AS r", params!["admin"]).await.unwrap(), Role::Admin);
    }
    for _ in 0..3 {
        assert!(matches!(db.read().execute(INSERT, params!["a"]).await, Err(Error::ReadOnly)));
        let wrong = db.read().one::<i64>("SELECT $1::bigint + $2::bigint", params![1]).await;
        assert!(matches!(wrong, Err(Error::Parameters(_))), "{wrong:?}");
        let wrong = db.read().one::<i64>("SELECT nothing", params![]).await;
        assert!(matches!(wrong, Err(Error::Statement(_))), "{wrong:?}");
    }
    db.write().execute(INSERT, params!["a"]).await.unwrap();
    assert!(matches!(db.write().execute(INSERT, params!["a"]).await, Err(Error::Unique { .. })));
    db.write().execute("VACUUM things", params![]).await.unwrap();
    let transaction = db.begin().await.unwrap();
    assert!(transaction.execute(INSERT, params!["a"]).await.is_err());
    assert!(matches!(transaction.commit().await, Err(Error::TransactionOver(_))));
}

#[tokio::test]
async fn limits_hold() {
    let pooled = pooled(|settings| {
        settings.statement_timeout = Duration::from_millis(300);
        settings.transaction_idle_timeout = Duration::from_millis(300);
    })
    .await;
    let db = &pooled.db;
    for sql in ["SELECT pg_sleep(60)", "INSERT INTO things (name) SELECT 'a' FROM pg_sleep(60)"] {
        let outcome = db.write().execute(sql, params![]).await;
        assert!(matches!(outcome, Err(Error::Timeout { .. })), "{outcome:?}");
    }
    let forgotten = db.begin().await.unwrap();
    forgotten.execute(INSERT, params!["a"]).await.unwrap();
    eventually("the server has ended it", async || {
        pooled
            .database
            .psql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()")
            .await
            .unwrap()
            == "0"
    })
    .await;
    assert!(forgotten.commit().await.is_err());
    let names: Vec<String> = db.read().all("SELECT name FROM things", params![]).await.unwrap();
    assert!(names.is_empty());
    assert_eq!(pooled.database.psql("SELECT count(*) FROM pg_prepared_statements").await.unwrap(), "0");
}
