//! Roles: names for sets of permissions, declared in the program.

use covet_http::access::Permission;

/// A name for a set of permissions.
#[derive(Debug, PartialEq, Eq)]
pub struct Role {
    name: &'static str,
    permissions: &'static [Permission],
}

/// All roles of a service.
///
/// ```
/// use covet_http::access::Permission;
/// use covet_identity::access::{Role, Roles};
///
/// const NOTES_WRITE: Permission = Permission::new("notes:write");
/// const USERS_ADMIN: Permission = Permission::new("users:admin");
///
/// static USER: Role = Role::new("user", &[NOTES_WRITE]);
/// static ADMIN: Role = Role::new("admin", &[USERS_ADMIN]);
/// static ROLES: Roles = Roles::new(&USER, &[&ADMIN]);
///
/// assert!(ROLES.allow(&[], NOTES_WRITE));
/// assert!(!ROLES.allow(&[], USERS_ADMIN));
/// assert!(ROLES.allow(&["admin".to_owned()], USERS_ADMIN));
/// ```
#[derive(Debug)]
pub struct Roles {
    everybody: &'static Role,
    given: &'static [&'static Role],
}

impl Role {
    /// A role with these permissions. Its name stays for ever: it stands in the database and in tokens.
    #[must_use]
    pub const fn new(name: &'static str, permissions: &'static [Permission]) -> Self {
        Self { name, permissions }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it allows.
    #[must_use]
    pub const fn permissions(&self) -> &'static [Permission] {
        self.permissions
    }
}

impl Roles {
    /// The role that everybody has who is logged in, and those that are given to some.
    #[must_use]
    pub const fn new(everybody: &'static Role, given: &'static [&'static Role]) -> Self {
        Self { everybody, given }
    }

    /// The role that everybody has.
    #[must_use]
    pub const fn everybody(&self) -> &'static Role {
        self.everybody
    }

    /// The roles that are given to some.
    #[must_use]
    pub const fn given(&self) -> &'static [&'static Role] {
        self.given
    }

    /// A role that can be given, by its name. `None` also for the one that everybody has.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'static Role> {
        self.given.iter().copied().find(|role| role.name == name)
    }

    /// A permission that some role grants, by its name.
    #[must_use]
    pub fn permission(&self, name: &str) -> Option<Permission> {
        self.all().flat_map(|role| role.permissions).copied().find(|permission| permission.name() == name)
    }

    /// Whether a user who has been given these roles has the permission. A name that is no role of this program, because
    /// another release has it, allows nothing.
    #[must_use]
    pub fn allow(&self, given: &[String], permission: Permission) -> bool {
        self.everybody_may(permission)
            || given.iter().filter_map(|name| self.find(name)).any(|role| role.permissions.contains(&permission))
    }

    /// Whether everybody who is logged in has the permission.
    #[must_use]
    pub fn everybody_may(&self, permission: Permission) -> bool {
        self.everybody.permissions.contains(&permission)
    }

    /// Whether any role grants the permission.
    #[must_use]
    pub fn grant(&self, permission: Permission) -> bool {
        self.all().any(|role| role.permissions.contains(&permission))
    }

    fn all(&self) -> impl Iterator<Item = &'static Role> {
        [self.everybody].into_iter().chain(self.given.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Permission = Permission::new("notes:read");
    const ADMIN: Permission = Permission::new("users:admin");
    static USER: Role = Role::new("user", &[READ]);
    static BOSS: Role = Role::new("boss", &[ADMIN]);
    static ROLES: Roles = Roles::new(&USER, &[&BOSS]);

    #[test]
    fn the_role_of_everybody_can_be_neither_given_nor_taken() {
        assert!(ROLES.find("user").is_none());
        assert!(ROLES.allow(&[], READ) && ROLES.everybody_may(READ));
    }

    #[test]
    fn a_role_of_another_release_allows_nothing() {
        assert!(!ROLES.allow(&["owner".to_owned()], ADMIN));
        assert!(ROLES.allow(&["owner".to_owned(), "boss".to_owned()], ADMIN));
    }

    #[test]
    fn a_permission_is_known_when_a_role_grants_it() {
        assert_eq!((ROLES.permission("users:admin"), ROLES.permission("users:*")), (Some(ADMIN), None));
        assert!(ROLES.grant(READ) && !ROLES.grant(Permission::new("notes:write")));
    }
}
