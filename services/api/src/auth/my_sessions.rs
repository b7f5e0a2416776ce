//! `/api/auth/sessions`: logging in by cookie; all my logins, by cookie and by token, and ending them.

use covet::axum::extract::State;
use covet::axum::response::{IntoResponse, Response};
use covet::identity::caller::Caller;
use covet::identity::session::{Session, SessionInfo, SessionOrNew};
use covet::{Error, Json, Path, Result};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::handlers::{Login, authenticate, end_entry, logged_in, login_entry, wrong_credentials};
use super::token_sessions::{self, EndReason, Open, TokenSessions};
use crate::admin::UserRoles;
use crate::state::Api;
use crate::users::Users;
use crate::web::problems;

/// A login of yours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView {
    /// Its name.
    id: Uuid,
    /// How it proves who you are.
    kind: Kind,
    /// Whether it is the one that asks.
    current: bool,
    /// When you logged in.
    created_at: Timestamp,
    /// When it was last used; by cookie exact to an hour.
    last_used_at: Timestamp,
    /// When it ends; by cookie, if it is not used.
    expires_at: Timestamp,
    /// What the browser called itself, by cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user_agent: Option<String>,
    /// Where it came from, by cookie, as far as the service may keep that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    address: Option<String>,
}

/// How a login proves who you are.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = SessionKind)]
pub(super) enum Kind {
    /// By the cookie of a browser.
    Cookie,
    /// By access and refresh tokens.
    Token,
}

/// All your logins, the one used last first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionList)]
pub(super) struct SessionViews {
    /// The logins.
    items: Vec<SessionView>,
}

impl SessionView {
    fn by_cookie(session: SessionInfo, caller: Caller) -> Self {
        Self {
            id: session.id,
            kind: Kind::Cookie,
            current: session.id == caller.session_id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            user_agent: session.user_agent,
            address: session.address,
        }
    }

    fn by_token(session: &Open, caller: Caller) -> Self {
        Self {
            id: session.id,
            kind: Kind::Token,
            current: session.id == caller.session_id,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
            user_agent: None,
            address: None,
        }
    }
}

/// Logs in by cookie: for browsers. A session that the browser has already ends.
#[utoipa::path(
    post, path = "/api/auth/sessions", operation_id = "open_session", tag = "auth", request_body = Login,
    responses(
        (status = 204, description = "Logged in.", headers(("set-cookie" = String, description = "The session's cookie."))),
        problems::BadRequest, problems::Unauthorized, problems::Forbidden, problems::TooLarge, problems::UnsupportedMediaType,
        problems::Unprocessable, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn open(
    State(api): State<Api>,
    SessionOrNew(session): SessionOrNew,
    Json(body): Json<Login>,
) -> Result<StatusCode> {
    let proved = authenticate(&api, body).await?;
    let user = proved.id;
    let roles = UserRoles(&api.db).of(user).await?;
    // Sessions by cookie do not lie in the database. First, so that there is no login that is not recorded.
    api.trail.record(&api.db, login_entry(user, "cookie")).await?;
    session.log_in_with_roles(user, roles).await?;
    // After it, for a change of password ends the sessions after it has been stored: one of the two sees the other.
    if !Users(&api.db).has_password(user, &proved.password_hash).await? {
        session.end().await?;
        return Err(wrong_credentials());
    }
    logged_in(&api, user);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists your logins, the one used last first.
#[utoipa::path(
    get, path = "/api/auth/sessions", operation_id = "list_sessions", tag = "auth",
    responses(
        (status = 200, description = "Your logins.", body = SessionViews),
        problems::Unauthorized, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Result<Response> {
    let by_cookie = api.sessions.list(caller.user_id).await?;
    let by_token = TokenSessions(&api.db).list_open(caller.user_id, api.now()).await?;
    let mut items: Vec<SessionView> =
        by_cookie.into_iter().map(|session| SessionView::by_cookie(session, caller)).collect();
    items.extend(by_token.iter().map(|session| SessionView::by_token(session, caller)));
    items.sort_by_key(|session| std::cmp::Reverse(session.last_used_at));
    // It tells of devices and addresses.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(SessionViews { items })).into_response())
}

/// Ends all your logins but the one that asks. Their access tokens are refused from now on.
#[utoipa::path(
    delete, path = "/api/auth/sessions", operation_id = "end_other_sessions", tag = "auth",
    responses(
        (status = 204, description = "They have ended."),
        problems::Unauthorized, problems::Forbidden, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn end_others(State(api): State<Api>, caller: Caller) -> Result<StatusCode> {
    let (user, kept) = (caller.user_id, caller.session_id);
    let by_cookie = api.sessions.end_all(user, Some(kept)).await?;
    let transaction = api.db.begin().await?;
    let by_token = token_sessions::end_others(&transaction, user, kept, EndReason::Revoked, api.now()).await?;
    let count = by_cookie + by_token.len() as u64;
    if count > 0 {
        let entry = end_entry(user, "the other logins have been ended", EndReason::Revoked);
        api.trail.commit(transaction, entry.user(user).after("sessions", count)).await?;
        api.tokens.revoke(&by_token).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Logs out: ends the login that asks. Its access tokens are refused from now on.
#[utoipa::path(
    delete, path = "/api/auth/sessions/current", operation_id = "end_current_session", tag = "auth",
    responses(
        (status = 204, description = "It has ended."),
        problems::Unauthorized, problems::Forbidden, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn end_current(
    State(api): State<Api>,
    caller: Caller,
    session: Option<Session>,
) -> Result<StatusCode> {
    let (user, id, reason) = (caller.user_id, caller.session_id, EndReason::Logout);
    let by_cookie = session.filter(|session| session.id() == Some(id));
    let is_by_cookie = by_cookie.is_some();
    if let Some(session) = by_cookie {
        session.end().await?;
    }
    let transaction = api.db.begin().await?;
    if is_by_cookie || token_sessions::end(&transaction, user, id, reason, api.now()).await? {
        api.trail.commit(transaction, end_entry(user, "logged out", reason).target("session", id)).await?;
    }
    if !is_by_cookie {
        api.tokens.revoke(&[id]).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one of your logins.
#[utoipa::path(
    delete, path = "/api/auth/sessions/{id}", operation_id = "end_session", tag = "auth",
    params(("id" = Uuid, Path, description = "The login.")),
    responses(
        (status = 204, description = "It has ended."),
        problems::Unauthorized, problems::Forbidden, problems::NotFound, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn end(State(api): State<Api>, caller: Caller, Path(id): Path<Uuid>) -> Result<StatusCode> {
    let (user, reason) = (caller.user_id, EndReason::Revoked);
    let by_cookie = api.sessions.end(user, id).await?;
    let transaction = api.db.begin().await?;
    if !by_cookie && !token_sessions::end(&transaction, user, id, reason, api.now()).await? {
        return Err(Error::not_found().detail("You have no such login."));
    }
    api.trail.commit(transaction, end_entry(user, "login ended by its user", reason).target("session", id)).await?;
    if !by_cookie {
        api.tokens.revoke(&[id]).await;
    }
    Ok(StatusCode::NO_CONTENT)
}
