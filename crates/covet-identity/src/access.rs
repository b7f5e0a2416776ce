//! What callers may do: roles, the permissions of each, and the check of both before a handler.
//!
//! A service declares its [`Permission`](covet_http::access::Permission)s and [`Role`]s as constants, and keeps in its
//! database which user has which role. Everybody who is logged in has one role without being given it
//! ([`Roles::new`]); that one stands in no database and in no token.
//!
//! # When a change of roles counts
//!
//! An access token and a session carry the names of the roles that their user had at the login or at the last refresh.
//! What a role allows is looked up in the program at each request.
//!
//! - Who is **given** a role has what it allows from the next login or refresh on.
//! - Who **loses** one loses it with the next request. A role that a token or a session carries is a claim: before it opens
//!   anything that not everybody may do, the database is asked whether it still holds ([`AssignedRoles`]). So a token that
//!   cannot be called back opens nothing of the kind, and requests that need no such role cost no question.
//!
//! # API keys
//!
//! A key reaches only routes that demand a permission, and of those the ones whose permission is among the key's scopes
//! and among what its owner may do at this moment. What only [`Authenticated`](covet_http::access::Access::Authenticated)
//! is asked for, such as changing a password or making another key, is its owner's to do.

mod control;
mod denials;
mod roles;

pub use self::control::{AssignedRoles, Lookup, RoleBasedAccess};
pub use self::denials::ACCESS;
pub use self::roles::{Role, Roles};
