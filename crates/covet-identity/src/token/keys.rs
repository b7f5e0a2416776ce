//! The keys of access tokens: one signs, all verify, each found by its `kid`.
//!
//! How a ring is written, `token/keys/text.rs`; one key, `token/keys/key.rs`.

mod key;
mod text;

use std::fmt;

use covet_core::environment::Environment;
use covet_core::ids::random_bytes;
use covet_core::secret::{ExposeSecret, SecretString};
use jsonwebtoken::jwk::JwkSet;

use self::key::Key;
pub(super) use self::key::TOKEN_TYPE;
use self::text::entries;
use crate::keys::KeyRingError;

/// The keys that sign and verify access tokens. The first signs.
///
/// A key's id (`kid`) is made from the key itself, so instances agree on it without being told: of a pair the RFC 7638
/// thumbprint of the public key, of a shared secret a part of a hash of its own.
pub struct KeyRing {
    keys: Vec<Key>,
    published: JwkSet,
}

impl KeyRing {
    /// Reads keys separated by commas, spaces or line ends. The first signs.
    ///
    /// A key is a text, which signs by HS256, or a PEM block: `PRIVATE KEY` (PKCS#8) of Ed25519 or RSA, which signs by `EdDSA`
    /// or RS256, or `PUBLIC KEY`, which only verifies. Outside production a text may be shorter than it should.
    ///
    /// # Errors
    /// [`KeyRingError`] says which key is wrong, without showing it.
    pub fn parse(text: &SecretString, environment: Environment) -> Result<Self, KeyRingError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in entries(text.expose_secret())?.into_iter().enumerate() {
            let position = index + 1;
            let key = Key::read(entry, position, environment)?;
            if keys.iter().any(|known| known.id() == key.id()) {
                return Err(KeyRingError::Doubled { position });
            }
            keys.push(key);
        }
        match keys.first() {
            None => Err(KeyRingError::Empty),
            Some(first) if first.encoding.is_none() => Err(KeyRingError::FirstCannotSign),
            Some(_) => Ok(Self::of(keys)),
        }
    }

    /// A ring with one random key, for development and tests: tokens do not outlive the process.
    #[must_use]
    pub fn generate() -> Self {
        Self::of(vec![Key::hs256(&random_bytes::<32>())])
    }

    fn of(keys: Vec<Key>) -> Self {
        let published = JwkSet { keys: keys.iter().filter_map(|key| key.public.clone()).collect() };
        Self { keys, published }
    }

    /// The ids of the keys; the first signs. Fit for logs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(Key::id)
    }

    /// The public keys, for others that check our tokens (RFC 7517). A shared secret is never among them.
    pub(super) fn published(&self) -> &JwkSet {
        &self.published
    }

    pub(super) fn signing(&self) -> &Key {
        &self.keys[0]
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.keys).finish()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;
    use crate::token::test_keys::{ED25519, ED25519_PUBLIC, RSA, RSA_PUBLIC, RSA_WEAK};

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(text: &str) -> Result<KeyRing, KeyRingError> {
        KeyRing::parse(&SecretString::from(text), Environment::Production)
    }

    fn published(ring: &KeyRing) -> serde_json::Value {
        serde_json::to_value(ring.published()).unwrap()
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
        let shown = format!("{:?}", parse(&format!("{A} {ED25519}")).unwrap());
        assert!(!shown.contains("aaaa") && !shown.contains("MC4C"), "{shown}");
    }

    #[test]
    fn secrets_and_pairs_stand_in_one_ring_and_each_has_its_algorithm() {
        let ring = parse(&format!("{ED25519}\n{A},{B}\n{RSA}{RSA_PUBLIC}")).unwrap_err();
        assert_eq!(ring, KeyRingError::Doubled { position: 5 }, "a public key is that of its private key");
        let ring = parse(&format!("{ED25519}\n{A},{B}\n{RSA}")).unwrap();
        let algorithms: Vec<_> = ring.keys.iter().map(|key| key.header.alg).collect();
        assert_eq!(algorithms, [Algorithm::EdDSA, Algorithm::HS256, Algorithm::HS256, Algorithm::RS256]);
    }

    #[test]
    fn only_public_keys_are_published_and_nothing_private_of_them() {
        let ring = parse(&format!("{A}\n{ED25519}{RSA}")).unwrap();
        let set = published(&ring);
        let members: Vec<Vec<&str>> = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key.as_object().unwrap().keys().map(String::as_str).collect())
            .collect();
        assert_eq!(members, [vec!["alg", "crv", "kid", "kty", "use", "x"], vec!["alg", "e", "kid", "kty", "n", "use"]]);
        assert_eq!((&set["keys"][0]["use"], &set["keys"][0]["alg"]), (&"sig".into(), &"EdDSA".into()));
        assert_eq!(set["keys"][1]["alg"], "RS256");
        assert_eq!(published(&parse(A).unwrap())["keys"], serde_json::json!([]));
    }

    #[test]
    fn a_pair_and_its_public_key_alone_have_one_id() {
        let ring = parse(&format!("{A}\n{ED25519}{RSA}")).unwrap();
        let verifying = parse(&format!("{A}\n{ED25519_PUBLIC}{RSA_PUBLIC}")).unwrap();
        assert_eq!(ring.ids().collect::<Vec<_>>(), verifying.ids().collect::<Vec<_>>());
        assert_eq!(published(&ring), published(&verifying));
    }

    #[test]
    fn the_id_of_a_pair_is_its_thumbprint() {
        // RFC 8037 appendix A.2 and A.3.
        let ring = parse(ED25519).unwrap();
        assert_eq!(published(&ring)["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(ring.signing().id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_ring_whose_first_key_cannot_sign_is_refused() {
        assert_eq!(parse(ED25519_PUBLIC).unwrap_err(), KeyRingError::FirstCannotSign);
        assert_eq!(parse(&format!("{RSA_PUBLIC} {A}")).unwrap_err(), KeyRingError::FirstCannotSign);
    }

    #[test]
    fn damaged_weak_and_strange_pem_is_refused_by_position() {
        let cut = &ED25519[..ED25519.len() / 2];
        let ec = "-----BEGIN EC PRIVATE KEY-----\nMC4CAQ==\n-----END EC PRIVATE KEY-----\n";
        let other_content = ED25519.replace("MC4C", "AAAA");
        for bad in [cut, ec, other_content.as_str(), "-----BEGIN PRIVATE KEY-----", "a-----b"] {
            let refused = parse(&format!("{A}\n{bad}")).unwrap_err();
            assert!(matches!(refused, KeyRingError::NotPem { position: 2 }), "{bad}: {refused:?}");
        }
        assert_eq!(parse(RSA_WEAK).unwrap_err(), KeyRingError::TooFewBits { position: 1, bits: 1024 });
    }
}
