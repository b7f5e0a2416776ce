//! Tokens: short-lived access tokens that carry who is asking, and one-use refresh tokens that fetch the next.
//!
//! An access token is a JWT (RFC 9068 type `at+jwt`), checked without asking the database or Redis. What ends it before its
//! time are the logins that are told as ended (`token/revoked.rs`). A refresh token is an opaque random text, of which only a fingerprint is
//! stored; each can be used once, and using one twice ends the login (RFC 9700 §4.14.2).

mod access;
mod jwks;
mod keys;
mod refresh;
mod revoked;
#[cfg(test)]
pub(crate) mod test_keys;

pub use self::access::{AccessTokens, Claims, IssuedToken, TokenError};
pub use self::jwks::jwks_routes;
pub use self::keys::KeyRing;
pub use self::refresh::{Fingerprint, MalformedRefreshToken, RefreshToken, RefreshVerdict, StoredRefreshToken};
pub use self::revoked::{REVOKED_LOGINS, RevokedLogins, RevokedParts};
pub use crate::keys::KeyRingError;
