//! Jobs that were given up: looked at, tried again, removed.

use covet_data::{Result, params};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::Jobs;

/// A job that was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadJob {
    /// Its id.
    pub id: Uuid,
    /// The name of its type.
    pub name: String,
    /// The job, as JSON.
    pub payload: Value,
    /// How often it was tried.
    pub attempt: u32,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// The request that has added it.
    pub request_id: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
}

const COLUMNS: &str = "id, name, payload, attempt, last_error, request_id, created_at, run_at AS died_at";

impl Jobs {
    /// Those that were given up, the last one first; of one type, or of all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn dead(&self, name: Option<&str>, limit: u32) -> Result<Vec<DeadJob>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE state = 'dead' AND (CAST($1 AS TEXT) IS NULL OR name = $1) ORDER BY run_at DESC, id LIMIT $2"
        );
        self.shared().db.write().all(&sql, params![name, i64::from(limit)]).await
    }

    /// One of those.
    ///
    /// # Errors
    /// Of the database.
    pub async fn dead_job(&self, id: Uuid) -> Result<Option<DeadJob>> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE state = 'dead' AND id = $1");
        self.shared().db.write().optional(&sql, params![id]).await
    }

    /// Does a job anew that was given up, with all its attempts; false if there is none of this id, or another of its unique key has
    /// been added since.
    ///
    /// # Errors
    /// Of the database.
    pub async fn revive(&self, id: Uuid) -> Result<bool> {
        // Where another waits under its key, that one will do it.
        let sql = "UPDATE jobs SET state = 'waiting', attempt = 0, run_at = $2 WHERE state = 'dead' AND id = $1
                   AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.name = jobs.name
                                   AND other.unique_key = jobs.unique_key AND other.state <> 'dead')";
        let revived = self.shared().db.write().execute(sql, params![id, self.shared().clock.now()]).await?;
        self.shared().added.notify_one();
        Ok(revived == 1)
    }

    /// Does all anew that were given up, of one type or of all; tells how many. Those are passed over of whose unique key another has been
    /// added since; of several dead ones of one key the last one is done.
    ///
    /// # Errors
    /// Of the database.
    pub async fn revive_all(&self, name: Option<&str>) -> Result<u64> {
        let sql = "UPDATE jobs SET state = 'waiting', attempt = 0, run_at = $2
                   WHERE state = 'dead' AND (CAST($1 AS TEXT) IS NULL OR name = $1)
                   AND NOT EXISTS (SELECT 1 FROM jobs AS other WHERE other.name = jobs.name AND other.unique_key = jobs.unique_key
                                   AND (other.state <> 'dead' OR other.id > jobs.id))";
        let revived = self.shared().db.write().execute(sql, params![name, self.shared().clock.now()]).await?;
        self.shared().added.notify_one();
        Ok(revived)
    }

    /// Removes a job that was given up; false if there is none of this id.
    ///
    /// # Errors
    /// Of the database.
    pub async fn discard(&self, id: Uuid) -> Result<bool> {
        Ok(self.shared().db.write().execute("DELETE FROM jobs WHERE state = 'dead' AND id = $1", params![id]).await?
            == 1)
    }
}
