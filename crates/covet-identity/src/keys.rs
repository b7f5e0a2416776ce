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
    let words = text.expose_secret().split(|c: char| c == ',' || c.is_whitespace());
    let mut keys: Vec<&str> = Vec::new();
    for (index, key) in words.filter(|word| !word.is_empty()).enumerate() {
        let position = index + 1;
        if environment.is_production() && key.len() < MIN_KEY_BYTES {
            return Err(KeyRingError::TooShort { position, bytes: key.len() });
        }
        if keys.contains(&key) {
            return Err(KeyRingError::Doubled { position });
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(KeyRingError::Empty) } else { Ok(keys) }
}
