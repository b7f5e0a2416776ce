//! A user as stored, and as shown.

use covet::identity::password::PasswordHash;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::email::Email;
use crate::web::fields;
use crate::web::precondition::Etag;

/// Longest name, in characters.
const MAX_NAME_LENGTH: usize = 100;

/// A row of `users`, without the password.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// Its id.
    pub id: Uuid,
    /// Where to reach them, and what they log in with.
    pub email: Email,
    /// What they want to be called.
    pub name: String,
    /// Counts the changes.
    pub version: i64,
    /// When they registered.
    pub created_at: Timestamp,
    /// When they last changed something.
    pub updated_at: Timestamp,
}

/// A user about to be stored.
#[derive(Debug)]
pub struct NewUser {
    /// Their address.
    pub email: Email,
    /// Their name, checked by [`checked_name`].
    pub name: String,
    /// Their password.
    pub password: PasswordHash,
}

/// A user as others see them; `email` is there for themselves only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = User)]
pub struct UserView {
    /// Their id.
    pub id: Uuid,
    /// Their address, when you are this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "email", example = "ada@example.com")]
    pub email: Option<String>,
    /// What they want to be called.
    #[schema(example = "Ada Lovelace")]
    pub name: String,
    /// When they registered.
    pub created_at: Timestamp,
    /// When they last changed something.
    pub updated_at: Timestamp,
}

impl User {
    /// What `caller` may see of this user.
    #[must_use]
    pub fn seen_by(&self, caller: Uuid) -> UserView {
        UserView {
            id: self.id,
            email: (caller == self.id).then(|| self.email.to_string()),
            name: self.name.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    /// The version as an entity tag.
    #[must_use]
    pub fn etag(&self) -> Etag {
        Etag(self.version)
    }
}

/// A user's name: one line of 1 to 100 characters.
///
/// # Errors
/// What is wrong, for the caller.
pub fn checked_name(given: &str) -> Result<String, String> {
    fields::text(given, 1, MAX_NAME_LENGTH)
}
