//! What is kept of a user here: the roles that they have been given.

use covet::data::{Transaction, params};
use uuid::Uuid;

use super::roles::UserRoles;
use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;

/// The member `roles`.
pub(crate) struct PersonalRoles;

impl PersonalData for PersonalRoles {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["user_roles"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            document.begin_list("roles")?;
            for role in UserRoles(&api.db).of(user).await? {
                document.item(&role).await?;
            }
            document.end_list();
            Ok(())
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("DELETE FROM user_roles WHERE user_id = $1", params![user]).await?;
            Ok(())
        })
    }
}
