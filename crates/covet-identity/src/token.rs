//! Tokens: short-lived access tokens that carry who is asking, and one-use refresh tokens that fetch the next.
//!
//! An access token is a JWT (RFC 9068 type `at+jwt`), checked without asking the database, so it cannot be
//! called back before it expires. A refresh token is an opaque random text, of which only a fingerprint is
//! stored; each can be used once, and using one twice ends the login (RFC 9700 §4.14.2).

mod access;
mod keys;
mod refresh;

pub use self::access::{AccessTokens, Claims, IssuedToken, TokenError};
pub use self::keys::KeyRing;
pub use self::refresh::{Fingerprint, MalformedRefreshToken, RefreshToken, RefreshVerdict, StoredRefreshToken};
pub use crate::keys::KeyRingError;
