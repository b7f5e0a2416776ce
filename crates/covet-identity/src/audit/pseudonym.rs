//! Under which name a user stands in the trail: the table `audit_pseudonyms`.
//!
//! Who looks a user up holds a lock of theirs until the end of the transaction. So a user is not forgotten while something of
//! theirs is being recorded, which would leave behind where it came from.

use covet_data::{Error, Transaction, params};
use uuid::Uuid;

/// A user who has been forgotten, for the entry that tells of it: [`Entry::forgotten`](super::Entry::forgotten).
#[derive(Debug, Clone, Copy)]
pub struct Forgotten {
    /// Who it was, for the log.
    pub(super) user: Uuid,
    pub(super) pseudonym: Uuid,
}

/// The user's pseudonym; a new one if they have none.
pub(super) async fn of(transaction: &Transaction, user: Uuid) -> Result<Uuid, Error> {
    lock(transaction, user).await?;
    if let Some(known) = find(transaction, user).await? {
        return Ok(known);
    }
    let sql = "INSERT INTO audit_pseudonyms (user_id, pseudonym) VALUES ($1, $2)";
    let pseudonym = random();
    transaction.execute(sql, params![user, pseudonym]).await?;
    Ok(pseudonym)
}

/// The same of a user who may be none: looks at the table all the same, so that it takes as long.
pub(super) async fn of_if_known(transaction: &Transaction, user: Option<Uuid>) -> Result<Option<Uuid>, Error> {
    match user {
        Some(user) => of(transaction, user).await.map(Some),
        None => {
            lock(transaction, Uuid::nil()).await?;
            find(transaction, Uuid::nil()).await
        }
    }
}

/// The same, and it is gone from the table.
pub(super) async fn take(transaction: &Transaction, user: Uuid) -> Result<Forgotten, Error> {
    lock(transaction, user).await?;
    let sql = "DELETE FROM audit_pseudonyms WHERE user_id = $1 RETURNING pseudonym";
    let known = transaction.optional(sql, params![user]).await?;
    Ok(Forgotten { user, pseudonym: known.unwrap_or_else(random) })
}

async fn lock(transaction: &Transaction, user: Uuid) -> Result<(), Error> {
    transaction.lock(&format!("covet.audit.user.{user}")).await
}

async fn find(transaction: &Transaction, user: Uuid) -> Result<Option<Uuid>, Error> {
    transaction.optional("SELECT pseudonym FROM audit_pseudonyms WHERE user_id = $1", params![user]).await
}

/// Version 4, all of it random: a pseudonym must not tell when its user came.
fn random() -> Uuid {
    uuid::Builder::from_random_bytes(covet_core::ids::random_bytes()).into_uuid()
}
