//! What is kept of a user here: their logins, open ones and those that have ended lately.

use covet::data::{Transaction, params};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::my_sessions::Kind;
use super::token_sessions::TokenSessions;
use crate::privacy::{Document, PersonalData, Work};
use crate::state::Api;

/// The member `logins`.
pub(crate) struct PersonalLogins;

#[derive(Debug, Serialize)]
struct Login {
    kind: Kind,
    #[serde(flatten)]
    row: Row,
    user_agent: Option<String>,
    address: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    id: Uuid,
    created_at: Timestamp,
    last_used_at: Timestamp,
    expires_at: Timestamp,
    ended_at: Option<Timestamp>,
    end_reason: Option<String>,
}

impl PersonalData for PersonalLogins {
    #[cfg(test)]
    fn tables(&self) -> &'static [&'static str] {
        &["sessions", "refresh_tokens"]
    }

    fn export<'a>(&'a self, api: &'a Api, user: Uuid, document: &'a mut Document) -> Work<'a> {
        Box::pin(async move {
            document.begin_list("logins")?;
            for session in api.sessions.list(user).await? {
                let row = Row {
                    id: session.id,
                    created_at: session.created_at,
                    last_used_at: session.last_used_at,
                    expires_at: session.expires_at,
                    ended_at: None,
                    end_reason: None,
                };
                let (user_agent, address) = (session.user_agent, session.address);
                document.item(&Login { kind: Kind::Cookie, row, user_agent, address }).await?;
            }
            let sql = "SELECT id, created_at, last_used_at, expires_at, ended_at, end_reason FROM sessions
                       WHERE user_id = $1 ORDER BY id";
            let mut rows = api.db.read().stream::<Row>(sql, params![user]).await?;
            while let Some(row) = rows.next().await {
                let login = Login { kind: Kind::Token, row: row?, user_agent: None, address: None };
                document.item(&login).await?;
            }
            document.end_list();
            Ok(())
        })
    }

    fn erase<'a>(&'a self, transaction: &'a Transaction, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            transaction.execute("DELETE FROM sessions WHERE user_id = $1", params![user]).await?;
            Ok(())
        })
    }

    fn erase_outside<'a>(&'a self, api: &'a Api, user: Uuid) -> Work<'a> {
        Box::pin(async move {
            api.sessions.end_all(user, None).await?;
            let by_token = TokenSessions(&api.db).list_open(user, api.now()).await?;
            let by_token: Vec<Uuid> = by_token.into_iter().map(|session| session.id).collect();
            api.tokens.revoke(&by_token).await;
            Ok(())
        })
    }
}
