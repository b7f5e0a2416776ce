//! The table `api_keys`.

use covet::data::{Db, Error, params};
use covet::identity::access::Lookup;
use covet::identity::api_key::{ApiKeyStore, StoredApiKey};
use covet::identity::audit::{Entry, Trail};
use covet::identity::token::Fingerprint;
use covet::telemetry::logging::vocabulary;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// Most keys of one user.
const MOST_KEYS: i64 = 50;
/// How many of one name can live at once.
const SLOTS: [i64; 2] = [1, 2];

/// Reads and writes keys. It outlives a request, because access control looks keys up.
#[derive(Debug, Clone)]
pub struct ApiKeyTable(pub Db);

/// A key about to be stored.
#[derive(Debug)]
pub struct NewKey {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// Of its secret.
    pub fingerprint: Fingerprint,
    /// The names of the permissions that it may use.
    pub scopes: Vec<String>,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
}

/// What became of a key about to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there.
    Stored,
    /// Two of its name are there already.
    TwoOfThisName,
    /// Its owner has as many as one may have.
    TooMany,
}

/// A key as its owner sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyRow {
    /// Its id.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// The names of the permissions that it may use, between spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, exact to a minute.
    pub last_used_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct StoredRow {
    user_id: Uuid,
    fingerprint: Fingerprint,
    scopes: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
}

impl ApiKeyTable {
    /// Stores a new key, which the audit trail tells. One of its name that has expired makes room.
    ///
    /// # Errors
    /// Of the database; a foreign key's when the owner is gone.
    pub async fn insert(&self, trail: &Trail, new: &NewKey, now: Timestamp) -> Result<Inserted, Error> {
        let NewKey { id, user_id, name, fingerprint, scopes, expires_at } = new;
        let transaction = self.0.begin().await?;
        let sql = "DELETE FROM api_keys WHERE user_id = $1 AND name = $2 AND expires_at <= $3";
        transaction.execute(sql, params![user_id, name, now]).await?;
        let count: i64 = transaction.one("SELECT count(*) FROM api_keys WHERE user_id = $1", params![user_id]).await?;
        if count >= MOST_KEYS {
            return Ok(Inserted::TooMany);
        }
        let sql = "SELECT slot FROM api_keys WHERE user_id = $1 AND name = $2";
        let taken: Vec<i64> = transaction.all(sql, params![user_id, name]).await?;
        let Some(slot) = SLOTS.into_iter().find(|slot| !taken.contains(slot)) else {
            return Ok(Inserted::TwoOfThisName);
        };
        let sql = "INSERT INTO api_keys (id, user_id, name, slot, fingerprint, scopes, created_at, expires_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = params![id, user_id, name, slot, fingerprint.as_str(), scopes.join(" "), now, expires_at];
        match transaction.execute(sql, values).await {
            Ok(_) => {}
            // Another request has taken the place meanwhile.
            Err(Error::Unique { .. }) => return Ok(Inserted::TwoOfThisName),
            Err(error) => return Err(error),
        }
        let entry = Entry::new(vocabulary::API_KEY_CREATED, "API key made").target("api_key", *id);
        trail.commit(transaction, entry).await?;
        Ok(Inserted::Stored)
    }

    /// A user's keys, the newest first. From the primary: what has just been revoked must not be listed.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list(&self, user: Uuid) -> Result<Vec<KeyRow>, Error> {
        let sql = "SELECT id, name, scopes, created_at, expires_at, last_used_at FROM api_keys
                   WHERE user_id = $1 ORDER BY id DESC";
        self.0.write().all(sql, params![user]).await
    }

    /// Deletes one of a user's keys, which the audit trail tells; false when the user has none of this id.
    ///
    /// # Errors
    /// Of the database.
    pub async fn delete(&self, trail: &Trail, user: Uuid, id: Uuid) -> Result<bool, Error> {
        let transaction = self.0.begin().await?;
        let sql = "DELETE FROM api_keys WHERE id = $1 AND user_id = $2";
        if transaction.execute(sql, params![id, user]).await? == 0 {
            return Ok(false);
        }
        let entry = Entry::new(vocabulary::API_KEY_REVOKED, "API key revoked").target("api_key", id);
        trail.commit(transaction, entry).await?;
        Ok(true)
    }
}

impl ApiKeyStore for ApiKeyTable {
    fn find(&self, id: Uuid) -> Lookup<'_, Option<StoredApiKey>> {
        let sql =
            "SELECT user_id, fingerprint, scopes, created_at, expires_at, last_used_at FROM api_keys WHERE id = $1";
        Box::pin(async move {
            let found: Option<StoredRow> = self.0.write().optional(sql, params![id]).await?;
            Ok(found.map(|row| StoredApiKey {
                user_id: row.user_id,
                fingerprint: row.fingerprint,
                scopes: row.scopes.split(' ').map(str::to_owned).collect(),
                created_at: row.created_at,
                expires_at: row.expires_at,
                last_used_at: row.last_used_at,
            }))
        })
    }

    fn note_use(&self, id: Uuid, now: Timestamp, unless_after: Timestamp) -> Lookup<'_, bool> {
        let sql = "UPDATE api_keys SET last_used_at = $2
                   WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
        Box::pin(async move { Ok(self.0.write().execute(sql, params![id, now, unless_after]).await? == 1) })
    }
}

#[cfg(test)]
mod tests {
    use covet::clock::Clock;
    use covet::identity::api_key::ApiKey;

    use super::*;
    use crate::test_db::{ADA, at, each_database, trail};

    fn new(name: &str, expires_at: Option<Timestamp>) -> NewKey {
        let key = ApiKey::generate(&Clock::system());
        let (id, fingerprint) = (key.id(), key.fingerprint());
        NewKey {
            id,
            user_id: ADA,
            name: name.to_owned(),
            fingerprint,
            scopes: vec!["notes:read".to_owned()],
            expires_at,
        }
    }

    #[tokio::test]
    async fn two_of_a_name_live_at_once_and_one_that_has_expired_makes_room() {
        for test in each_database().await {
            let (keys, start) = (ApiKeyTable(test.db.clone()), at("2026-01-01T00:00:00Z"));
            let soon = at("2026-01-02T00:00:00Z");
            let insert =
                async |name, expires_at, now| keys.insert(&trail(), &new(name, expires_at), now).await.unwrap();
            assert_eq!(insert("backup", Some(soon), start).await, Inserted::Stored);
            assert_eq!(insert("backup", None, start).await, Inserted::Stored);
            assert_eq!(insert("backup", None, start).await, Inserted::TwoOfThisName);
            assert_eq!(insert("other", None, start).await, Inserted::Stored);
            assert_eq!(insert("backup", None, soon).await, Inserted::Stored);
            assert_eq!(keys.list(ADA).await.unwrap().len(), 3);
        }
    }

    #[tokio::test]
    async fn keys_made_at_the_same_moment_are_no_more_than_two() {
        for test in each_database().await {
            let (keys, now) = (ApiKeyTable(test.db.clone()), at("2026-01-01T00:00:00Z"));
            let (a, b, c, d) = (new("x", None), new("x", None), new("x", None), new("x", None));
            let trail = trail();
            let made = tokio::join!(
                keys.insert(&trail, &a, now),
                keys.insert(&trail, &b, now),
                keys.insert(&trail, &c, now),
                keys.insert(&trail, &d, now)
            );
            let stored =
                [made.0, made.1, made.2, made.3].into_iter().filter(|made| matches!(made, Ok(Inserted::Stored)));
            let stored = stored.count();
            assert_eq!(keys.list(ADA).await.unwrap().len(), stored);
            assert!((1..=2).contains(&stored), "{stored}");
        }
    }

    #[tokio::test]
    async fn one_user_has_so_many_and_no_more() {
        for test in each_database().await {
            let (keys, now) = (ApiKeyTable(test.db.clone()), at("2026-01-01T00:00:00Z"));
            for number in 0..MOST_KEYS {
                assert_eq!(
                    keys.insert(&trail(), &new(&number.to_string(), None), now).await.unwrap(),
                    Inserted::Stored
                );
            }
            assert_eq!(keys.insert(&trail(), &new("one more", None), now).await.unwrap(), Inserted::TooMany);
        }
    }

    #[tokio::test]
    async fn a_use_is_noted_once_a_minute() {
        for test in each_database().await {
            let (keys, now) = (ApiKeyTable(test.db.clone()), at("2026-01-01T00:01:00Z"));
            let key = new("x", None);
            keys.insert(&trail(), &key, now).await.unwrap();
            let minute_before = at("2026-01-01T00:00:00Z");
            assert!(keys.note_use(key.id, now, minute_before).await.unwrap());
            assert!(!keys.note_use(key.id, at("2026-01-01T00:01:59Z"), at("2026-01-01T00:00:59Z")).await.unwrap());
            assert!(keys.note_use(key.id, at("2026-01-01T00:02:00Z"), now).await.unwrap());
            let stored = keys.find(key.id).await.unwrap().unwrap();
            assert_eq!(stored.last_used_at, Some(at("2026-01-01T00:02:00Z")));
            assert_eq!(stored.scopes, ["notes:read"]);
        }
    }
}
