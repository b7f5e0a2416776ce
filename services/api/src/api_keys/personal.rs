//! What is kept of a user here: their API keys, without what proves them.

use covet::data::{Transaction, params};
use uuid::Uuid;

use super::handlers::ApiKeyView;
use super::store::ApiKeyTable;
use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;

/// The member `api_keys`.
pub(crate) struct PersonalKeys;

impl PersonalData for PersonalKeys {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["api_keys"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            document.begin_list("api_keys")?;
            for key in ApiKeyTable(api.db.clone()).list(user).await? {
                document.item(&ApiKeyView::new(key, api)).await?;
            }
            document.end_list();
            Ok(())
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("DELETE FROM api_keys WHERE user_id = $1", params![user]).await?;
            Ok(())
        })
    }
}
