//! `/api/users/me/export`.

use covet::axum::extract::State;
use covet::axum::response::{IntoResponse, Response};
use covet::identity::audit::Entry;
use covet::identity::caller::Caller;
use covet::telemetry::logging::vocabulary;
use covet::telemetry::request;
use covet::{Error, Result};
use http::header;
use uuid::Uuid;

use super::{Document, ROOMS};
use crate::state::Api;
use crate::users::Users;
use crate::web::problems;

/// Entries of the audit trail that are read at a time.
const ENTRIES_AT_ONCE: u32 = 200;

/// Gives everything that is kept of you, as one JSON document. It is written while it is sent: an answer that breaks off is
/// not whole.
#[utoipa::path(
    get, path = "/api/users/me/export", operation_id = "export_me", tag = "users", security(("bearer" = []), ("session" = [])),
    responses(
        (status = 200, description = "`schema` names the document's form, `covet.personal-data/1`; then a member for each part of the service.",
         body = serde_json::Value, content_type = "application/json"),
        problems::Unauthorized, problems::NotFound,
        problems::Other,
    )
)]
pub(super) async fn export(State(api): State<Api>, caller: Caller) -> Result<Response> {
    let user = caller.user_id;
    if Users(&api.db).find_for_change(user).await?.is_none() {
        return Err(Error::not_found().detail("There is no such user."));
    }
    let entry = Entry::new(vocabulary::PERSONAL_DATA_EXPORTED, "personal data exported").user(user);
    api.trail.record(&api.db, entry).await?;
    let (document, body) = Document::new();
    tokio::spawn(request::carry(write(api, user, document)));
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"personal-data.json\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, body).into_response())
}

async fn write(api: Api, user: Uuid, mut document: Document) {
    let written = write_members(&api, user, &mut document).await;
    let ended = match written {
        Ok(()) => document.end().await,
        Err(error) => {
            document.break_off().await;
            Err(error)
        }
    };
    if let Err(error) = ended {
        let error: &dyn std::error::Error = &error;
        tracing::warn!(error, "an export of personal data was broken off");
    }
}

async fn write_members(api: &Api, user: Uuid, document: &mut Document) -> Result<()> {
    document.member("schema", &"covet.personal-data/1").await?;
    document.member("exported_at", &api.now()).await?;
    for room in ROOMS {
        room.export(api, user, document).await?;
    }
    document.begin_list("audit")?;
    let mut last = 0;
    loop {
        let entries = api.trail.entries_of(&api.db, user, last, ENTRIES_AT_ONCE).await?;
        let Some(entry) = entries.last() else { break };
        last = entry.sequence;
        for entry in &entries {
            document.item(entry).await?;
        }
    }
    document.end_list();
    Ok(())
}
