//! What is told about the database from outside.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covet_core::health::{Check, Status};
use covet_data::{DatabaseCheck, DatabaseCollector, params};
use covet_telemetry::metrics::Registry;

use super::support::{Fixture, INSERT, THINGS, eventually};

/// A process has one recorder.
fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let registry = Registry::new();
        registry.install_recorder().unwrap();
        registry
    })
}

/// The value of the series that has this name and all these labels.
fn value(name: &str, labels: &[&str]) -> f64 {
    let text = registry().render();
    let line = text.lines().find(|line| {
        let (series, _) = line.split_once('{').unwrap_or_else(|| line.split_once(' ').unwrap_or((line, "")));
        series == name && labels.iter().all(|label| line.contains(label))
    });
    line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn statements_are_counted_by_operation_table_and_status() {
    registry();
    let fixture = Fixture::with(|settings| settings.slow_query = Duration::from_millis(30)).await;
    fixture.run(THINGS).await;
    for name in ["a", "b"] {
        fixture.db.write().execute(INSERT, params![name]).await.unwrap();
    }
    assert!(fixture.db.write().execute(INSERT, params!["a"]).await.is_err());
    for _ in 0..5 {
        fixture.names().await;
    }
    assert!(fixture.db.read().one::<String>("SELECT name FROM things WHERE id = 9", params![]).await.is_err());
    let slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) SELECT count(*) FROM n";
    eventually("a statement was slow", async || {
        fixture.db.read().one::<i64>(slow, params![500_000]).await.unwrap();
        value("db_slow_queries_total", &["operation=\"SELECT\"", "table=\"none\""]) >= 1.0
    })
    .await;

    let insert = ["operation=\"INSERT\"", "table=\"things\""];
    let select = ["operation=\"SELECT\"", "table=\"things\""];
    let with = |labels: [&'static str; 2], status: &'static str| [labels[0], labels[1], status];
    assert_eq!(value("db_queries_total", &with(insert, "status=\"success\"")), 2.0);
    assert_eq!(value("db_queries_total", &with(insert, "status=\"error\"")), 1.0);
    assert_eq!(value("db_queries_total", &with(select, "status=\"success\"")), 6.0);
    assert_eq!(value("db_query_duration_seconds_count", &insert), 3.0);
    assert_eq!(value("db_query_errors", &["error_type=\"unique\"", "operation=\"INSERT\""]), 1.0);
    assert_eq!(value("db_rows_affected", &["operation=\"INSERT\""]), 2.0);
    assert!(value("db_rows_affected", &["operation=\"SELECT\""]) >= 10.0);
}

#[tokio::test]
async fn transactions_are_counted_by_how_they_ended() {
    registry();
    let fixture = Fixture::with(|settings| settings.transaction_idle_timeout = Duration::from_millis(40)).await;
    fixture.run(THINGS).await;
    let before = |status: &str| value("db_transactions_total", &[status]);
    let statuses = ["status=\"commit\"", "status=\"rollback\"", "status=\"idle_timeout\"", "status=\"failed\""];
    let start = statuses.map(before);

    fixture.db.begin().await.unwrap().commit().await.unwrap();
    drop(fixture.db.begin().await.unwrap());
    let failing = fixture.db.begin().await.unwrap();
    assert!(failing.execute("SELECT * FROM nowhere", params![]).await.is_err());
    assert!(failing.commit().await.is_err());
    let forgotten = fixture.db.begin().await.unwrap();
    eventually("all four have ended", async || {
        statuses.map(before).iter().zip(start).all(|(now, start)| *now >= start + 1.0)
    })
    .await;
    drop(forgotten);
    assert!(value("db_transaction_duration_seconds_count", &["status=\"commit\""]) >= 1.0);
}

#[tokio::test]
async fn connections_are_told_at_scrape() {
    registry();
    let fixture = Fixture::with(|settings| (settings.pool_min, settings.pool_max) = (3, 3)).await;
    registry().register(Arc::new(DatabaseCollector::new(fixture.db.clone())));
    eventually("none is in use", async || value("db_connections_active", &[]) == 0.0).await;
    assert_eq!(value("db_connections_idle", &[]), 3.0);
    let transaction = fixture.db.begin().await.unwrap();
    let db = fixture.db.clone();
    let waiter = tokio::spawn(async move { db.begin().await.map(drop) });
    eventually("somebody waits", async || value("db_connection_pool_overflow", &[]) == 1.0).await;
    assert_eq!(value("db_connections_active", &[]), 1.0);
    assert_eq!(value("db_connections_idle", &[]), 2.0);
    assert_eq!(value("db_connection_pool_size", &[]), 3.0);
    transaction.commit().await.unwrap();
    waiter.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_health_check_reads_and_tells_the_connections() {
    let fixture = Fixture::new().await;
    let check = DatabaseCheck::new(fixture.db.clone());
    eventually("no connection is in use", async || {
        let outcome = check.check().await;
        assert_eq!(outcome.status, Status::Healthy);
        assert!(outcome.readings["latency_ms"].as_f64().unwrap() >= 0.0);
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
