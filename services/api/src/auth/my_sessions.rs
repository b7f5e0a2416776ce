//! `/api/auth/sessions`: logging in by cookie; all my logins, by cookie and by token, and ending them.

use covet::axum::extract::State;
use covet::axum::response::{IntoResponse, Response};
use covet::identity::caller::Caller;
use covet::identity::session::{Session, SessionInfo, SessionOrNew};
use covet::telemetry::logging::{Actor, audit, vocabulary};
use covet::{Error, Json, Path, Result};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::handlers::{Login, authenticate, logged_in};
use super::token_sessions::{EndReason, Open, TokenSessions};
use crate::admin::UserRoles;
use crate::state::Api;
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
    let user = authenticate(&api, body).await?;
    session.log_in_with_roles(user, UserRoles(&api.db).of(user).await?).await?;
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
    let by_token = TokenSessions(&api.db).end_others(user, kept, EndReason::Revoked, api.now()).await?;
    api.tokens.revoke(&by_token).await;
    if by_cookie > 0 || !by_token.is_empty() {
        audit(vocabulary::SESSION_ENDED).target("user", user).log("the other logins have been ended");
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
    match session.filter(|session| session.id() == Some(caller.session_id)) {
        Some(session) => session.end().await?,
        None => {
            let tokens = TokenSessions(&api.db);
            tokens.end(caller.user_id, caller.session_id, EndReason::Logout, api.now()).await?;
            api.tokens.revoke(&[caller.session_id]).await;
        }
    }
    tell_of_end(caller, caller.session_id, "logged out");
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
    let user = caller.user_id;
    if !api.sessions.end(user, id).await? {
        if !TokenSessions(&api.db).end(user, id, EndReason::Revoked, api.now()).await? {
            return Err(Error::not_found().detail("You have no such login."));
        }
        api.tokens.revoke(&[id]).await;
    }
    tell_of_end(caller, id, "login ended by its user");
    Ok(StatusCode::NO_CONTENT)
}

fn tell_of_end(caller: Caller, session: Uuid, message: &'static str) {
    let user = caller.user_id.to_string();
    audit(vocabulary::SESSION_ENDED).actor(Actor::User(&user)).target("session", session).log(message);
}
