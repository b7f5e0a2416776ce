//! The tables `sessions` and `refresh_tokens`.

use covet::data::{Db, Error, Transaction, params};
use covet::identity::audit::{Actor, Entry, Trail};
use covet::identity::settings::AuthSettings;
use covet::identity::token::{Fingerprint, RefreshToken, RefreshVerdict, StoredRefreshToken};
use covet::telemetry::logging::vocabulary::SESSION_ENDED;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// Refreshes and lists logins by token. Opening and ending them goes through a transaction, which also records who did it.
#[derive(Debug, Clone, Copy)]
pub struct TokenSessions<'a>(pub &'a Db);

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The user said so.
    Logout,
    /// One of its refresh tokens came twice.
    TokenReused,
    /// The user has another password now.
    PasswordChanged,
    /// The user ended it from another login.
    Revoked,
}

/// What became of a presented refresh token.
#[derive(Debug)]
pub enum Refreshed {
    /// It was good, and here is the next one.
    Next {
        /// Whose it is.
        user: Uuid,
        /// Which login.
        session: Uuid,
        /// The next token.
        token: RefreshToken,
    },
    /// It was not good. When it was [`RefreshVerdict::Reused`], the session has been ended.
    Refused {
        /// Whose it is.
        user: Uuid,
        /// Which login.
        session: Uuid,
        /// Why.
        verdict: RefreshVerdict,
    },
    /// Nobody has such a token.
    Unknown,
}

/// A refresh token with its session.
#[derive(Debug, Deserialize)]
struct TokenRow {
    session_id: Uuid,
    user_id: Uuid,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    session_ended_at: Option<Timestamp>,
    session_expires_at: Timestamp,
}

/// A session that has been ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Ended {
    /// Which login.
    pub id: Uuid,
    /// Whose it was.
    pub user_id: Uuid,
}

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Open {
    /// Which login.
    pub id: Uuid,
    /// When it began.
    pub created_at: Timestamp,
    /// When its tokens were last refreshed.
    pub last_used_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

impl EndReason {
    /// The word for it in the database and in the audit trail.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::TokenReused => "token_reused",
            Self::PasswordChanged => "password_changed",
            Self::Revoked => "revoked",
        }
    }
}

impl TokenSessions<'_> {
    /// Uses a refresh token up and gives the next one; ends the session when the token has been used before.
    ///
    /// # Errors
    /// Of the database. Nothing has changed then.
    pub async fn refresh(
        self,
        presented: &Fingerprint,
        auth: &AuthSettings,
        trail: &Trail,
        now: Timestamp,
    ) -> Result<Refreshed, Error> {
        let transaction = self.0.begin().await?;
        // Of several requests with one token, one changes this row; the others wait for it and find it used.
        let claimed = transaction
            .execute(
                "UPDATE refresh_tokens SET used_at = $2 WHERE fingerprint = $1 AND used_at IS NULL",
                params![presented.as_str(), now],
            )
            .await?
            == 1;
        let sql = "SELECT t.session_id, s.user_id, t.expires_at, t.used_at,
                          s.ended_at AS session_ended_at, s.expires_at AS session_expires_at
                   FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id
                   WHERE t.fingerprint = $1";
        let Some(row) = transaction.optional::<TokenRow>(sql, params![presented.as_str()]).await? else {
            return Ok(Refreshed::Unknown);
        };
        let verdict = StoredRefreshToken {
            used_at: if claimed { None } else { row.used_at },
            expires_at: row.expires_at,
            session_ended_at: row.session_ended_at,
            session_expires_at: row.session_expires_at,
        }
        .judge(now);
        let (user, session) = (row.user_id, row.session_id);
        if verdict != RefreshVerdict::Good {
            if verdict == RefreshVerdict::Reused && end_reused(&transaction, session, now).await? {
                let entry = Entry::new(SESSION_ENDED, "login ended, its refresh token was used twice");
                let entry = entry.actor(Actor::Service).target("session", session);
                trail.commit(transaction, entry.after("reason", EndReason::TokenReused.as_str())).await?;
            } else {
                transaction.commit().await?;
            }
            return Ok(Refreshed::Refused { user, session, verdict });
        }
        transaction.execute("UPDATE sessions SET last_used_at = $2 WHERE id = $1", params![session, now]).await?;
        let token = next_token(&transaction, session, row.session_expires_at, auth, now).await?;
        transaction.commit().await?;
        Ok(Refreshed::Next { user, session, token })
    }

    /// A user's open sessions, the one used last first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list_open(self, user: Uuid, now: Timestamp) -> Result<Vec<Open>, Error> {
        let sql = "SELECT id, created_at, last_used_at, expires_at FROM sessions
                   WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2
                   ORDER BY last_used_at DESC, id DESC";
        // From the primary: what has just been ended must not be listed.
        self.0.write().all(sql, params![user, now]).await
    }

    /// How many are open.
    ///
    /// # Errors
    /// Of the database.
    pub async fn count_open(self, now: Timestamp) -> Result<u64, Error> {
        let sql = "SELECT count(*) FROM sessions WHERE ended_at IS NULL AND expires_at > $1";
        let count: i64 = self.0.read().one(sql, params![now]).await?;
        Ok(count.unsigned_abs())
    }
}

/// Opens a session and gives its first refresh token.
///
/// # Errors
/// Of the database; a foreign key's when the user is gone.
pub(super) async fn open(
    transaction: &Transaction,
    session: Uuid,
    user: Uuid,
    auth: &AuthSettings,
    now: Timestamp,
) -> Result<RefreshToken, Error> {
    let expires_at = RefreshToken::expiry(now, auth.session_lifetime, Timestamp::MAX);
    let sql = "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, $3, $4)";
    transaction.execute(sql, params![session, user, now, expires_at]).await?;
    next_token(transaction, session, expires_at, auth, now).await
}

/// Ends the session that a refresh token belongs to, if there is one.
///
/// # Errors
/// Of the database.
pub(super) async fn end_by_token(
    transaction: &Transaction,
    token: &Fingerprint,
    reason: EndReason,
    now: Timestamp,
) -> Result<Option<Ended>, Error> {
    let sql = "UPDATE sessions SET ended_at = $2, end_reason = $3
               WHERE ended_at IS NULL
                 AND id = (SELECT session_id FROM refresh_tokens WHERE fingerprint = $1)
               RETURNING id, user_id";
    transaction.optional(sql, params![token.as_str(), now, reason.as_str()]).await
}

/// Ends one of a user's open sessions; false when the user has none of this id.
///
/// # Errors
/// Of the database.
pub(super) async fn end(
    transaction: &Transaction,
    user: Uuid,
    session: Uuid,
    reason: EndReason,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "UPDATE sessions SET ended_at = $3, end_reason = $4
               WHERE id = $2 AND user_id = $1 AND ended_at IS NULL AND expires_at > $3";
    Ok(transaction.execute(sql, params![user, session, now, reason.as_str()]).await? == 1)
}

/// Ends a user's open sessions but `kept`, and says which.
///
/// # Errors
/// Of the database.
pub(crate) async fn end_others(
    transaction: &Transaction,
    user: Uuid,
    kept: Uuid,
    reason: EndReason,
    now: Timestamp,
) -> Result<Vec<Uuid>, Error> {
    let sql = "UPDATE sessions SET ended_at = $3, end_reason = $4
               WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL
               RETURNING id";
    transaction.all(sql, params![user, kept, now, reason.as_str()]).await
}

async fn next_token(
    transaction: &Transaction,
    session: Uuid,
    session_expires_at: Timestamp,
    auth: &AuthSettings,
    now: Timestamp,
) -> Result<RefreshToken, Error> {
    let token = RefreshToken::generate();
    let expires_at = RefreshToken::expiry(now, auth.refresh_token_ttl, session_expires_at);
    let sql = "INSERT INTO refresh_tokens (fingerprint, session_id, issued_at, expires_at) VALUES ($1, $2, $3, $4)";
    transaction.execute(sql, params![token.fingerprint().as_str(), session, now, expires_at]).await?;
    Ok(token)
}

async fn end_reused(transaction: &Transaction, session: Uuid, now: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL";
    Ok(transaction.execute(sql, params![session, now, EndReason::TokenReused.as_str()]).await? == 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covet::environment::Environment;
    use covet::settings::Section;

    use super::*;
    use crate::test_db::{ADA, at, each_database, trail};

    const SESSION: Uuid = Uuid::from_u128(2);

    fn auth() -> AuthSettings {
        AuthSettings::defaults(Environment::Development)
    }

    fn days(count: u64) -> Duration {
        Duration::from_secs(count * 24 * 60 * 60)
    }

    async fn opened(db: &Db, session: Uuid, now: Timestamp) -> RefreshToken {
        let transaction = db.begin().await.unwrap();
        let token = open(&transaction, session, ADA, &auth(), now).await.unwrap();
        transaction.commit().await.unwrap();
        token
    }

    fn verdict(refreshed: &Refreshed) -> Option<RefreshVerdict> {
        match refreshed {
            Refreshed::Refused { verdict, .. } => Some(*verdict),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_session_is_open_until_it_is_ended_or_expires() {
        for test in each_database().await {
            let (sessions, start) = (TokenSessions(&test.db), at("2026-01-01T00:00:00Z"));
            assert_eq!(sessions.count_open(start).await.unwrap(), 0);
            let first = opened(&test.db, SESSION, start).await;
            opened(&test.db, Uuid::from_u128(3), start + days(1)).await;
            assert_eq!(sessions.count_open(start + days(1)).await.unwrap(), 2);
            let transaction = test.db.begin().await.unwrap();
            end_by_token(&transaction, &first.fingerprint(), EndReason::Logout, start + days(2)).await.unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(sessions.count_open(start + days(2)).await.unwrap(), 1);
            assert_eq!(sessions.count_open(start + days(1) + auth().session_lifetime).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn a_token_that_is_not_used_expires_and_its_login_with_it() {
        for test in each_database().await {
            let (sessions, start) = (TokenSessions(&test.db), at("2026-01-01T00:00:00Z"));
            let token = opened(&test.db, SESSION, start).await;
            let late = sessions.refresh(&token.fingerprint(), &auth(), &trail(), start + days(30)).await.unwrap();
            assert_eq!(verdict(&late), Some(RefreshVerdict::Expired));
        }
    }

    #[tokio::test]
    async fn refreshing_keeps_a_login_alive_until_its_lifetime_ends() {
        for test in each_database().await {
            let (sessions, start) = (TokenSessions(&test.db), at("2026-01-01T00:00:00Z"));
            let mut token = opened(&test.db, SESSION, start).await;
            for day in [29, 58, 87] {
                let refreshed =
                    sessions.refresh(&token.fingerprint(), &auth(), &trail(), start + days(day)).await.unwrap();
                let Refreshed::Next { user, session, token: next } = refreshed else {
                    panic!("day {day}: {refreshed:?}")
                };
                assert_eq!((user, session), (ADA, SESSION));
                token = next;
            }
            let over = sessions.refresh(&token.fingerprint(), &auth(), &trail(), start + days(90)).await.unwrap();
            assert_eq!(verdict(&over), Some(RefreshVerdict::Expired));
        }
    }

    #[tokio::test]
    async fn a_reused_token_ends_the_session_and_says_whose_it_was() {
        for test in each_database().await {
            let (sessions, now) = (TokenSessions(&test.db), at("2026-01-01T00:00:00Z"));
            let first = opened(&test.db, SESSION, now).await.fingerprint();
            let Refreshed::Next { token: second, .. } = sessions.refresh(&first, &auth(), &trail(), now).await.unwrap()
            else {
                panic!("the first use is good")
            };
            let reused = sessions.refresh(&first, &auth(), &trail(), now).await.unwrap();
            assert!(matches!(
                reused,
                Refreshed::Refused { user: ADA, session: SESSION, verdict: RefreshVerdict::Reused }
            ));
            let after = sessions.refresh(&second.fingerprint(), &auth(), &trail(), now).await.unwrap();
            assert_eq!(verdict(&after), Some(RefreshVerdict::Ended));
            let reason: String = test.db.read().one("SELECT end_reason FROM sessions", params![]).await.unwrap();
            assert_eq!(reason, "token_reused");
            let strange = RefreshToken::generate().fingerprint();
            assert!(matches!(sessions.refresh(&strange, &auth(), &trail(), now).await.unwrap(), Refreshed::Unknown));
        }
    }
}
