//! The keys of access tokens: one signs, all verify, each found by its `kid`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_core::environment::Environment;
use covet_core::ids::random_bytes;
use covet_core::secret::SecretString;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use sha2::{Digest, Sha256};

use crate::keys::{KeyRingError, key_texts};

/// The type of our tokens (RFC 9068 §2.1), so that no other JWT made with the same key is taken for one.
pub(super) const TOKEN_TYPE: &str = "at+jwt";

/// The keys that sign and verify access tokens. The first signs.
///
/// A key's id (`kid`) is made from the key itself, so instances agree on it without being told.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
}

/// One key. The algorithm belongs to the key, never to the token (RFC 8725 §3.1).
pub(super) struct Key {
    pub(super) header: Header,
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
}

impl KeyRing {
    /// Reads keys separated by commas, spaces or line ends. The first signs. Outside production a key may be shorter
    /// than it should.
    ///
    /// # Errors
    /// [`KeyRingError`] says which key is wrong, without showing it.
    pub fn parse(text: &SecretString, environment: Environment) -> Result<Self, KeyRingError> {
        let secrets = key_texts(text, environment)?;
        Ok(Self { keys: secrets.into_iter().map(|secret| Key::hs256(secret.as_bytes())).collect() })
    }

    /// A ring with one random key, for development and tests: tokens do not outlive the process.
    #[must_use]
    pub fn generate() -> Self {
        Self { keys: vec![Key::hs256(&random_bytes::<32>())] }
    }

    /// The ids of the keys; the first signs. Fit for logs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(Key::id)
    }

    pub(super) fn signing(&self) -> &Key {
        &self.keys[0]
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

impl Key {
    fn hs256(secret: &[u8]) -> Self {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key_id(secret));
        Self { header, encoding: EncodingKey::from_secret(secret), decoding: DecodingKey::from_secret(secret) }
    }

    fn id(&self) -> &str {
        self.header.kid.as_deref().unwrap_or_default()
    }
}

/// 64 bits of SHA-256 over the key behind a prefix of its own. It tells nothing that a signed token does not:
/// both can only be searched for the key, and a key of 256 random bits cannot be found.
fn key_id(secret: &[u8]) -> String {
    let digest = Sha256::new().chain_update(b"covet access token key id\0").chain_update(secret).finalize();
    URL_SAFE_NO_PAD.encode(&digest[..8])
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(text: &str) -> Result<KeyRing, KeyRingError> {
        KeyRing::parse(&SecretString::from(text), Environment::Production)
    }

    #[test]
    fn the_first_key_signs_and_order_does_not_change_ids() {
        let one = parse(&format!("{A},{B}")).unwrap();
        let two = parse(&format!("\n{B}\n{A}\n")).unwrap();
        assert_eq!(one.signing().id(), two.ids().nth(1).unwrap());
        assert_eq!(two.signing().id(), one.ids().nth(1).unwrap());
    }

    #[test]
    fn bad_rings_say_which_key_and_show_none() {
        assert_eq!(parse(" ,\n").unwrap_err(), KeyRingError::Empty);
        assert_eq!(parse(&format!("{A},short")).unwrap_err(), KeyRingError::TooShort { position: 2, bytes: 5 });
        assert_eq!(parse(&format!("{A} {B} {A}")).unwrap_err(), KeyRingError::Doubled { position: 3 });
        assert!(!parse("tiny-secret").unwrap_err().to_string().contains("tiny"));
    }

    #[test]
    fn printing_a_ring_shows_ids_only() {
        let shown = format!("{:?}", parse(A).unwrap());
        assert!(!shown.contains("aaaa"), "{shown}");
    }
}
