//! An entry as it is stored, and its hash.
//!
//! `hash` is SHA-256, as 64 lower-case hexadecimal digits, of these values, each written as a netstring
//! (<https://cr.yp.to/proto/netstrings.txt>: length in bytes, `:`, the bytes, `,`), one after another; a value that is NULL is `~`:
//!
//! `covet.audit/1`, `sequence` in decimal, `previous_hash`, `recorded_at` as microseconds since 1970 in decimal, `event`, `reason`, `actor`,
//! `target`, `changes` as stored, `origin_digest`.
//!
//! `origin_digest` is the same of `covet.audit.origin/1`, `origin_salt`, `address`, `request_id`. The salt is 128 random bits: without it
//! nobody finds an address by trying all of them. The first entry's `previous_hash` is 64 zeros.
//!
//! The lengths make the text of two different entries different, and anybody can compute it again with another program.

use covet_core::hex;
use covet_core::ids::random_bytes;
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What stands for the hash of the entry before the first.
pub(super) const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Every column, in the order of [`Stored`]'s fields.
pub(super) const COLUMNS: &str = "sequence, recorded_at, event, reason, actor, target, changes, address, request_id, \
                                  origin_salt, origin_digest, previous_hash, hash";

/// A row of `audit_entries`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stored {
    pub(super) sequence: i64,
    pub(super) recorded_at: Timestamp,
    pub(super) event: String,
    pub(super) reason: Option<String>,
    pub(super) actor: String,
    pub(super) target: Option<String>,
    pub(super) changes: Option<String>,
    pub(super) address: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) origin_salt: Option<String>,
    pub(super) origin_digest: Option<String>,
    pub(super) previous_hash: String,
    pub(super) hash: String,
}

/// Where something came from: what can be taken out of an entry again.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: Option<String>,
    pub(super) request_id: String,
}

impl Stored {
    /// The hash that it should have.
    pub(super) fn computed_hash(&self) -> String {
        let mut text = Netstrings::new("covet.audit/1");
        text.push(Some(&self.sequence.to_string()));
        text.push(Some(&self.previous_hash));
        text.push(Some(&self.recorded_at.as_microsecond().to_string()));
        text.push(Some(&self.event));
        text.push(self.reason.as_deref());
        text.push(Some(&self.actor));
        text.push(self.target.as_deref());
        text.push(self.changes.as_deref());
        text.push(self.origin_digest.as_deref());
        text.digest()
    }

    /// Puts in where it came from, under a salt of its own.
    pub(super) fn set_origin(&mut self, origin: Origin) {
        (self.address, self.request_id) = (origin.address, Some(origin.request_id));
        self.origin_salt = Some(hex::digits(random_bytes::<16>()));
        self.origin_digest = self.computed_origin_digest();
    }

    /// Whether where it came from is what it was, or has been taken out as a whole.
    pub(super) fn origin_is_whole(&self) -> bool {
        let taken_out = self.address.is_none() && self.request_id.is_none() && self.origin_salt.is_none();
        taken_out || self.computed_origin_digest() == self.origin_digest
    }

    fn computed_origin_digest(&self) -> Option<String> {
        let salt = self.origin_salt.as_deref()?;
        let mut text = Netstrings::new("covet.audit.origin/1");
        text.push(Some(salt));
        text.push(self.address.as_deref());
        text.push(self.request_id.as_deref());
        Some(text.digest())
    }
}

/// Values with their lengths, one after another.
struct Netstrings(Sha256);

impl Netstrings {
    fn new(what: &str) -> Self {
        let mut text = Self(Sha256::new());
        text.push(Some(what));
        text
    }

    fn push(&mut self, value: Option<&str>) {
        match value {
            Some(value) => {
                self.0.update(value.len().to_string());
                self.0.update(b":");
                self.0.update(value);
                self.0.update(b",");
            }
            None => self.0.update(b"~"),
        }
    }

    fn digest(self) -> String {
        hex::digits(self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Stored {
        Stored {
            sequence: 1,
            recorded_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            event: "user_created".to_owned(),
            reason: None,
            actor: "anonymous".to_owned(),
            target: Some("user:a".to_owned()),
            changes: None,
            address: None,
            request_id: None,
            origin_salt: None,
            origin_digest: None,
            previous_hash: NO_HASH.to_owned(),
            hash: String::new(),
        }
    }

    fn entry_from(address: &str) -> Stored {
        let mut entry = entry();
        entry.set_origin(Origin { address: Some(address.to_owned()), request_id: "r1".to_owned() });
        entry
    }

    #[test]
    fn the_hash_is_that_of_the_documented_text() {
        let text =
            format!("13:covet.audit/1,1:1,64:{NO_HASH},16:1767225600000000,12:user_created,~9:anonymous,6:user:a,~~");
        assert_eq!(entry().computed_hash(), hex::digits(Sha256::digest(text)));
    }

    #[test]
    fn text_that_moves_from_one_field_to_another_changes_the_hash() {
        let moved = Stored { event: "user_create".to_owned(), actor: "danonymous".to_owned(), ..entry() };
        assert_ne!(moved.computed_hash(), entry().computed_hash());
        let empty = Stored { reason: Some(String::new()), ..entry() };
        assert_ne!(empty.computed_hash(), entry().computed_hash());
    }

    #[test]
    fn an_origin_is_taken_out_as_a_whole_or_not_at_all() {
        let whole = entry_from("192.0.2.7");
        assert!(whole.origin_is_whole());
        let other = Stored { address: Some("192.0.2.8".to_owned()), ..whole.clone() };
        assert!(!other.origin_is_whole());
        let part = Stored { address: None, ..whole.clone() };
        assert!(!part.origin_is_whole());
        let taken_out = Stored { address: None, request_id: None, origin_salt: None, ..whole.clone() };
        assert!(taken_out.origin_is_whole());
        assert_eq!(taken_out.computed_hash(), whole.computed_hash());
        let put_in = Stored { origin_digest: None, ..whole };
        assert!(!put_in.origin_is_whole());
    }

    #[test]
    fn the_same_origin_has_another_digest_each_time() {
        assert_ne!(entry_from("192.0.2.7").origin_digest, entry_from("192.0.2.7").origin_digest);
    }
}
