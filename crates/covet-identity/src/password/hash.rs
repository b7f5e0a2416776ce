//! argon2id and its strings. Blocking: [`super::Passwords`] takes it off the async threads.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, ParamsBuilder, PasswordHasher, PasswordVerifier, Version};
use serde::{Deserialize, Serialize};

use super::{PasswordError, Verdict};
use crate::settings::AuthSettings;

/// A stored password: a PHC string, `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`, which carries its own
/// parameters. Not printed: whoever has it can try passwords offline.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a hash as it was stored. It is read when a password is verified against it.
    #[must_use]
    pub fn from_stored(phc: String) -> Self {
        Self(phc)
    }

    /// The text to store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([REDACTED])")
    }
}

/// argon2id (RFC 9106) with the parameters that are set.
#[derive(Debug)]
pub(super) struct Hasher {
    argon2: Argon2<'static>,
    params: Params,
}

impl Hasher {
    pub(super) fn new(settings: &AuthSettings) -> Result<Self, PasswordError> {
        let kibibytes = u32::try_from(settings.password_memory.bytes() / 1024).unwrap_or(u32::MAX);
        let params = ParamsBuilder::new()
            .m_cost(kibibytes)
            .t_cost(settings.password_iterations)
            .p_cost(settings.password_lanes)
            .output_len(Params::DEFAULT_OUTPUT_LEN)
            .build()
            .map_err(PasswordError::Parameters)?;
        Ok(Self { argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone()), params })
    }

    /// Hashes with 16 bytes of salt from the operating system.
    pub(super) fn hash(&self, password: &[u8]) -> Result<PasswordHash, PasswordError> {
        let hash = self.argon2.hash_password(password).map_err(PasswordError::Hashing)?;
        Ok(PasswordHash(hash.to_string()))
    }

    pub(super) fn verify(&self, password: &[u8], stored: &PasswordHash) -> Result<Verdict, PasswordError> {
        let stored = phc::PasswordHash::new(&stored.0).map_err(|error| PasswordError::UnreadableHash(error.into()))?;
        match self.argon2.verify_password(password, &stored) {
            Ok(()) => Ok(Verdict::Right { rehash: !self.is_current(&stored) }),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
            Err(error) => Err(PasswordError::UnreadableHash(error)),
        }
    }

    /// A hash that nothing is right for, with the parameters set now: as much work as a real one. No password
    /// is known to give 32 zero bytes, and the caller says "wrong" even then.
    pub(super) fn dummy(&self) -> Result<PasswordHash, PasswordError> {
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&self.params).try_into().map_err(PasswordError::Hashing)?,
            salt: Some(phc::Salt::new(&[0; 16]).map_err(|error| PasswordError::Hashing(error.into()))?),
            hash: Some(phc::Output::new(&[0; 32]).map_err(|error| PasswordError::Hashing(error.into()))?),
        };
        Ok(PasswordHash(hash.to_string()))
    }

    fn is_current(&self, stored: &phc::PasswordHash) -> bool {
        stored.algorithm == Algorithm::Argon2id.ident()
            && stored.version == Some(Version::V0x13.into())
            && Params::try_from(stored).is_ok_and(|params| params == self.params)
    }
}
