//! What the service keeps of a user: the user can fetch it, and it goes when they go.
//!
//! Each room of the service that keeps something of its users says so by a `PersonalData` in `ROOMS`. A table that none of
//! them names fails a test. The audit trail is no room: it stays, and what leads from it to the user goes
//! (`covet::identity::audit`).
//!
//! How long what is over is kept is in [`RetentionSettings`].

mod document;
mod handlers;
mod retention;

use std::future::Future;
use std::pin::Pin;

use covet::access::Access;
use covet::data::Transaction;
use covet::identity::audit::Forgotten;
use covet::{Result, Router, routes};
use uuid::Uuid;

pub(crate) use self::document::Document;
pub use self::retention::RetentionSettings;
use crate::admin::PersonalRoles;
use crate::api_keys::PersonalKeys;
use crate::auth::PersonalLogins;
use crate::idempotency::PersonalAnswers;
use crate::notes::PersonalNotes;
use crate::orders::PersonalOrders;
use crate::state::Api;
use crate::users::PersonalAccount;

/// Every room that keeps something of users, in the order of the exported document. They are erased from the last to the
/// first, so that the user's own row goes last.
const ROOMS: [&dyn PersonalData; 7] = [
    &PersonalAccount,
    &PersonalRoles,
    &PersonalKeys,
    &PersonalNotes,
    &PersonalOrders,
    &PersonalLogins,
    &PersonalAnswers,
];

/// Something to be done for a user.
pub(crate) type Work<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// What a room keeps of a user.
pub(crate) trait PersonalData: Send + Sync {
    /// The tables that it is in. A test compares them with the schema.
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str];

    /// Writes it into the document.
    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a>;

    /// Removes it from the database, or what says whose it is where the rest must be kept.
    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a>;

    /// Removes what lies elsewhere: in a cache, on a disk, at somebody else's. Done before the database is changed, so that
    /// nothing is when it fails, and once more after that, for what has come meanwhile.
    fn erase_outside<'a>(&'a self, _api: &'a Api, _user: Uuid) -> Work<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// `/api/users/me/export`.
pub fn routes() -> Router<Api> {
    Router::new().routes(routes![handlers::export]).access(Access::Authenticated)
}

/// Removes everything that the database has of a user, and what leads to them from the audit trail.
///
/// # Errors
/// Of the database.
pub(crate) async fn erase(api: &Api, transaction: &Transaction, user: Uuid) -> Result<Forgotten> {
    let forgotten = api.trail.forget(transaction, user).await?;
    for room in ROOMS.iter().rev() {
        room.erase(transaction, user).await?;
    }
    Ok(forgotten)
}

/// Removes everything of a user that does not lie in the database.
///
/// # Errors
/// When something of it cannot be reached now.
pub(crate) async fn erase_outside(api: &Api, user: Uuid) -> Result<()> {
    for room in ROOMS {
        room.erase_outside(api, user).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use covet::data::{Db, params};

    use super::*;
    use crate::test_db::each_database;

    /// Tables with nothing of a user in them, or nothing that leads to one once the trail has forgotten them.
    const NOBODY_S: [&str; 6] =
        ["audit_cuts", "audit_entries", "audit_pseudonyms", "covet_migrations", "job_schedules", "jobs"];

    async fn tables(db: &Db) -> BTreeSet<String> {
        let postgres = "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'";
        let sqlite = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let sql = if db.postgres().await.is_ok() { postgres } else { sqlite };
        db.read().all::<String>(sql, params![]).await.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn every_table_is_a_room_s_or_holds_nobody() {
        for test in each_database().await {
            let named = ROOMS.iter().flat_map(|room| room.tables().iter().copied()).chain(NOBODY_S);
            assert_eq!(tables(&test.db).await, named.map(str::to_owned).collect());
        }
    }
}
