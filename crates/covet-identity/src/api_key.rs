//! API keys: secrets by which a program acts for a user, within scopes.
//!
//! | you want | look in |
//! |---|---|
//! | to make a key, and what of it to store | [`ApiKey`] |
//! | to have keys accepted | [`ApiKeys`], given to [`RoleBasedAccess::api_keys`](crate::access::RoleBasedAccess::api_keys) |
//! | to say where they are stored | [`ApiKeyStore`] |
//!
//! A key is sent as `Authorization: Bearer cvt_…`. It is shown once, when it is made: what is stored is the SHA-256 of its
//! secret. Neither a salt nor a slow hash would add anything: the secret has 256 bits from the operating system, which
//! nobody can try, and no two are alike. A slow hash would add its time to every request.

mod keys;
mod text;

pub(crate) use self::keys::VerifiedKey;
pub use self::keys::{ApiKeyError, ApiKeyStore, ApiKeys, StoredApiKey};
pub(crate) use self::text::looks_like_api_key;
pub use self::text::{ApiKey, MalformedApiKey};
