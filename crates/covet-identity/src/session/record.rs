//! What is stored of a session.

use covet_core::ids::random_bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::token::SecretHash;

/// A session as it is stored. Its parts are written apart, so that prolonging one does not write its data.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) secret: SecretHash,
    pub(super) about: About,
    pub(super) times: Times,
    pub(super) contents: Contents,
}

/// What stays as it is while the session lasts. JSON in Redis; a release may add members, and ignores those it does not
/// know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// Who is logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<Uuid>,
    /// The roles that had been given to them when they logged in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<String>,
    pub(super) created_at: Timestamp,
    /// When it ends, however much it is used.
    pub(super) ends_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
}

/// What moves with use. In milliseconds since 1970, so that Redis can compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) used: i64,
    pub(super) expires: i64,
}

/// What handlers keep in a session: a JSON object, and a number that each change makes another. It is random, not
/// counted: a failover can lose a change, and two different changes of the same count would be taken for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) version: u64,
    pub(super) json: String,
}

/// What became of a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// Somebody else has written meanwhile: this.
    Newer(Contents),
    /// There is no such session any longer.
    Gone,
}

impl Contents {
    pub(super) const EMPTY_JSON: &str = "{}";

    pub(super) fn new(json: String) -> Self {
        Self { version: u64::from_ne_bytes(random_bytes()), json }
    }
}

impl Times {
    /// Whether the session has ended by itself.
    pub(super) fn are_over(self, now: i64) -> bool {
        self.expires <= now
    }

    /// How long it still lasts, in milliseconds.
    pub(super) fn left(self, now: i64) -> i64 {
        self.expires.saturating_sub(now).max(1)
    }
}
