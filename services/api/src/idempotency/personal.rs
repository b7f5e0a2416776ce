//! What is kept of a user here: for which of their requests there is an answer, for a day. What was answered is exported by
//! the room that it is of.

use covet::data::{Transaction, params};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;

/// The member `kept_answers`.
pub(crate) struct PersonalAnswers;

#[derive(Debug, Serialize, Deserialize)]
struct KeptAnswer {
    key: String,
    status: Option<u16>,
    expires_at: Timestamp,
}

impl PersonalData for PersonalAnswers {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["idempotency_keys"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            document.begin_list("kept_answers")?;
            let sql = "SELECT key, status, expires_at FROM idempotency_keys WHERE user_id = $1 ORDER BY key";
            let mut answers = api.db.read().stream::<KeptAnswer>(sql, params![user]).await?;
            while let Some(answer) = answers.next().await {
                document.item(&answer?).await?;
            }
            document.end_list();
            Ok(())
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("DELETE FROM idempotency_keys WHERE user_id = $1", params![user]).await?;
            Ok(())
        })
    }
}
