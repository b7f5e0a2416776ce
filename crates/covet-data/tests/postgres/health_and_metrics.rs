//! What is told about the database from outside, beside what the server counts itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covet_core::health::{Check, Status};
use covet_data::{DatabaseCheck, DatabaseCollector, Error, params};
use covet_telemetry::metrics::Registry;

use super::support::{Fixture, INSERT, THINGS, eventually};

/// A process has one recorder.
pub(super) fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let registry = Registry::new();
        registry.install_recorder().unwrap();
        registry
    })
}

/// The value of the series that has this name and all these labels.
pub(super) fn value(name: &str, labels: &[&str]) -> f64 {
    let text = registry().render();
    let line = text.lines().find(|line| {
        let (series, _) = line.split_once('{').unwrap_or_else(|| line.split_once(' ').unwrap_or((line, "")));
        series == name && labels.iter().all(|label| line.contains(label))
    });
    line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn statements_are_counted_by_operation_table_and_status_as_often_as_by_the_server() {
    registry();
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE parts (id BIGINT PRIMARY KEY, name TEXT UNIQUE)").await;
    let insert = "INSERT INTO parts VALUES ($1, $2)";
    for id in 0..30_i64 {
        fixture.db.write().execute(insert, params![id, id.to_string()]).await.unwrap();
    }
    assert!(fixture.db.write().execute(insert, params![99_i64, "1"]).await.is_err());
    let select = "SELECT name FROM parts WHERE id = $1";
    let reads = (0..200_i64).map(|n| {
        let db = fixture.db.clone();
        async move { db.read().one::<String>(select, params![n % 30]).await.unwrap() }
    });
    futures_util::future::join_all(reads).await;
    assert!(matches!(fixture.db.read().one::<String>(select, params![77_i64]).await, Err(Error::NotFound)));
    let transaction = fixture.db.begin().await.unwrap();
    transaction.execute("DELETE FROM parts WHERE id < $1", params![10_i64]).await.unwrap();
    transaction.commit().await.unwrap();

    let with = |operation: &'static str, status: &'static str| [operation, "table=\"parts\"", status];
    assert_eq!(value("db_queries_total", &with("operation=\"INSERT\"", "status=\"success\"")), 30.0);
    assert_eq!(value("db_queries_total", &with("operation=\"INSERT\"", "status=\"error\"")), 1.0);
    assert_eq!(value("db_queries_total", &with("operation=\"SELECT\"", "status=\"success\"")), 201.0);
    assert_eq!(value("db_queries_total", &with("operation=\"DELETE\"", "status=\"success\"")), 1.0);
    assert_eq!(value("db_query_duration_seconds_count", &["operation=\"SELECT\"", "table=\"parts\""]), 201.0);
    assert_eq!(value("db_query_errors", &["error_type=\"unique\"", "operation=\"INSERT\""]), 1.0);
    assert_eq!(value("db_rows_affected", &["operation=\"INSERT\""]), 30.0);
    assert_eq!(value("db_rows_affected", &["operation=\"DELETE\""]), 10.0);
    // As the server has it: rows inserted and deleted (also of the insert that failed).
    eventually("the server has counted", async || {
        fixture.psql("SELECT n_tup_ins, n_tup_del FROM pg_stat_user_tables WHERE relname = 'parts'").await == "31|10"
    })
    .await;
}

#[tokio::test]
async fn a_second_is_slow_and_a_little_less_is_not() {
    registry();
    let fixture = Fixture::new().await;
    let slow = || value("db_slow_queries_total", &["operation=\"SELECT\"", "table=\"none\""]);
    let before = slow();
    fixture.db.read().one::<()>("SELECT pg_sleep(0.7)", params![]).await.unwrap();
    assert_eq!(slow(), before);
    fixture.db.read().one::<()>("SELECT pg_sleep(1.1)", params![]).await.unwrap();
    assert_eq!(slow(), before + 1.0);
    // Its time on the connection is counted, not the wait for one.
    let sum = value("db_query_duration_seconds_sum", &["operation=\"SELECT\"", "table=\"none\""]);
    assert!((1.8..3.0).contains(&sum), "{sum}");
}

#[tokio::test]
async fn transactions_and_deadlocks_are_counted() {
    registry();
    let fixture = Fixture::with(|settings| settings.transaction_idle_timeout = Duration::from_millis(2_500)).await;
    fixture.run("CREATE TABLE rows (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)").await;
    fixture.run("INSERT INTO rows VALUES (1, 0), (2, 0)").await;
    let statuses = ["status=\"commit\"", "status=\"rollback\"", "status=\"idle_timeout\"", "status=\"failed\""];
    let now = |status: &str| value("db_transactions_total", &[status]);

    fixture.db.begin().await.unwrap().commit().await.unwrap();
    drop(fixture.db.begin().await.unwrap());
    let failing = fixture.db.begin().await.unwrap();
    assert!(failing.execute("SELECT * FROM nowhere", params![]).await.is_err());
    assert!(failing.commit().await.is_err());
    let forgotten = fixture.db.begin().await.unwrap();
    eventually("all four have ended", async || statuses.map(now).iter().all(|count| *count == 1.0)).await;
    drop(forgotten);
    assert_eq!(statuses.map(now), [1.0; 4], "each is counted once");
    assert_eq!(value("db_transaction_duration_seconds_count", &["status=\"commit\""]), 1.0);

    let add = "UPDATE rows SET n = n + 1 WHERE id = $1";
    let (first, second) = (fixture.db.begin().await.unwrap(), fixture.db.begin().await.unwrap());
    first.execute(add, params![1]).await.unwrap();
    second.execute(add, params![2]).await.unwrap();
    let (one, other) = tokio::join!(first.execute(add, params![2]), second.execute(add, params![1]));
    assert!(one.is_err() || other.is_err());
    assert_eq!(value("db_deadlocks_total", &[]), 1.0);
    assert_eq!(value("db_query_errors", &["error_type=\"deadlock\"", "operation=\"UPDATE\""]), 1.0);
    drop((first, second));
    eventually("the server has counted it too", async || {
        fixture.psql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await == "1"
    })
    .await;
}

#[tokio::test]
async fn connections_are_told_at_scrape() {
    registry();
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (3, 3)).await;
    registry().register(Arc::new(DatabaseCollector::new(fixture.db.clone())));
    eventually("three are open", async || value("db_connections_idle", &[]) == 3.0).await;
    assert_eq!(value("db_connections_active", &[]), 0.0);
    let mut transactions = Vec::new();
    for _ in 0..3 {
        transactions.push(fixture.db.begin().await.unwrap());
    }
    let waiters: Vec<_> = (0..25)
        .map(|_| {
            let db = fixture.db.clone();
            tokio::spawn(async move { db.begin().await.map(drop) })
        })
        .collect();
    eventually("25 wait", async || value("db_connection_pool_overflow", &[]) == 25.0).await;
    assert_eq!(value("db_connections_active", &[]), 3.0);
    assert_eq!(value("db_connections_idle", &[]), 0.0);
    assert_eq!(value("db_connection_pool_size", &[]), 3.0);
    drop(transactions);
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    eventually("all are free", async || value("db_connections_idle", &[]) == 3.0).await;
}

#[tokio::test]
async fn the_health_check_asks_the_server_and_tells_the_connections() {
    let fixture = Fixture::new().await;
    let check = DatabaseCheck::new(fixture.db.clone());
    eventually("no connection is in use", async || {
        let outcome = check.check().await;
        assert_eq!(outcome.status, Status::Healthy);
        assert!(outcome.readings["latency_ms"].as_f64().unwrap() > 0.0);
        outcome.readings["connections_idle"] == 5 && outcome.readings["connections_active"] == 0
    })
    .await;
    let transaction = fixture.db.begin().await.unwrap();
    assert_eq!(check.check().await.readings["connections_active"], 1);
    drop(transaction);
    fixture.db.close().await;
    let outcome = check.check().await;
    assert_eq!(outcome.status, Status::Unhealthy);
    assert_eq!(outcome.reason.as_deref(), Some("the database does not answer (closed)"));
}

#[tokio::test]
async fn what_cannot_be_had_is_counted() {
    registry();
    let fixture = Fixture::with(|settings| {
        (settings.pool_min, settings.pool_max) = (2, 2);
        settings.acquire_timeout = Duration::from_secs(2);
    })
    .await;
    fixture.run(THINGS).await;
    let _all = [fixture.db.begin().await.unwrap(), fixture.db.begin().await.unwrap()];
    assert!(fixture.db.write().execute(INSERT, params!["a"]).await.is_err());
    assert_eq!(value("db_connection_errors", &["error_type=\"timeout\""]), 1.0);
}
