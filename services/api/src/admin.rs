//! Admins: they see all users, and give and take roles.
//!
//! The last admin stays: neither can the role be taken from them nor can they delete themselves. How a service gets its
//! first is in `first.rs`. When a change of roles counts is told in [`covet::identity::access`].

mod first;
mod handlers;
mod personal;
mod roles;

use covet::{Error, Router, routes};

pub use self::first::{AdminSettings, UserId, appoint_first};
pub(crate) use self::personal::PersonalRoles;
pub(crate) use self::roles::is_last_admin;
pub use self::roles::{AssignedRoles, RoleChange, UserRoles, UserWithRoles};
use crate::access::USERS_ADMIN;
use crate::state::Api;

/// `/api/admin`.
pub fn routes() -> Router<Api> {
    Router::new().routes(routes![handlers::list, handlers::give, handlers::take]).access(USERS_ADMIN)
}

/// 409: there would be nobody left who can give the role.
pub(crate) fn last_admin() -> Error {
    Error::conflict("This is the last admin. Make somebody else admin first.")
}
