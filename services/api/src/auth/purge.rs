//! Removes logins and API keys that are over, and answers kept for repeated requests: work for a periodic task.

use std::time::Duration;

use covet::data::{Db, Error, params};
use jiff::Timestamp;

/// Removes what is over, logins and API keys after they have been kept for a while; returns how many rows went (those that went
/// along with their session not counted).
///
/// Used refresh tokens stay until they would have expired: without them a second use could not be told.
///
/// # Errors
/// Of the database.
pub async fn purge(db: &Db, kept_after_end: Duration, now: Timestamp) -> Result<u64, Error> {
    let long_ago = now.checked_sub(kept_after_end).unwrap_or(Timestamp::MIN);
    let mut removed = 0;
    for (sql, before) in [
        ("DELETE FROM sessions WHERE expires_at < $1", long_ago),
        ("DELETE FROM sessions WHERE ended_at < $1", long_ago),
        ("DELETE FROM refresh_tokens WHERE expires_at < $1", long_ago),
        ("DELETE FROM api_keys WHERE expires_at < $1", long_ago),
        ("DELETE FROM idempotency_keys WHERE expires_at < $1", now),
    ] {
        removed += db.write().execute(sql, params![before]).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use covet::environment::Environment;
    use covet::identity::settings::AuthSettings;
    use covet::settings::Section;
    use uuid::Uuid;

    use super::super::token_sessions::{self, EndReason};
    use super::*;
    use crate::test_db::{ADA, at, each_database};

    #[tokio::test]
    async fn only_what_has_been_over_for_a_week_goes() {
        for test in each_database().await {
            let auth = AuthSettings::defaults(Environment::Development);
            let (old, new) = (Uuid::from_u128(10), Uuid::from_u128(11));
            let transaction = test.db.begin().await.unwrap();
            let opened = at("2026-01-01T00:00:00Z");
            let first = token_sessions::open(&transaction, old, ADA, &auth, opened).await.unwrap().fingerprint();
            token_sessions::open(&transaction, new, ADA, &auth, opened).await.unwrap();
            let ended = at("2026-01-02T00:00:00Z");
            token_sessions::end_by_token(&transaction, &first, EndReason::Logout, ended).await.unwrap();
            transaction.commit().await.unwrap();

            let week = Duration::from_secs(7 * 24 * 60 * 60);
            assert_eq!(purge(&test.db, week, at("2026-01-09T00:00:00Z")).await.unwrap(), 0);
            assert_eq!(purge(&test.db, week, at("2026-01-09T00:00:01Z")).await.unwrap(), 1);
            let left: Vec<Uuid> = test.db.read().all("SELECT session_id FROM refresh_tokens", params![]).await.unwrap();
            assert_eq!(left, [new]);
            assert!(purge(&test.db, week, at("2027-01-01T00:00:00Z")).await.unwrap() > 0);
            let left: i64 = test.db.read().one("SELECT count(*) FROM refresh_tokens", params![]).await.unwrap();
            assert_eq!(left, 0);
        }
    }
}
