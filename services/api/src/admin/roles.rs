//! The table `user_roles`.

use covet::data::{Db, Error, Transaction, params};
use covet::identity::access;
use covet::identity::access::{Lookup, Role};
use covet::identity::audit::{Entry, Trail};
use covet::telemetry::logging::vocabulary;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::access::ADMIN;
use crate::users::Email;
use crate::web::page::PageQuery;

/// Reads and changes the roles of users.
#[derive(Debug, Clone, Copy)]
pub struct UserRoles<'a>(pub &'a Db);

/// The same for access control, which outlives a request.
#[derive(Debug, Clone)]
pub struct AssignedRoles(pub Db);

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange {
    /// It was made.
    Changed,
    /// It was so already.
    Unchanged,
    /// It would have left no admin.
    LastAdmin,
    /// There is no such user.
    NoSuchUser,
}

/// A user with the roles that they have been given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserWithRoles {
    /// Their id.
    pub id: Uuid,
    /// Where to reach them.
    pub email: Email,
    /// What they want to be called.
    pub name: String,
    /// When they registered.
    pub created_at: Timestamp,
    /// Their roles, sorted.
    pub roles: Vec<String>,
}

/// A user with one of their roles; one with several comes in as many rows.
#[derive(Debug, Deserialize)]
struct Row {
    id: Uuid,
    email: Email,
    name: String,
    created_at: Timestamp,
    role: Option<String>,
}

impl UserRoles<'_> {
    /// The names of a user's roles, sorted. From the primary: a role that has just been taken is gone.
    ///
    /// # Errors
    /// Of the database.
    pub async fn of(self, user: Uuid) -> Result<Vec<String>, Error> {
        let sql = "SELECT role FROM user_roles WHERE user_id = $1 ORDER BY role";
        self.0.write().all(sql, params![user]).await
    }

    /// A page of users with their roles, newest first. From the primary, as [`of`](Self::of).
    ///
    /// # Errors
    /// Of the database.
    pub async fn list(self, page: &PageQuery) -> Result<Vec<UserWithRoles>, Error> {
        let sql = "SELECT u.id, u.email, u.name, u.created_at, r.role
                   FROM (SELECT id, email, name, created_at FROM users WHERE id < $1 ORDER BY id DESC LIMIT $2) u
                   LEFT JOIN user_roles r ON r.user_id = u.id
                   ORDER BY u.id DESC, r.role";
        Ok(fold(self.0.write().all(sql, params![page.before(), page.rows()]).await?))
    }

    /// Gives a user a role, which the audit trail tells.
    ///
    /// # Errors
    /// Of the database.
    pub async fn give(
        self,
        trail: &Trail,
        user: Uuid,
        role: &'static Role,
        now: Timestamp,
    ) -> Result<RoleChange, Error> {
        let transaction = self.0.begin().await?;
        match insert(&transaction, user, role, now).await {
            Ok(0) => return Ok(RoleChange::Unchanged),
            Ok(_) => {}
            Err(Error::ForeignKey { .. }) => return Ok(RoleChange::NoSuchUser),
            Err(error) => return Err(error),
        }
        trail.commit(transaction, given(user, role)).await?;
        Ok(RoleChange::Changed)
    }

    /// Takes a role from a user, which the audit trail tells.
    ///
    /// # Errors
    /// Of the database.
    pub async fn take(self, trail: &Trail, user: Uuid, role: &'static Role) -> Result<RoleChange, Error> {
        let transaction = self.0.begin().await?;
        if *role == ADMIN && is_last_admin(&transaction, user).await? {
            return Ok(RoleChange::LastAdmin);
        }
        let sql = "DELETE FROM user_roles WHERE user_id = $1 AND role = $2";
        if transaction.execute(sql, params![user, role.name()]).await? == 0 {
            return Ok(RoleChange::Unchanged);
        }
        let entry = Entry::new(vocabulary::ROLES_CHANGED, "role taken").user(user).before("role", role.name());
        trail.commit(transaction, entry).await?;
        Ok(RoleChange::Changed)
    }

    /// Whether this user is admin, and nobody else: a look ahead, which does not hold for long.
    ///
    /// # Errors
    /// Of the database.
    pub async fn is_last_admin(self, user: Uuid) -> Result<bool, Error> {
        let admins: Vec<Uuid> = self.0.write().all(TWO_ADMINS, params![ADMIN.name()]).await?;
        Ok(admins == [user])
    }

    /// Makes a user admin if nobody is; whether it did.
    ///
    /// # Errors
    /// Of the database.
    pub async fn appoint_first_admin(self, trail: &Trail, user: Uuid, now: Timestamp) -> Result<bool, Error> {
        let transaction = self.0.begin().await?;
        transaction.lock(ADMINS).await?;
        let sql = "SELECT count(*) FROM users WHERE id = $1 AND NOT EXISTS
                   (SELECT 1 FROM user_roles WHERE role = $2)";
        let wanted: i64 = transaction.one(sql, params![user, ADMIN.name()]).await?;
        if wanted == 0 {
            return Ok(false);
        }
        insert(&transaction, user, &ADMIN, now).await?;
        trail.commit(transaction, given(user, &ADMIN)).await?;
        Ok(true)
    }
}

async fn insert(transaction: &Transaction, user: Uuid, role: &'static Role, now: Timestamp) -> Result<u64, Error> {
    let sql = "INSERT INTO user_roles (user_id, role, given_at) VALUES ($1, $2, $3)
               ON CONFLICT (user_id, role) DO NOTHING";
    transaction.execute(sql, params![user, role.name(), now]).await
}

fn given(user: Uuid, role: &'static Role) -> Entry {
    Entry::new(vocabulary::ROLES_CHANGED, "role given").user(user).after("role", role.name())
}

impl access::AssignedRoles for AssignedRoles {
    fn of_user(&self, user: Uuid) -> Lookup<'_, Vec<String>> {
        Box::pin(async move { Ok(UserRoles(&self.0).of(user).await?) })
    }
}

/// Held by transactions that may leave no admin, one after another: two who depose one another must not both succeed.
const ADMINS: &str = "covet_api.admins";
const TWO_ADMINS: &str = "SELECT user_id FROM user_roles WHERE role = $1 LIMIT 2";

/// Whether this user is admin, and nobody else, until the end of the transaction.
///
/// # Errors
/// Of the database.
pub(crate) async fn is_last_admin(transaction: &Transaction, user: Uuid) -> Result<bool, Error> {
    transaction.lock(ADMINS).await?;
    let admins: Vec<Uuid> = transaction.all(TWO_ADMINS, params![ADMIN.name()]).await?;
    Ok(admins == [user])
}

/// Puts the roles of each user together; they follow one another.
fn fold(rows: Vec<Row>) -> Vec<UserWithRoles> {
    let mut users: Vec<UserWithRoles> = Vec::new();
    for Row { id, email, name, created_at, role } in rows {
        match users.last_mut() {
            Some(last) if last.id == id => last.roles.extend(role),
            _ => users.push(UserWithRoles { id, email, name, created_at, roles: role.into_iter().collect() }),
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_db::{ADA, another_user, at, each_database, trail};

    const BOB: Uuid = Uuid::from_u128(2);

    #[tokio::test]
    async fn the_first_admin_is_appointed_once_and_only_if_they_exist() {
        for test in each_database().await {
            let (roles, now) = (UserRoles(&test.db), at("2026-01-01T00:00:00Z"));
            assert!(!roles.appoint_first_admin(&trail(), BOB, now).await.unwrap());
            another_user(&test.db, BOB).await;
            assert!(roles.appoint_first_admin(&trail(), ADA, now).await.unwrap());
            assert!(!roles.appoint_first_admin(&trail(), BOB, now).await.unwrap());
            assert_eq!(roles.of(ADA).await.unwrap(), ["admin"]);
            assert!(roles.of(BOB).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn of_two_admins_who_depose_one_another_at_the_same_moment_one_stays() {
        for test in each_database().await {
            let (roles, now) = (UserRoles(&test.db), at("2026-01-01T00:00:00Z"));
            another_user(&test.db, BOB).await;
            for _ in 0..10 {
                roles.give(&trail(), ADA, &ADMIN, now).await.unwrap();
                roles.give(&trail(), BOB, &ADMIN, now).await.unwrap();
                let trail = trail();
                let (one, other) = tokio::join!(roles.take(&trail, ADA, &ADMIN), roles.take(&trail, BOB, &ADMIN));
                let mut changes = [one.unwrap(), other.unwrap()];
                changes.sort_by_key(|change| *change == RoleChange::LastAdmin);
                assert_eq!(changes, [RoleChange::Changed, RoleChange::LastAdmin]);
            }
        }
    }

    #[tokio::test]
    async fn giving_twice_and_taking_what_is_not_there_changes_nothing() {
        for test in each_database().await {
            let (roles, now) = (UserRoles(&test.db), at("2026-01-01T00:00:00Z"));
            another_user(&test.db, BOB).await;
            assert_eq!(roles.give(&trail(), ADA, &ADMIN, now).await.unwrap(), RoleChange::Changed);
            assert_eq!(roles.give(&trail(), ADA, &ADMIN, now).await.unwrap(), RoleChange::Unchanged);
            assert_eq!(roles.take(&trail(), BOB, &ADMIN).await.unwrap(), RoleChange::Unchanged);
            assert_eq!(roles.give(&trail(), Uuid::from_u128(9), &ADMIN, now).await.unwrap(), RoleChange::NoSuchUser);
        }
    }
}
