//! One key of a ring. The algorithm belongs to the key, never to the token (RFC 8725 §3.1).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_core::environment::Environment;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use pkcs8::der::pem::PemLabel;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use pkcs8::{ObjectIdentifier, PrivateKeyInfo, SecretDocument};
use sha2::{Digest, Sha256};

use super::text::Entry;
use crate::keys::{KeyRingError, check_length};

/// The type of our tokens (RFC 9068 §2.1), so that no other JWT made with the same key is taken for one.
pub(in crate::token) const TOKEN_TYPE: &str = "at+jwt";

/// Fewest bits of an RSA key (RFC 7518 §3.3).
const MIN_RSA_BITS: usize = 2048;

/// RFC 8410 §3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 8017 appendix A.1.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Not a key that we take. What the libraries say of it is dropped: it could tell of the key.
#[derive(Debug)]
struct Unusable;

/// What signs or verifies, with the header of its tokens.
pub(in crate::token) struct Key {
    pub(in crate::token) header: Header,
    /// `None`: it only verifies.
    pub(in crate::token) encoding: Option<EncodingKey>,
    pub(in crate::token) decoding: DecodingKey,
    /// What everybody may know of it. `None`: it is a shared secret.
    pub(super) public: Option<Jwk>,
}

impl Key {
    /// # Errors
    /// [`KeyRingError`], without anything of the key.
    pub(super) fn read(entry: Entry<'_>, position: usize, environment: Environment) -> Result<Self, KeyRingError> {
        match entry {
            Entry::Word(secret) => {
                check_length(secret, position, environment)?;
                Ok(Self::hs256(secret.as_bytes()))
            }
            Entry::Pem(pem) => {
                let key = Self::of_pem(pem).map_err(|Unusable| KeyRingError::NotPem { position })?;
                match key.rsa_bits() {
                    Some(bits) if bits < MIN_RSA_BITS => Err(KeyRingError::TooFewBits { position, bits }),
                    _ => Ok(key),
                }
            }
        }
    }

    pub(super) fn hs256(secret: &[u8]) -> Self {
        Self {
            header: header(Algorithm::HS256, secret_id(secret)),
            encoding: Some(EncodingKey::from_secret(secret)),
            decoding: DecodingKey::from_secret(secret),
            public: None,
        }
    }

    fn of_pem(pem: &str) -> Result<Self, Unusable> {
        let (label, document) = SecretDocument::from_pem(pem)?;
        let der = document.as_bytes();
        match label {
            PrivateKeyInfo::PEM_LABEL => {
                let info = PrivateKeyInfo::try_from(der)?;
                match info.algorithm.oid {
                    ED25519 => Self::of_pair(EncodingKey::from_ed_der(der), Algorithm::EdDSA),
                    RSA => Self::of_pair(EncodingKey::from_rsa_der(info.private_key), Algorithm::RS256),
                    _ => Err(Unusable),
                }
            }
            SubjectPublicKeyInfoRef::PEM_LABEL => {
                let info = SubjectPublicKeyInfoRef::try_from(der)?;
                let key = info.subject_public_key.as_bytes().ok_or(Unusable)?;
                let (key, algorithm) = match info.algorithm.oid {
                    ED25519 => (DecodingKey::from_ed_der(key), Algorithm::EdDSA),
                    RSA => (DecodingKey::from_rsa_der(key), Algorithm::RS256),
                    _ => return Err(Unusable),
                };
                Self::of_public(None, Jwk::from_decoding_key(&key, Some(algorithm))?, algorithm)
            }
            _ => Err(Unusable),
        }
    }

    fn of_pair(key: EncodingKey, algorithm: Algorithm) -> Result<Self, Unusable> {
        let public = Jwk::from_encoding_key(&key, algorithm)?;
        Self::of_public(Some(key), public, algorithm)
    }

    fn of_public(encoding: Option<EncodingKey>, mut public: Jwk, algorithm: Algorithm) -> Result<Self, Unusable> {
        let id = public.thumbprint(ThumbprintHash::SHA256)?;
        let decoding = DecodingKey::from_jwk(&public)?;
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_id = Some(id.clone());
        Ok(Self { header: header(algorithm, id), encoding, decoding, public: Some(public) })
    }

    pub(in crate::token) fn id(&self) -> &str {
        self.header.kid.as_deref().unwrap_or_default()
    }

    /// The length of the modulus, as RFC 7518 §6.3.1.1 writes it: without leading zero octets.
    fn rsa_bits(&self) -> Option<usize> {
        let AlgorithmParameters::RSA(parameters) = &self.public.as_ref()?.algorithm else { return None };
        let modulus = URL_SAFE_NO_PAD.decode(&parameters.n).unwrap_or_default();
        let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        Some((modulus.len() * 8).saturating_sub(unused))
    }
}

impl<E: std::error::Error> From<E> for Unusable {
    fn from(_: E) -> Self {
        Self
    }
}

fn header(algorithm: Algorithm, id: String) -> Header {
    let mut header = Header::new(algorithm);
    header.typ = Some(TOKEN_TYPE.to_owned());
    header.kid = Some(id);
    header
}

/// 64 bits of SHA-256 over the key behind a prefix of its own. It tells nothing that a signed token does not:
/// both can only be searched for the key, and a key of 256 random bits cannot be found.
fn secret_id(secret: &[u8]) -> String {
    let digest = Sha256::new().chain_update(b"covet access token key id\0").chain_update(secret).finalize();
    URL_SAFE_NO_PAD.encode(&digest[..8])
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id()).field("algorithm", &self.header.alg).finish_non_exhaustive()
    }
}
