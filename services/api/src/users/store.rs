//! The table `users`.

use covet::data::{Db, Error, Transaction, params};
use covet::identity::password::PasswordHash;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::email::Email;
use super::user::{NewUser, User};
use crate::web::page::PageQuery;

/// Reads users. Writing goes through a transaction, which also records who did it.
#[derive(Debug, Clone, Copy)]
pub struct Users<'a>(pub &'a Db);

/// What a login is checked against.
#[derive(Debug, Deserialize)]
pub struct Credentials {
    /// The user.
    pub id: Uuid,
    /// Their password.
    pub password_hash: PasswordHash,
}

impl Users<'_> {
    /// One user.
    ///
    /// # Errors
    /// Of the database.
    pub async fn find(self, id: Uuid) -> Result<Option<User>, Error> {
        let sql = "SELECT id, email, name, version, created_at, updated_at FROM users WHERE id = $1";
        self.0.read().optional(sql, params![id]).await
    }

    /// One user, to be changed: from the primary, so that the version is the present one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn find_for_change(self, id: Uuid) -> Result<Option<User>, Error> {
        let sql = "SELECT id, email, name, version, created_at, updated_at FROM users WHERE id = $1";
        self.0.write().optional(sql, params![id]).await
    }

    /// A page of users, newest first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn list(self, page: &PageQuery) -> Result<Vec<User>, Error> {
        let sql = "SELECT id, email, name, version, created_at, updated_at FROM users
                   WHERE id < $1 ORDER BY id DESC LIMIT $2";
        self.0.read().all(sql, params![page.before(), page.rows()]).await
    }

    /// What a login with this address is checked against. From the primary: who has just registered can log in.
    ///
    /// # Errors
    /// Of the database.
    pub async fn credentials_by_email(self, email: &Email) -> Result<Option<Credentials>, Error> {
        let sql = "SELECT id, password_hash FROM users WHERE email = $1";
        self.0.write().optional(sql, params![email.as_str()]).await
    }

    /// What a change of this user's secrets is checked against.
    ///
    /// # Errors
    /// Of the database.
    pub async fn credentials(self, id: Uuid) -> Result<Option<Credentials>, Error> {
        self.0.write().optional("SELECT id, password_hash FROM users WHERE id = $1", params![id]).await
    }

    /// Whether this is still their password.
    ///
    /// # Errors
    /// Of the database.
    pub async fn has_password(self, id: Uuid, hash: &PasswordHash) -> Result<bool, Error> {
        let credentials = self.credentials(id).await?;
        Ok(credentials.is_some_and(|credentials| credentials.password_hash.as_str() == hash.as_str()))
    }

    /// Puts another hash in place of `old`; false when `old` is no longer the stored one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn replace_password(self, id: Uuid, old: &PasswordHash, new: &PasswordHash) -> Result<bool, Error> {
        let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        let changed = self.0.write().execute(sql, params![id, old.as_str(), new.as_str()]).await?;
        Ok(changed == 1)
    }
}

/// Stores a new user.
///
/// # Errors
/// [`Error::Unique`] when the address is taken.
pub(crate) async fn insert(transaction: &Transaction, id: Uuid, new: &NewUser, now: Timestamp) -> Result<User, Error> {
    let sql = "INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, 1, $5, $5)
               RETURNING id, email, name, version, created_at, updated_at";
    let values = params![id, new.email.as_str(), new.name, new.password.as_str(), now];
    transaction.one(sql, values).await
}

/// Changes a user whose version is still `version`; `None` when it is not.
///
/// # Errors
/// [`Error::Unique`] when the address is taken.
pub(super) async fn update(
    transaction: &Transaction,
    id: Uuid,
    version: i64,
    name: Option<&str>,
    email: Option<&Email>,
    now: Timestamp,
) -> Result<Option<User>, Error> {
    let sql = "UPDATE users
               SET name = COALESCE($3, name), email = COALESCE($4, email), version = version + 1, updated_at = $5
               WHERE id = $1 AND version = $2
               RETURNING id, email, name, version, created_at, updated_at";
    let values = params![id, version, name, email.map(Email::as_str), now];
    transaction.optional(sql, values).await
}

/// Takes a user whose version is still `version` for this transaction alone; false when it is not.
///
/// # Errors
/// Of the database.
pub(super) async fn hold(transaction: &Transaction, id: Uuid, version: i64) -> Result<bool, Error> {
    let sql = "UPDATE users SET version = version + 1 WHERE id = $1 AND version = $2";
    Ok(transaction.execute(sql, params![id, version]).await? == 1)
}

/// Makes sure that this is still the user's password, and keeps it so until the transaction ends; false when it is another, or
/// the user is gone.
///
/// # Errors
/// Of the database.
pub(crate) async fn hold_password(transaction: &Transaction, id: Uuid, hash: &PasswordHash) -> Result<bool, Error> {
    transaction.lock(&format!("password of {id}")).await?;
    let sql = "SELECT id FROM users WHERE id = $1 AND password_hash = $2";
    Ok(transaction.optional::<Uuid>(sql, params![id, hash.as_str()]).await?.is_some())
}

/// Stores a new password in place of `old`; false when that is no longer the stored one. Waits for logins that hold it.
///
/// # Errors
/// Of the database.
pub(super) async fn set_password(
    transaction: &Transaction,
    id: Uuid,
    old: &PasswordHash,
    new: &PasswordHash,
    now: Timestamp,
) -> Result<bool, Error> {
    transaction.lock(&format!("password of {id}")).await?;
    let sql = "UPDATE users SET password_hash = $3, version = version + 1, updated_at = $4 WHERE id = $1 AND password_hash = $2";
    Ok(transaction.execute(sql, params![id, old.as_str(), new.as_str(), now]).await? == 1)
}
