//! Routes that do to the database what a service should not.

use std::time::Duration;

use covet::data::{CachedQuery, params};
use covet::prelude::{Context, Error, Query, Router, State, get};
use serde::Deserialize;

/// `/db/…`.
pub fn routes(context: &Context) -> Router {
    Router::new()
        .route("/db/hold", get(hold))
        .route("/db/roll-back", get(roll_back))
        .route("/db/wrong", get(wrong_statement))
        .route("/db/slow", get(slow_statement))
        .route("/db/sleep", get(sleep))
        .route("/db/cached", get(cached))
        .route("/db/deadlock", get(deadlock))
        .with_state(context.clone())
}

#[derive(Deserialize)]
struct Hold {
    ms: u64,
}

/// Holds a transaction that has written three rows.
async fn hold(State(context): State<Context>, Query(hold): Query<Hold>) -> Result<(), Error> {
    let transaction = context.db().begin().await?;
    transaction.execute("CREATE TABLE IF NOT EXISTS drill (number BIGINT NOT NULL)", params![]).await?;
    transaction.execute("INSERT INTO drill (number) VALUES (1), (2), (3)", params![]).await?;
    tokio::time::sleep(Duration::from_millis(hold.ms)).await;
    Ok(transaction.commit().await?)
}

async fn roll_back(State(context): State<Context>) -> Result<(), Error> {
    context.db().begin().await?.rollback().await;
    Ok(())
}

async fn wrong_statement(State(context): State<Context>) -> Result<(), Error> {
    context.db().write().execute("DELETE FROM nowhere", params![]).await?;
    Ok(())
}

/// Counts to two million.
async fn slow_statement(State(context): State<Context>) -> Result<String, Error> {
    let sql = "WITH RECURSIVE count (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 2000000)
               SELECT max(n) FROM count";
    let highest: i64 = context.db().read().one(sql, params![]).await?;
    Ok(highest.to_string())
}

/// Sleeps on a connection. PostgreSQL only.
async fn sleep(State(context): State<Context>, Query(sleep): Query<Hold>) -> Result<(), Error> {
    let seconds = Duration::from_millis(sleep.ms).as_secs_f64();
    context.db().read().one::<i32>("SELECT 1 FROM pg_sleep($1)", params![seconds]).await?;
    Ok(())
}

async fn cached(State(context): State<Context>) -> Result<String, Error> {
    static ONE: CachedQuery = CachedQuery::new("SELECT 1", &[]);
    let one = context.db().cached(&ONE).one::<i64>(params![]).await?;
    Ok(one.to_string())
}

/// Two transactions lock two rows crosswise. Says how many of them the database had to end.
async fn deadlock(State(context): State<Context>) -> Result<String, Error> {
    let db = context.db();
    db.write().execute("CREATE TABLE crossing (id BIGINT PRIMARY KEY, at BIGINT)", params![]).await?;
    db.write().execute("INSERT INTO crossing VALUES (1, 0), (2, 0)", params![]).await?;
    let both_hold_one = tokio::sync::Barrier::new(2);
    let cross = async |first: i64, second: i64| {
        let transaction = db.begin().await?;
        let step = "UPDATE crossing SET at = at + 1 WHERE id = $1";
        transaction.execute(step, params![first]).await?;
        both_hold_one.wait().await;
        transaction.execute(step, params![second]).await?;
        transaction.commit().await
    };
    let outcomes = tokio::join!(cross(1, 2), cross(2, 1));
    let ended = [outcomes.0, outcomes.1].iter().filter(|outcome| outcome.is_err()).count();
    Ok(ended.to_string())
}
