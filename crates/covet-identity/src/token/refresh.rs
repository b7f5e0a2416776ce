//! Refresh tokens: opaque, random, used once.
//!
//! The service stores a [`Fingerprint`], when the token expires, and when it was used. The rules of use are in
//! [`StoredRefreshToken::judge`], apart from the tables, so that every service applies the same ones.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_core::hex;
use covet_core::ids::random_bytes;
use covet_core::secret::{ExposeSecret, SecretString};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// 32 random bytes as URL-safe text of 43 characters.
#[derive(Debug, Clone)]
pub struct RefreshToken(SecretString);

/// SHA-256 of a refresh token or of an API key's secret, in hexadecimal: what is stored. Without a salt and without stretching, because
/// either has 256 random bits; nobody can try them all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

/// The text is no refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the refresh token is malformed")]
pub struct MalformedRefreshToken;

/// A stored refresh token and its login, as read when the token is presented.
#[derive(Debug, Clone)]
pub struct StoredRefreshToken {
    /// When it was used, if it was.
    pub used_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When its login was ended, if it was.
    pub session_ended_at: Option<Timestamp>,
    /// When its login ends at the latest.
    pub session_expires_at: Timestamp,
}

/// What to do with a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshVerdict {
    /// Mark it used and give the next one.
    Good,
    /// Used before: somebody has a copy, so end the whole login.
    Reused,
    /// Its time, or its login's, is over.
    Expired,
    /// Its login was ended.
    Ended,
}

impl RefreshToken {
    /// A new token.
    #[must_use]
    pub fn generate() -> Self {
        Self(SecretString::from(URL_SAFE_NO_PAD.encode(random_bytes::<32>())))
    }

    /// Reads a token that a client sends.
    ///
    /// # Errors
    /// [`MalformedRefreshToken`] when it is not 32 bytes in URL-safe text; no need to look it up then.
    pub fn parse(text: &str) -> Result<Self, MalformedRefreshToken> {
        if text.len() != 43 || URL_SAFE_NO_PAD.decode(text).is_err() {
            return Err(MalformedRefreshToken);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// What to store and to look up.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0)
    }

    /// The text, to send to the client.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// When a token issued now expires: after `ttl`, and never after its login.
    #[must_use]
    pub fn expiry(now: Timestamp, ttl: Duration, session_expires_at: Timestamp) -> Timestamp {
        now.checked_add(ttl).unwrap_or(Timestamp::MAX).min(session_expires_at)
    }
}

impl StoredRefreshToken {
    /// Decides. Reuse counts before expiry: a copy that turns up late is still a copy.
    #[must_use]
    pub fn judge(&self, now: Timestamp) -> RefreshVerdict {
        if self.session_ended_at.is_some() {
            RefreshVerdict::Ended
        } else if self.used_at.is_some() {
            RefreshVerdict::Reused
        } else if now >= self.expires_at || now >= self.session_expires_at {
            RefreshVerdict::Expired
        } else {
            RefreshVerdict::Good
        }
    }
}

impl Fingerprint {
    /// Of a secret of 256 random bits; for nothing that can be guessed.
    pub(crate) fn of(secret: &SecretString) -> Self {
        Self(hex::digits(Sha256::digest(secret.expose_secret().as_bytes())))
    }

    /// The text to store, 64 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_found_by_their_fingerprint() {
        let (a, b) = (RefreshToken::generate(), RefreshToken::generate());
        assert_ne!(a.expose(), b.expose());
        let sent = RefreshToken::parse(a.expose()).unwrap();
        assert_eq!(sent.fingerprint(), a.fingerprint());
        assert_ne!(a.fingerprint(), b.fingerprint());
        assert_eq!(a.fingerprint().as_str().len(), 64);
        assert!(!format!("{a:?}").contains(a.expose()));
    }

    #[test]
    fn what_cannot_be_a_token_is_not_looked_up() {
        let long = "a".repeat(44);
        for text in ["", "abc", &long, "'; drop table users; --aaaaaaaaaaaaaaaaaaaaaa"] {
            assert!(RefreshToken::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_sha_256_of_the_text() {
        let token = RefreshToken(SecretString::from("abc"));
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(token.fingerprint().as_str(), expected);
    }

    #[test]
    fn each_state_has_its_verdict() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let fresh = StoredRefreshToken {
            used_at: None,
            expires_at: at("2026-01-31T00:00:00Z"),
            session_ended_at: None,
            session_expires_at: at("2026-04-01T00:00:00Z"),
        };
        let now = at("2026-01-02T00:00:00Z");
        assert_eq!(fresh.judge(now), RefreshVerdict::Good);
        assert_eq!(fresh.judge(at("2026-01-31T00:00:00Z")), RefreshVerdict::Expired);
        let used = StoredRefreshToken { used_at: Some(now), ..fresh.clone() };
        assert_eq!(used.judge(now), RefreshVerdict::Reused);
        assert_eq!(used.judge(at("2027-01-01T00:00:00Z")), RefreshVerdict::Reused);
        let ended = StoredRefreshToken { session_ended_at: Some(now), ..used };
        assert_eq!(ended.judge(now), RefreshVerdict::Ended);
        let old = StoredRefreshToken { session_expires_at: now, ..fresh };
        assert_eq!(old.judge(now), RefreshVerdict::Expired);
    }

    #[test]
    fn a_token_never_outlives_its_login() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let soon: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
        assert_eq!(RefreshToken::expiry(now, Duration::from_secs(86_400), soon), soon);
        assert_eq!(RefreshToken::expiry(now, Duration::from_secs(60), soon).to_string(), "2026-01-01T00:01:00Z");
    }
}
