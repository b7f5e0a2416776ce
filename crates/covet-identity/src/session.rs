//! Sessions: who is logged in with a browser, and what is kept for them between requests.
//!
//! A cookie holds a signed secret and nothing else; everything is on the server, in Redis or in memory, so a session
//! can be ended at any moment, and every instance serves it.
//!
//! | you want | look in |
//! |---|---|
//! | the session in a handler | [`Session`], [`SessionOrNew`] |
//! | to keep a value in it | [`SessionKey`] |
//! | a user's sessions: to list and to end them | [`Sessions`] |
//! | who asks, by cookie or by token | [`Caller`](crate::caller::Caller) |
//! | what the operator may set | [`SessionSettings`] |
//! | the cookie and its signature | `cookie.rs`, `token.rs` |
//! | that no page of another origin uses it | `origin.rs` |
//! | where sessions lie | `store.rs`, `store/memory.rs`, `store/redis.rs` |
//! | how many are open | [`ActiveSessions`] |
//!
//! A session ends when it has not been used for `COVET_CACHE__SESSION_TTL` (24 h), in any case after
//! `COVET_SESSION__LIFETIME` (30 d), when its user ends it, and when Redis loses it. `docs/guides/sessions.md` tells of
//! all this to those who use and operate it.

mod active;
mod cookie;
mod data;
mod error;
mod extract;
mod handle;
mod origin;
mod record;
mod sessions;
mod settings;
mod store;
mod token;

pub use self::active::{ActiveSessions, SESSIONS};
pub use self::data::SessionKey;
pub use self::error::SessionError;
pub use self::extract::SessionOrNew;
pub use self::handle::Session;
pub use self::sessions::{SessionInfo, SessionParts, Sessions};
pub use self::settings::{SameSite, SessionSettings};
