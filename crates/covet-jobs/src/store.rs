//! The statements on `jobs`.
//!
//! Three states: `waiting` (to be done when `run_at` has come), `running` (on loan to `claimed_by` until `lease_until`), `dead` (given
//! up). What is done has no row. Whoever changes a running job names the worker that has it: one whose loan has ended changes nothing.

use std::fmt::Write as _;
use std::time::Duration;

use covet_data::{Db, Dialect, Executor, Params, Result, params};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// A job that is added.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) id: Uuid,
    pub(crate) name: &'a str,
    pub(crate) payload: Value,
    pub(crate) priority: i16,
    pub(crate) run_at: Timestamp,
    pub(crate) unique_key: Option<&'a str>,
    pub(crate) request_id: Option<String>,
    pub(crate) now: Timestamp,
}

/// A job on loan to a worker.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) payload: Value,
    pub(crate) priority: i16,
    pub(crate) run_at: Timestamp,
    /// With this one.
    pub(crate) attempt: u32,
    pub(crate) request_id: Option<String>,
}

/// A job whose worker did not extend its loan.
#[derive(Debug, Deserialize)]
pub(crate) struct TakenOver {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) attempt: u32,
}

/// How many jobs of a name there are.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) due: i64,
    pub(crate) later: i64,
    pub(crate) running: i64,
    pub(crate) dead: i64,
    /// When the one that is due for the longest time was to be done.
    pub(crate) oldest_due: Option<Timestamp>,
}

/// Adds it; false if there is one of this unique key already that has not been given up.
pub(crate) async fn insert(executor: &impl Executor, new: New<'_>) -> Result<bool> {
    let sql =
        "INSERT INTO jobs (id, name, payload, priority, state, run_at, attempt, unique_key, request_id, created_at)
               VALUES ($1, $2, $3, $4, 'waiting', $5, 0, $6, $7, $8)
               ON CONFLICT (name, unique_key) WHERE state <> 'dead' AND unique_key IS NOT NULL DO NOTHING";
    let values =
        params![new.id, new.name, new.payload, new.priority, new.run_at, new.unique_key, new.request_id, new.now,];
    Ok(executor.execute(sql, values).await? == 1)
}

/// The table is empty or full from one minute to the next, so what PostgreSQL knows of it is always wrong, and it would rather sort all that
/// wait than read the first few from `jobs_waiting`.
const IN_ORDER_OF_THE_INDEX: &str =
    "SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
                                            set_config('enable_seqscan', 'off', true)";

/// Takes at most `most` jobs of these names that are due, the most urgent first.
pub(crate) async fn claim(
    db: &Db,
    worker: Uuid,
    names: &[&str],
    most: usize,
    now: Timestamp,
    lease: Duration,
) -> Result<Vec<Claimed>> {
    let mut values = params![worker, now + lease, now, i64::try_from(most).unwrap_or(i64::MAX)];
    let names = placeholders(&mut values, names);
    // Of several workers each takes others, without waiting.
    let skip = match db.dialect() {
        Dialect::Postgres => " FOR UPDATE SKIP LOCKED",
        Dialect::Sqlite => "",
    };
    // MATERIALIZED: or PostgreSQL may look for them several times, and take more than it was asked for.
    let sql = format!(
        "WITH taken AS MATERIALIZED (
             SELECT id FROM jobs WHERE state = 'waiting' AND run_at <= $3 AND name IN ({names})
             ORDER BY priority, run_at, id LIMIT $4{skip}
         )
         UPDATE jobs SET state = 'running', claimed_by = $1, lease_until = $2, attempt = attempt + 1
         FROM taken WHERE jobs.id = taken.id
         RETURNING jobs.id, name, payload, priority, run_at, attempt, request_id"
    );
    let mut claimed: Vec<Claimed> = match db.dialect() {
        Dialect::Sqlite => db.write().all(&sql, values).await?,
        Dialect::Postgres => {
            let transaction = db.begin().await?;
            transaction.execute(IN_ORDER_OF_THE_INDEX, params![]).await?;
            let claimed = transaction.all(&sql, values).await?;
            transaction.commit().await?;
            claimed
        }
    };
    claimed.sort_by_key(|job| (job.priority, job.run_at, job.id));
    Ok(claimed)
}

/// Removes jobs that are done; tells how many the worker still had.
pub(crate) async fn complete(executor: &impl Executor, worker: Uuid, ids: &[Uuid]) -> Result<u64> {
    let mut values = params![worker];
    let ids = placeholders(&mut values, ids);
    executor.execute(&format!("DELETE FROM jobs WHERE claimed_by = $1 AND id IN ({ids})"), values).await
}

/// Puts a job back, to be tried again; false if the worker does not have it any more.
pub(crate) async fn retry(db: &Db, worker: Uuid, id: Uuid, run_at: Timestamp, error: &str) -> Result<bool> {
    let sql = "UPDATE jobs SET state = 'waiting', claimed_by = NULL, lease_until = NULL, run_at = $3, last_error = $4
               WHERE claimed_by = $1 AND id = $2";
    Ok(db.write().execute(sql, params![worker, id, run_at, error]).await? == 1)
}

/// Gives a job up; false if the worker does not have it any more.
pub(crate) async fn bury(db: &Db, worker: Uuid, id: Uuid, now: Timestamp, error: &str) -> Result<bool> {
    let sql = "UPDATE jobs SET state = 'dead', claimed_by = NULL, lease_until = NULL, run_at = $3, last_error = $4
               WHERE claimed_by = $1 AND id = $2";
    Ok(db.write().execute(sql, params![worker, id, now, error]).await? == 1)
}

/// Hands jobs back that were begun and not finished: that was no attempt.
pub(crate) async fn hand_back(db: &Db, worker: Uuid, ids: &[Uuid]) -> Result<u64> {
    let mut values = params![worker];
    let ids = placeholders(&mut values, ids);
    let sql = format!(
        "UPDATE jobs SET state = 'waiting', claimed_by = NULL, lease_until = NULL, attempt = attempt - 1
         WHERE claimed_by = $1 AND id IN ({ids})"
    );
    db.write().execute(&sql, values).await
}

/// Extends the loan of all that the worker has.
pub(crate) async fn extend(db: &Db, worker: Uuid, until: Timestamp) -> Result<u64> {
    let sql = "UPDATE jobs SET lease_until = $2 WHERE claimed_by = $1";
    db.write().execute(sql, params![worker, until]).await
}

/// Puts back what workers have had for longer than they may.
pub(crate) async fn take_over(db: &Db, now: Timestamp) -> Result<Vec<TakenOver>> {
    let sql =
        "UPDATE jobs SET state = 'waiting', claimed_by = NULL, lease_until = NULL, last_error = 'its worker was lost'
               WHERE claimed_by IS NOT NULL AND lease_until < $1 RETURNING id, name, attempt";
    db.write().all(sql, params![now]).await
}

/// Tells how far a job is.
pub(crate) async fn progress(db: &Db, worker: Uuid, id: Uuid, percent: u8, note: &str) -> Result<()> {
    let sql = "UPDATE jobs SET progress_percent = $3, progress_note = $4 WHERE claimed_by = $1 AND id = $2";
    db.write().execute(sql, params![worker, id, i16::from(percent), note]).await.map(drop)
}

/// How many there are of each name. Reads the whole table.
pub(crate) async fn standing(db: &Db, now: Timestamp) -> Result<Vec<Standing>> {
    let sql = "SELECT name, count(CASE WHEN state = 'waiting' AND run_at <= $1 THEN 1 END) AS due,
                      count(CASE WHEN state = 'waiting' AND run_at > $1 THEN 1 END) AS later,
                      count(CASE WHEN state = 'running' THEN 1 END) AS running,
                      count(CASE WHEN state = 'dead' THEN 1 END) AS dead,
                      min(CASE WHEN state = 'waiting' AND run_at <= $1 THEN run_at END) AS oldest_due
               FROM jobs GROUP BY name";
    db.write().all(sql, params![now]).await
}

/// Removes what was given up before this.
pub(crate) async fn forget_dead(db: &Db, before: Timestamp) -> Result<u64> {
    db.write().execute("DELETE FROM jobs WHERE state = 'dead' AND run_at < $1", params![before]).await
}

/// `$2, $3, …` for these values. Their number is rounded up by repeating the last one, so that there are few different statements.
fn placeholders<T: covet_data::ToParam>(values: &mut Params, list: &[T]) -> String {
    let mut text = String::new();
    for index in 0..list.len().next_power_of_two() {
        let Some(value) = list.get(index).or(list.last()) else { break };
        let number = values.push(value);
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}${number}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_similar_length_are_one_statement() {
        let list = |count: usize| {
            let mut values = params![0];
            placeholders(&mut values, &vec!["x"; count])
        };
        assert_eq!(list(1), "$2");
        assert_eq!(list(3), "$2, $3, $4, $5");
        assert_eq!(list(3), list(4));
    }
}
