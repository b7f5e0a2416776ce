//! Keys of the operator's: several in one text, of which the first signs and all verify, so that a key can be replaced
//! without refusing what the one before has signed.

use covet_core::environment::Environment;
use covet_core::secret::{ExposeSecret, SecretString};

/// Fewest bytes of a key in production: HMAC with SHA-256 needs as many bits as its hash (RFC 7518 §3.2).
const MIN_KEY_BYTES: usize = 32;

/// The text of `JWT_SECRET_KEY` or `SECRET_KEY` holds no keys that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// There is no key in it.
    #[error("holds no key; make one with `openssl rand -hex 32`")]
    Empty,
    /// A key is too short.
    #[error("key {position} has {bytes} bytes; HMAC-SHA256 needs at least 32: make one with `openssl rand -hex 32`")]
    TooShort {
        /// Which one, from 1.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// A PEM block is damaged, or holds something else.
    #[error(
        "key {position} is no PEM block that can be used: it takes `PRIVATE KEY` (PKCS#8) or `PUBLIC KEY` of Ed25519 or RSA, \
         whole and with its line ends; make one with `openssl genpkey -algorithm ed25519`"
    )]
    NotPem {
        /// Which one, from 1.
        position: usize,
    },
    /// An RSA key is too short.
    #[error(
        "key {position} has {bits} bits; RS256 needs at least 2048 (RFC 7518): make one of Ed25519 with `openssl genpkey -algorithm ed25519`"
    )]
    TooFewBits {
        /// Which one, from 1.
        position: usize,
        /// The length of its modulus.
        bits: usize,
    },
    /// The first key is a public one.
    #[error("key 1 is a public key and cannot sign; put the key that signs before it")]
    FirstCannotSign,
    /// The same key twice.
    #[error("key {position} is there twice; remove one")]
    Doubled {
        /// The second of the two, from 1.
        position: usize,
    },
}

/// The keys in a text, separated by commas, spaces or line ends. Outside production a key may be shorter than it
/// should.
///
/// # Errors
/// [`KeyRingError`] says which key is wrong, without showing it.
pub(crate) fn key_texts(text: &SecretString, environment: Environment) -> Result<Vec<&str>, KeyRingError> {
    let mut keys: Vec<&str> = Vec::new();
    for (index, key) in words(text.expose_secret()).enumerate() {
        let position = index + 1;
        check_length(key, position, environment)?;
        if keys.contains(&key) {
            return Err(KeyRingError::Doubled { position });
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(KeyRingError::Empty) } else { Ok(keys) }
}

/// What stands between commas, spaces and line ends.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty())
}

/// # Errors
/// [`KeyRingError::TooShort`], in production.
pub(crate) fn check_length(key: &str, position: usize, environment: Environment) -> Result<(), KeyRingError> {
    if environment.is_production() && key.len() < MIN_KEY_BYTES {
        return Err(KeyRingError::TooShort { position, bytes: key.len() });
    }
    Ok(())
}
