//! Who may do what here: the permissions that routes demand, and the roles that grant them.
//!
//! Everybody who is logged in is a `user`. `admin` is given to some, at first by `COVET_ADMIN__FIRST_ADMIN`, then by other
//! admins (`admin.rs`).

use covet::Context;
use covet::access::Permission;
use covet::axum::extract::FromRef;
use covet::identity::access::{Role, RoleBasedAccess, Roles};
use covet::identity::caller::Authentication;

use crate::admin::AssignedRoles;
use crate::state::Api;

/// Reading one's notes.
pub const NOTES_READ: Permission = Permission::new("notes:read");
/// Writing, changing and deleting them.
pub const NOTES_WRITE: Permission = Permission::new("notes:write");
/// Reading one's orders.
pub const ORDERS_READ: Permission = Permission::new("orders:read");
/// Ordering and paying.
pub const ORDERS_WRITE: Permission = Permission::new("orders:write");
/// Seeing oneself, and that others are there.
pub const USERS_READ: Permission = Permission::new("users:read");
/// Hearing of one's own changes as they happen.
pub const EVENTS_LISTEN: Permission = Permission::new("events:listen");
/// Seeing everybody's address and roles, and giving roles.
pub const USERS_ADMIN: Permission = Permission::new("users:admin");

/// Everybody who is logged in.
pub static USER: Role =
    Role::new("user", &[NOTES_READ, NOTES_WRITE, ORDERS_READ, ORDERS_WRITE, USERS_READ, EVENTS_LISTEN]);
/// Who looks after the users.
pub static ADMIN: Role = Role::new("admin", &[USERS_ADMIN]);
/// All roles.
pub static ROLES: Roles = Roles::new(&USER, &[&ADMIN]);

/// What stands before every route.
pub fn control(context: &Context, api: &Api) -> RoleBasedAccess {
    let assigned = AssignedRoles(api.db.clone());
    RoleBasedAccess::new(Authentication::from_ref(api), &ROLES, assigned, context.metrics(), api.clock.clone())
        .api_keys(api.keys.clone())
}
