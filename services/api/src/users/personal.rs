//! What is kept of a user here: their row.

use covet::data::{Transaction, params};
use uuid::Uuid;

use super::store::Users;
use crate::cached;
use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;

/// The member `account`.
pub(crate) struct PersonalAccount;

impl PersonalData for PersonalAccount {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["users"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            let account = Users(&api.db).find_for_change(user).await?;
            document.member("account", &account.map(|account| account.seen_by(user))).await
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("DELETE FROM users WHERE id = $1", params![user]).await?;
            Ok(())
        })
    }

    fn erase_outside<'a>(&'a self, api: &'a Api, _user: Uuid) -> Work<'a> {
        Box::pin(async move {
            api.end(cached::USERS).await;
            Ok(())
        })
    }
}
