//! Who is asking: passwords, access tokens, refresh tokens, sessions by cookie; and what they have done.
//!
//! | you want | look in |
//! |---|---|
//! | to store or check a password | [`password`] |
//! | to issue or check a token | [`token`] |
//! | a session by cookie, and what is kept in it | [`session`] |
//! | the caller of a request, in a handler | [`caller`] |
//! | roles, and what each may do | [`access`] |
//! | keys for programs of a user's | [`api_key`] |
//! | what the operator may set | [`settings`] |
//! | which attempts are counted and logged | [`attempts`] |
//! | to record what was done, and prove it | [`audit`] |
//!
//! Not here: the tables of users and of logins by token. They belong to the service, see `services/api/src/auth`.
//! The cryptography is that of `argon2`, `jsonwebtoken`, `hmac` and `sha2`; this crate only chooses and bounds it.

pub mod access;
pub mod api_key;
pub mod attempts;
pub mod audit;
pub mod caller;
mod keys;
pub mod password;
pub mod session;
pub mod settings;
pub mod token;
