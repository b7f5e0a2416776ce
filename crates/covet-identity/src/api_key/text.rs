//! A key as text: `cvt_<id>_<secret><checksum>`.
//!
//! | part | characters | what |
//! |---|---|---|
//! | `cvt_` | 4 | by which people, logs and scanners of repositories know it |
//! | id | 32 | names the key in lists and in the log. Not secret |
//! | secret | 64 | 256 bits from the operating system |
//! | checksum | 8 | CRC-32 of everything before it |
//!
//! All parts but the first are hexadecimal, so that a double click selects the whole key and one expression finds it:
//! `cvt_[0-9a-f]{32}_[0-9a-f]{72}`. By the checksum a scanner tells a key from what looks like one without asking the
//! service, and the service refuses a mistyped one without asking its database. GitHub's tokens are made in the same way
//! (<https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>).

use std::fmt;

use covet_core::clock::Clock;
use covet_core::hex;
use covet_core::ids::{new_id, random_bytes};
use covet_core::secret::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::token::Fingerprint;

/// What every key begins with.
const PREFIX: &str = "cvt_";
const ID_LENGTH: usize = 32;
const SECRET_LENGTH: usize = 64;
const CHECKSUM_LENGTH: usize = 8;
const LENGTH: usize = PREFIX.len() + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH;

/// A key with its secret.
pub struct ApiKey {
    id: Uuid,
    secret: SecretString,
}

/// The text is no API key, or one with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API key is malformed")]
pub struct MalformedApiKey;

/// Whether a bearer token means to be an API key.
pub(crate) fn looks_like_api_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl ApiKey {
    /// A new key.
    #[must_use]
    pub fn generate(clock: &Clock) -> Self {
        Self { id: new_id(clock), secret: SecretString::from(hex::digits(random_bytes::<32>())) }
    }

    /// Reads a key that a client sends.
    ///
    /// # Errors
    /// [`MalformedApiKey`]; no need to look it up then.
    pub fn parse(text: &str) -> Result<Self, MalformedApiKey> {
        if text.len() != LENGTH || !text.is_ascii() {
            return Err(MalformedApiKey);
        }
        let (before, checksum) = text.split_at(LENGTH - CHECKSUM_LENGTH);
        if checksum != checksum_of(before) {
            return Err(MalformedApiKey);
        }
        let parts = before.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
        let (id, secret) = parts.ok_or(MalformedApiKey)?;
        let is_hexadecimal = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if id.len() != ID_LENGTH || !is_hexadecimal(id) || !is_hexadecimal(secret) {
            return Err(MalformedApiKey);
        }
        let id = Uuid::try_parse(id).map_err(|_| MalformedApiKey)?;
        Ok(Self { id, secret: SecretString::from(secret) })
    }

    /// Its name, by which it is stored and looked up. Not secret.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What to store of its secret, and to compare with.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.secret)
    }

    /// The text, to show to its owner once.
    #[must_use]
    pub fn text(&self) -> SecretString {
        let mut text = format!("{PREFIX}{}_{}", self.id.simple(), self.secret.expose_secret());
        text.push_str(&checksum_of(&text));
        SecretString::from(text)
    }
}

fn checksum_of(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_shows_its_secret_nowhere_else() {
        let key = ApiKey::generate(&Clock::system());
        let text = key.text();
        let text = text.expose_secret();
        assert_eq!((text.len(), &text[..4]), (LENGTH, "cvt_"));
        let read = ApiKey::parse(text).unwrap();
        assert_eq!((read.id(), read.fingerprint()), (key.id(), key.fingerprint()));
        let secret = &text[37..];
        assert!(!format!("{key:?}").contains(&secret[..16]));
        assert!(!key.fingerprint().as_str().contains(&secret[..16]));
    }

    #[test]
    fn two_keys_have_nothing_in_common() {
        let (a, b) = (ApiKey::generate(&Clock::system()), ApiKey::generate(&Clock::system()));
        assert!(a.id() != b.id() && a.fingerprint() != b.fingerprint());
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let text = ApiKey::generate(&Clock::system()).text();
        let text = text.expose_secret();
        for at in 0..LENGTH {
            for other in ["0", "f", "_", "A"] {
                let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                assert_eq!(ApiKey::parse(&mistyped).is_ok(), mistyped == text, "{at}: {mistyped}");
            }
        }
        for text in ["", "cvt_", &text[1..], &format!("{text}0"), &"é".repeat(LENGTH / 2)] {
            assert!(ApiKey::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_right_checksum_does_not_make_a_key() {
        for inside in
            ["g".repeat(ID_LENGTH) + "_" + &"0".repeat(SECRET_LENGTH), "0".repeat(ID_LENGTH + 1 + SECRET_LENGTH)]
        {
            let text = format!("{PREFIX}{inside}");
            assert!(ApiKey::parse(&format!("{text}{}", checksum_of(&text))).is_err(), "{text}");
        }
    }
}
