//! What every peer with a database promises.
//!
//! It reads `DATABASE_URL`, and in the table `users` (`id`, `name`, `visits`; the harness has filled it, `harness/src/database.rs`)
//!
//! - answers `GET /users/{id}` with the [`User`] of that row, read by [`ONE`],
//! - answers `GET /twenty/{first}` with [`TWENTY`] of them as a list, each read by a statement of its own,
//! - answers `GET /hundred/{first}` with a hundred of them as a list, read by one statement, [`HUNDRED`],
//! - answers `GET /cached/{id}` as `GET /users/{id}`, from memory if it has answered it before: [`Kept`] if it has nothing of
//!   its own for that,
//! - answers `GET /plain/{id}` with [`User::numbered`], for which no database is asked,
//! - does [`VISIT`] for `POST /visits/{id}`, and answers with [`Updated`].
//!
//! The statements are those of peers that write SQL; an ORM makes its own, to the same end. They are the same for PostgreSQL
//! and SQLite.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One row by its primary key.
pub const ONE: &str = "SELECT id, name FROM users WHERE id = $1";

/// The rows from one id to another, both included.
pub const HUNDRED: &str = "SELECT id, name FROM users WHERE id BETWEEN $1 AND $2 ORDER BY id";

/// Counts a visit of one user.
pub const VISIT: &str = "UPDATE users SET visits = visits + 1 WHERE id = $1";

/// How many statements `GET /twenty/{first}` makes.
pub const TWENTY: i64 = 20;

/// Part of a row of `users`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// The primary key.
    pub id: i64,
    /// The name.
    pub name: String,
}

impl User {
    /// What the row of this number has.
    #[must_use]
    pub fn numbered(id: i64) -> Self {
        Self { id, name: format!("user-{id}") }
    }
}

/// Rows that have been read before, by their number.
pub type Kept<T = User> = moka::future::Cache<i64, Arc<T>>;

/// None yet; room for all of them.
#[must_use]
pub fn nothing_kept<T: Send + Sync + 'static>() -> Kept<T> {
    Kept::new(10_000)
}

/// Body of `POST /visits/{id}`.
#[derive(Debug, Serialize)]
pub struct Updated {
    /// Rows changed.
    pub updated: u64,
}

/// The ids of `GET /twenty/{first}`.
pub fn twenty(first: i64) -> impl Iterator<Item = i64> {
    first..first + TWENTY
}

/// The last id of `GET /hundred/{first}`.
#[must_use]
pub fn last_of_hundred(first: i64) -> i64 {
    first + 99
}

/// Where the database is.
///
/// # Errors
/// `DATABASE_URL` is not set.
pub fn url() -> anyhow::Result<String> {
    std::env::var("DATABASE_URL").map_err(|error| anyhow::anyhow!("DATABASE_URL: {error}"))
}
