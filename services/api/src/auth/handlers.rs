//! `/api/auth`.

use covet::axum::extract::State;
use covet::axum::response::{IntoResponse, Response};
use covet::identity::attempts::Method;
use covet::identity::audit::{Actor, Entry};
use covet::identity::password::{Password, Verdict};
use covet::identity::token::{RefreshToken, RefreshVerdict};
use covet::ids::new_id;
use covet::secret::ExposeSecret;
use covet::telemetry::logging::{security, vocabulary};
use covet::{Error, Json, Result};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::token_sessions::{self, EndReason, Refreshed, TokenSessions};
use super::unauthorized;
use crate::admin::UserRoles;
use crate::cached;
use crate::metrics::Feature;
use crate::state::Api;
use crate::users::{self, Credentials, Email, NewUser, UserView, Users, address_taken, checked_name};
use crate::web::fields::Fields;
use crate::web::precondition::Etag;
use crate::web::problems;

/// Words that no password may consist of, beside the user's own.
const OUR_NAMES: [&str; 2] = ["covet", "covet-api"];

/// Somebody who registers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    /// Their address; they log in with it.
    #[schema(format = "email", max_length = 254, example = "ada@example.com")]
    email: String,
    /// Their password: at least 15 characters (`COVET_AUTH__PASSWORD_MIN_LENGTH`), of any kind.
    #[schema(value_type = String, format = "password", write_only, min_length = 8, max_length = 1024)]
    password: Password,
    /// What they want to be called.
    #[schema(min_length = 1, max_length = 100, example = "Ada Lovelace")]
    name: String,
}

/// Somebody who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// Their address.
    #[schema(format = "email", example = "ada@example.com")]
    email: String,
    /// Their password.
    #[schema(value_type = String, format = "password", write_only)]
    password: Password,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    /// The token of the last answer from login or refresh.
    refresh_token: String,
}

/// What a client needs to stay logged in.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenPair {
    /// For `Authorization: Bearer …`.
    access_token: String,
    /// For the next pair; good once.
    refresh_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// How long the access token is good, in seconds.
    #[schema(example = 900, minimum = 0)]
    expires_in: u64,
}

/// Registers a user.
#[utoipa::path(
    post, path = "/api/auth/register", operation_id = "register", tag = "auth", request_body = Registration,
    responses(
        (status = 201, description = "Registered. Log in next.", body = UserView, headers(
            ("location" = String, description = "The user."), ("etag" = String, description = "Version."),
        )),
        problems::BadRequest, problems::Conflict, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn register(State(api): State<Api>, Json(body): Json<Registration>) -> Result<Response> {
    let mut fields = Fields::new();
    let email = fields.take("email", Email::parse(&body.email));
    let name = fields.take("name", checked_name(&body.name));
    let about = [&[body.name.as_str(), body.email.as_str()][..], &OUR_NAMES].concat();
    let password = fields.take("password", api.passwords.accept(body.password, &about));
    fields.finish()?;
    let (Some(email), Some(name), Some(password)) = (email, name, password) else { return Err(Error::invalid()) };

    let password = api.passwords.hash(password).await?;
    let new = NewUser { email, name, password };
    let id = new_id(&api.clock);
    let transaction = api.db.begin().await?;
    let user = users::insert(&transaction, id, &new, api.now()).await.map_err(address_taken)?;
    let registrations = api.business.business_user_registrations_total().clone();
    transaction.after_commit(move || registrations.increment(1));
    api.trail.commit(transaction, Entry::new(vocabulary::USER_CREATED, "user registered").user(id)).await?;
    api.end(cached::USERS).await;
    let location = [(header::LOCATION, format!("/api/users/{id}"))];
    Ok((StatusCode::CREATED, location, Etag(user.version), Json(user.seen_by(id))).into_response())
}

/// Logs in by token: for programs, and for applications on another site.
#[utoipa::path(
    post, path = "/api/auth/login", operation_id = "log_in", tag = "auth", request_body = Login,
    responses(
        (status = 200, description = "Logged in.", body = TokenPair),
        problems::BadRequest, problems::Unauthorized, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn login(State(api): State<Api>, Json(body): Json<Login>) -> Result<Response> {
    let proved = authenticate(&api, body).await?;
    let user = proved.id;
    let session = new_id(&api.clock);
    let transaction = api.db.begin().await?;
    if !users::hold_password(&transaction, user, &proved.password_hash).await? {
        transaction.rollback().await;
        return Err(wrong_credentials());
    }
    let refresh_token = token_sessions::open(&transaction, session, user, &api.auth, api.now()).await?;
    api.trail.commit(transaction, login_entry(user, "token").target("session", session)).await?;
    logged_in(&api, user);
    token_pair(&api, user, session, &refresh_token).await
}

/// For the audit trail: the user has logged in by token or by cookie.
pub(super) fn login_entry(user: Uuid, by: &'static str) -> Entry {
    Entry::new(vocabulary::LOGIN_SUCCEEDED, "logged in").actor(Actor::User(user)).after("by", by)
}

/// Tells of a login that has succeeded.
pub(super) fn logged_in(api: &Api, user: Uuid) {
    Method::Password.succeeded_for(user);
    api.business.business_feature_usage_total(Feature::LogIn).increment(1);
}

/// Who it is, if the password is theirs, and its hash as it is stored now. A change of password while the login goes on does not
/// stop here: whoever opens a session makes sure that the hash is still this one.
pub(super) async fn authenticate(api: &Api, body: Login) -> Result<Credentials> {
    let users = Users(&api.db);
    // An address that cannot be one takes as long as one that nobody has.
    let known = match Email::parse(&body.email) {
        Ok(email) => users.credentials_by_email(&email).await?,
        Err(_) => None,
    };
    let stored = known.as_ref().map(|credentials| credentials.password_hash.clone());
    let verdict = api.passwords.verify_or_dummy(body.password.clone(), stored).await?;
    let (mut credentials, rehash) = match (known, verdict) {
        (Some(credentials), Verdict::Right { rehash }) => (credentials, rehash),
        (known, _) => {
            let user = known.map(|credentials| credentials.id);
            let reason = if user.is_some() { "wrong_password" } else { "unknown_user" };
            match user {
                Some(user) => Method::Password.failed_for(reason, user),
                None => Method::Password.failed(reason),
            }
            // The same statements for both: how long it takes must not tell who is registered.
            let entry = Entry::new(vocabulary::LOGIN_FAILED, "login failed").failure(reason);
            api.trail.record(&api.db, entry.actor(Actor::Anonymous).user_if_known(user)).await?;
            return Err(wrong_credentials());
        }
    };
    if rehash {
        let hash = api.passwords.rehash(body.password.clone()).await?;
        if users.replace_password(credentials.id, &credentials.password_hash, &hash).await? {
            credentials.password_hash = hash;
        } else {
            // Another login was quicker with the same, or the password is another now.
            let stored = users.credentials(credentials.id).await?.ok_or_else(wrong_credentials)?;
            if api.passwords.verify(body.password, stored.password_hash.clone()).await? == Verdict::Wrong {
                return Err(wrong_credentials());
            }
            credentials = stored;
        }
    }
    Ok(credentials)
}

/// Gives the next pair of tokens for a refresh token, which is used up.
#[utoipa::path(
    post, path = "/api/auth/refresh", operation_id = "refresh", tag = "auth", request_body = Refresh,
    responses(
        (status = 200, description = "The next pair.", body = TokenPair),
        problems::BadRequest, problems::Unauthorized, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn refresh(State(api): State<Api>, Json(body): Json<Refresh>) -> Result<Response> {
    let Ok(presented) = RefreshToken::parse(&body.refresh_token) else {
        return Err(refused("malformed"));
    };
    let tokens = TokenSessions(&api.db);
    match tokens.refresh(&presented.fingerprint(), &api.auth, &api.trail, api.now()).await? {
        Refreshed::Next { user, session, token } => {
            Method::RefreshToken.succeeded_for(user);
            token_pair(&api, user, session, &token).await
        }
        Refreshed::Unknown => Err(refused("unknown")),
        Refreshed::Refused { user, session, verdict } => Err(match verdict {
            RefreshVerdict::Reused => {
                Method::RefreshToken.count_failure("reused");
                api.tokens.revoke(&[session]).await;
                security(vocabulary::TOKEN_REUSED)
                    .auth_method(Method::RefreshToken.as_str())
                    .failure("reused")
                    .target("user", user)
                    .log("a refresh token was used twice: it has been copied");
                refresh_refused()
            }
            RefreshVerdict::Expired => refused("expired"),
            RefreshVerdict::Ended | RefreshVerdict::Good => refused("ended"),
        }),
    }
}

/// Ends a login by token. The answer is the same for a token that nobody has.
#[utoipa::path(
    post, path = "/api/auth/logout", operation_id = "log_out", tag = "auth", request_body = Refresh,
    responses(
        (status = 204, description = "The login has ended. Its access tokens are refused from now on."),
        problems::BadRequest, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable,
        problems::Other,
    )
)]
pub(super) async fn logout(State(api): State<Api>, Json(body): Json<Refresh>) -> Result<StatusCode> {
    if let Ok(token) = RefreshToken::parse(&body.refresh_token) {
        let transaction = api.db.begin().await?;
        let (token, reason) = (token.fingerprint(), EndReason::Logout);
        if let Some(session) = token_sessions::end_by_token(&transaction, &token, reason, api.now()).await? {
            let entry = end_entry(session.user_id, "logged out", reason).target("session", session.id);
            api.trail.commit(transaction, entry).await?;
            api.tokens.revoke(&[session.id]).await;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// For the audit trail: the user has ended a login or several.
pub(super) fn end_entry(user: Uuid, message: &'static str, reason: EndReason) -> Entry {
    Entry::new(vocabulary::SESSION_ENDED, message).actor(Actor::User(user)).after("reason", reason.as_str())
}

async fn token_pair(api: &Api, user: Uuid, session: Uuid, refresh_token: &RefreshToken) -> Result<Response> {
    let roles = UserRoles(&api.db).of(user).await?;
    let access = api.tokens.issue_with_roles(user, session, roles)?;
    let pair = TokenPair {
        access_token: access.token.expose_secret().to_owned(),
        refresh_token: refresh_token.expose().to_owned(),
        token_type: "Bearer",
        expires_in: access.expires_in.as_secs(),
    };
    // RFC 6749 §5.1: nobody keeps a copy.
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(pair)).into_response())
}

/// One answer for a wrong password and an unknown address, so that it does not tell who is registered.
pub(super) fn wrong_credentials() -> Error {
    unauthorized("/problems/wrong-credentials", "Wrong credentials", "The e-mail address or the password is wrong.")
}

fn refused(reason: &'static str) -> Error {
    Method::RefreshToken.failed(reason);
    refresh_refused()
}

fn refresh_refused() -> Error {
    unauthorized("/problems/refresh-refused", "Refresh token refused", "This refresh token is not good. Log in again.")
}
