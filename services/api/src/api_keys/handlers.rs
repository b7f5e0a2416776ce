//! `/api/keys`.

use covet::axum::extract::State;
use covet::axum::response::{IntoResponse, Response};
use covet::identity::api_key::ApiKey;
use covet::identity::caller::Caller;
use covet::secret::ExposeSecret;
use covet::{Error, Json, Path, Result};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::{ApiKeyTable, Inserted, KeyRow, NewKey};
use crate::access::ROLES;
use crate::admin::UserRoles;
use crate::auth::or_user_is_gone;
use crate::state::Api;
use crate::web::fields::{self, Fields};
use crate::web::problems;

/// Longest name, in characters.
const MAX_NAME_LENGTH: usize = 100;

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApiKey {
    /// What you call it. Two keys may have one name, to replace one by the other.
    #[schema(min_length = 1, max_length = 100, example = "backup")]
    name: String,
    /// What it may do: permissions that you have.
    #[schema(min_items = 1, example = json!(["notes:read"]))]
    scopes: Vec<String>,
    /// When it expires; never when absent.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
}

/// A key of yours, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct ApiKeyView {
    /// Its id: the first part of the key, after `cvt_`.
    id: Uuid,
    /// What you call it.
    name: String,
    /// What it may do.
    scopes: Vec<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
    /// When it was last used, exact to a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<Timestamp>,
    /// Whether it is so old that you should make another and revoke it (`COVET_AUTH__API_KEY_REPLACE_AFTER`).
    replace: bool,
}

/// A key that has just been made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeApiKey {
    /// The key. It is shown this once.
    #[schema(example = "cvt_…")]
    key: String,
    /// What is known of it.
    #[serde(flatten)]
    about: ApiKeyView,
}

/// All your keys, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyList)]
pub(super) struct ApiKeyViews {
    /// The keys.
    items: Vec<ApiKeyView>,
}

impl ApiKeyView {
    pub(super) fn new(row: KeyRow, api: &Api) -> Self {
        Self {
            id: row.id,
            name: row.name,
            scopes: row.scopes.split(' ').map(str::to_owned).collect(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            replace: api.keys.is_due(row.created_at),
        }
    }
}

/// Lists your API keys, the newest first.
#[utoipa::path(
    get, path = "/api/keys", operation_id = "list_api_keys", tag = "keys",
    responses((status = 200, description = "Your keys.", body = ApiKeyViews), problems::Other)
)]
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Result<Json<ApiKeyViews>> {
    let keys = ApiKeyTable(api.db.clone()).list(caller.user_id).await?;
    Ok(Json(ApiKeyViews { items: keys.into_iter().map(|key| ApiKeyView::new(key, &api)).collect() }))
}

/// Makes an API key. It is shown in this answer and never again.
#[utoipa::path(
    post, path = "/api/keys", operation_id = "create_api_key", tag = "keys", request_body = NewApiKey,
    responses(
        (status = 201, description = "Made. Keep it.", body = MadeApiKey),
        problems::BadRequest, problems::Conflict, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn create(State(api): State<Api>, caller: Caller, Json(body): Json<NewApiKey>) -> Result<Response> {
    let now = api.now();
    let mut fields = Fields::new();
    let name = fields.take("name", fields::text(&body.name, 1, MAX_NAME_LENGTH));
    let roles = UserRoles(&api.db).of(caller.user_id).await?;
    let scopes = fields.take("scopes", checked_scopes(&body.scopes, &roles));
    if body.expires_at.is_some_and(|at| at <= now) {
        fields.refuse("expires_at", "is over already");
    }
    fields.finish()?;
    let (Some(name), Some(scopes)) = (name, scopes) else { return Err(Error::invalid()) };

    let key = ApiKey::generate(&api.clock);
    // As precise as the database keeps it.
    let expires_at = body.expires_at.map(|at| Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at));
    let (id, user_id) = (key.id(), caller.user_id);
    let new = NewKey { id, user_id, name, fingerprint: key.fingerprint(), scopes, expires_at };
    match ApiKeyTable(api.db.clone()).insert(&api.trail, &new, now).await.map_err(or_user_is_gone)? {
        Inserted::Stored => {}
        Inserted::TwoOfThisName => {
            let detail = "You have two keys of this name. Revoke one of them first, or take another name.";
            return Err(Error::conflict(detail).field("name", "is taken twice"));
        }
        Inserted::TooMany => return Err(Error::conflict("You have as many keys as one may have. Revoke some first.")),
    }
    let about = ApiKeyView {
        id,
        name: new.name,
        scopes: new.scopes,
        created_at: now,
        expires_at,
        last_used_at: None,
        replace: false,
    };
    let made = MadeApiKey { key: key.text().expose_secret().to_owned(), about };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// Revokes an API key of yours, at once.
#[utoipa::path(
    delete, path = "/api/keys/{id}", operation_id = "revoke_api_key", tag = "keys",
    params(("id" = Uuid, Path, description = "The key.")),
    responses((status = 204, description = "It is good for nothing now."), problems::NotFound, problems::Other)
)]
pub(super) async fn revoke(State(api): State<Api>, caller: Caller, Path(id): Path<Uuid>) -> Result<StatusCode> {
    if !ApiKeyTable(api.db.clone()).delete(&api.trail, caller.user_id, id).await? {
        return Err(Error::not_found().detail("You have no such key."));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Scopes that a user with these roles may give a key, sorted, each once.
fn checked_scopes(asked: &[String], roles: &[String]) -> Result<Vec<String>, String> {
    if asked.is_empty() {
        return Err("must name at least one permission".to_owned());
    }
    let mut scopes = Vec::with_capacity(asked.len());
    for name in asked {
        // The same answer for what nobody may and what they may not: it lists no permissions of others.
        let known = ROLES.permission(name).filter(|permission| ROLES.allow(roles, *permission));
        let permission = known.ok_or_else(|| format!("{name:?} is no permission of yours"))?;
        scopes.push(permission.name().to_owned());
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(asked: &[&str], roles: &[&str]) -> Result<Vec<String>, String> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        checked_scopes(&owned(asked), &owned(roles))
    }

    #[test]
    fn a_key_gets_nothing_that_its_owner_has_not() {
        assert_eq!(scopes(&["notes:write", "notes:read", "notes:write"], &[]).unwrap(), ["notes:read", "notes:write"]);
        assert!(scopes(&["notes:read", "users:admin"], &[]).is_err());
        assert_eq!(scopes(&["users:admin"], &["admin"]).unwrap(), ["users:admin"]);
        assert!(scopes(&[], &["admin"]).is_err() && scopes(&["*"], &["admin"]).is_err());
    }
}
