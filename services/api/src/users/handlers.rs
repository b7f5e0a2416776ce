//! `/api/users`.

use covet::axum::extract::State;
use covet::axum::response::Response;
use covet::data::Error as DbError;
use covet::identity::attempts::Method;
use covet::identity::audit::Entry;
use covet::identity::caller::Caller;
use covet::identity::password::{Password, PasswordHash, Verdict};
use covet::identity::session::{Session, SessionError};
use covet::telemetry::logging::vocabulary;
use covet::{Error, Json, Path, Query, Result};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::email::Email;
use super::store::{self, Users};
use super::user::{UserView, checked_name};
use crate::admin::{UserRoles, is_last_admin, last_admin};
use crate::auth::{EndReason, end_other_token_sessions};
use crate::privacy;
use crate::state::Api;
use crate::web::fields::{self, Fields};
use crate::web::page::{Page, PageQuery};
use crate::web::precondition::{Etag, IfMatch, IfNoneMatch, precondition_failed};
use crate::web::problems;

/// What to change about yourself; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserChange {
    /// A new name.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    name: Option<String>,
    /// A new address. Needs `current_password`.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(nullable = false, format = "email", max_length = 254)]
    email: Option<String>,
    /// Your password, to change your address.
    #[serde(default, deserialize_with = "fields::present")]
    #[schema(value_type = Option<String>, nullable = false, format = "password", write_only)]
    current_password: Option<Password>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    /// The password until now.
    #[schema(value_type = String, format = "password", write_only)]
    current_password: Password,
    /// The password from now on.
    #[schema(value_type = String, format = "password", write_only, min_length = 8, max_length = 1024)]
    new_password: Password,
}

/// Lists users, newest first.
#[utoipa::path(
    get, path = "/api/users", operation_id = "list_users", tag = "users", params(PageQuery),
    responses(
        (status = 200, description = "A page of users.", body = Page<UserView>),
        problems::BadRequest, problems::Unauthorized,
        problems::Other,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<UserView>>> {
    let users = Users(&api.db).list(&query).await?;
    Ok(Json(query.page(users, |user| user.id).map(|user| user.seen_by(caller.user_id))))
}

/// Shows who you are.
#[utoipa::path(
    get, path = "/api/users/me", operation_id = "read_me", tag = "users",
    params(("if-none-match" = Option<String>, Header, description = "The `ETag` that you have.")),
    responses(
        (status = 200, description = "You.", body = UserView, headers(("etag" = String, description = "Version."))),
        (status = 304, description = "As you have it."),
        problems::Unauthorized, problems::NotFound,
        problems::Other,
    )
)]
pub(super) async fn me(State(api): State<Api>, caller: Caller, known: IfNoneMatch) -> Result<Response> {
    show(&api, caller, caller.user_id, &known).await
}

/// Shows a user.
#[utoipa::path(
    get, path = "/api/users/{id}", operation_id = "read_user", tag = "users",
    params(
        ("id" = Uuid, Path, description = "The user."),
        ("if-none-match" = Option<String>, Header, description = "The `ETag` that you have."),
    ),
    responses(
        (status = 200, description = "The user.", body = UserView, headers(("etag" = String, description = "Version."))),
        (status = 304, description = "As you have it."),
        problems::Unauthorized, problems::NotFound,
        problems::Other,
    )
)]
pub(super) async fn read(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    known: IfNoneMatch,
) -> Result<Response> {
    show(&api, caller, id, &known).await
}

async fn show(api: &Api, caller: Caller, id: Uuid, known: &IfNoneMatch) -> Result<Response> {
    let user = Users(&api.db).find(id).await?.ok_or_else(no_such_user)?;
    Ok(known.answer(user.etag(), Json(user.seen_by(caller.user_id))))
}

/// Changes your name or address.
#[utoipa::path(
    patch, path = "/api/users/{id}", operation_id = "update_user", tag = "users",
    request_body = UserChange,
    params(
        ("id" = Uuid, Path, description = "Yourself."),
        ("if-match" = Option<String>, Header, example = "\"v1\"", description = "The `ETag` of the version that you change. Needed."),
    ),
    responses(
        (status = 200, description = "Changed.", body = UserView, headers(("etag" = String, description = "Version."))),
        problems::BadRequest, problems::Unauthorized, problems::Forbidden, problems::NotFound, problems::Conflict,
        problems::PreconditionFailed, problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable, problems::PreconditionRequired, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    precondition: IfMatch,
    Json(change): Json<UserChange>,
) -> Result<(Etag, Json<UserView>)> {
    caller.must_be(id)?;
    precondition.required()?;
    let mut fields = Fields::new();
    let name = fields.take_some("name", change.name.as_deref().map(checked_name));
    let email = fields.take_some("email", change.email.as_deref().map(Email::parse));
    if email.is_some() && change.current_password.is_none() {
        fields.refuse("current_password", "is needed to change your address");
    }
    fields.finish()?;

    let users = Users(&api.db);
    let user = users.find_for_change(id).await?.ok_or_else(no_such_user)?;
    precondition.check(user.etag())?;
    if let (Some(_), Some(password)) = (&email, change.current_password) {
        confirm_password(&api, id, password).await?;
    }
    let transaction = api.db.begin().await?;
    let changed = store::update(&transaction, id, user.version, name.as_deref(), email.as_ref(), api.now()).await;
    let Some(user) = changed.map_err(address_taken)? else {
        transaction.rollback().await;
        return Err(changed_meanwhile(&users, id).await?);
    };
    if email.is_some() {
        let entry = Entry::new(vocabulary::USER_UPDATED, "e-mail address changed").user(id).concealed("email");
        api.trail.commit(transaction, entry).await?;
    } else {
        transaction.commit().await?;
    }
    Ok((user.etag(), Json(user.seen_by(id))))
}

/// Changes your password. Your other logins end.
#[utoipa::path(
    put, path = "/api/users/{id}/password", operation_id = "change_password", tag = "users",
    request_body = PasswordChange,
    params(("id" = Uuid, Path, description = "Yourself.")),
    responses(
        (status = 204, description = "Changed."),
        problems::BadRequest, problems::Unauthorized, problems::Forbidden, problems::NotFound,
        problems::TooLarge, problems::UnsupportedMediaType, problems::Unprocessable, problems::Busy,
        problems::Other,
    )
)]
pub(super) async fn change_password(
    State(api): State<Api>,
    caller: Caller,
    session: Option<Session>,
    Path(id): Path<Uuid>,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode> {
    caller.must_be(id)?;
    let users = Users(&api.db);
    let user = users.find_for_change(id).await?.ok_or_else(no_such_user)?;
    let about = [user.name.as_str(), user.email.as_str()];
    let new = match api.passwords.accept(change.new_password, &about) {
        Ok(new) => new,
        Err(refusal) => return Err(Error::new(refusal.for_field("new_password"))),
    };
    let old = confirm_password(&api, id, change.current_password).await?;
    let hash = api.passwords.hash(new).await?;
    // First, so that nothing has changed when the cache is away.
    api.sessions.end_all(id, Some(caller.session_id)).await?;
    let (transaction, now) = (api.db.begin().await?, api.now());
    // Two changes that know the same password: the second would undo the first, and be a thief's as likely as not.
    if !store::set_password(&transaction, id, &old, &hash, now).await? {
        transaction.rollback().await;
        return Err(not_your_password());
    }
    let ended = end_other_token_sessions(&transaction, id, caller.session_id, EndReason::PasswordChanged, now).await?;
    let entry = Entry::new(vocabulary::PASSWORD_CHANGED, "password changed; the other logins have been ended");
    api.trail.commit(transaction, entry.user(id).concealed("password")).await?;
    api.tokens.revoke(&ended).await;
    // The password is another now, whatever becomes of this: an error would tell its user that it is not.
    if let Err(error) = renew_sessions(&api, caller, session).await {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "after a change of password the other sessions could not be ended a second time");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Ends what has been opened with the old password meanwhile, and gives the caller's own session another id.
async fn renew_sessions(api: &Api, caller: Caller, session: Option<Session>) -> Result<(), SessionError> {
    api.sessions.end_all(caller.user_id, Some(caller.session_id)).await?;
    match session.filter(|session| session.id() == Some(caller.session_id)) {
        Some(session) => session.regenerate().await,
        None => Ok(()),
    }
}

/// Deletes you and everything that is kept of you. Orders stay, without an owner: they are accounts. The audit trail stays,
/// without anything that leads to you. The last admin stays, too.
#[utoipa::path(
    delete, path = "/api/users/{id}", operation_id = "delete_user", tag = "users",
    params(
        ("id" = Uuid, Path, description = "Yourself."),
        ("if-match" = Option<String>, Header, example = "\"v1\"", description = "The `ETag` of the version to delete; any when absent."),
    ),
    responses(
        (status = 204, description = "Deleted."),
        problems::BadRequest, problems::Unauthorized, problems::Forbidden, problems::NotFound,
        problems::Conflict, problems::PreconditionFailed,
        problems::Other,
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<Uuid>,
    precondition: IfMatch,
) -> Result<StatusCode> {
    caller.must_be(id)?;
    let users = Users(&api.db);
    let user = users.find_for_change(id).await?.ok_or_else(no_such_user)?;
    precondition.check(user.etag())?;
    if UserRoles(&api.db).is_last_admin(id).await? {
        return Err(last_admin());
    }
    // First: what does not lie in the database would not go with the user.
    privacy::erase_outside(&api, id).await?;
    let transaction = api.db.begin().await?;
    if !store::hold(&transaction, id, user.version).await? {
        transaction.rollback().await;
        return Err(changed_meanwhile(&users, id).await?);
    }
    if is_last_admin(&transaction, id).await? {
        transaction.rollback().await;
        return Err(last_admin());
    }
    let forgotten = privacy::erase(&api, &transaction, id).await?;
    let entry = Entry::new(vocabulary::USER_DELETED, "user deleted").forgotten(forgotten);
    api.trail.commit(transaction, entry).await?;
    // The user is gone, whatever becomes of this: what has been opened or cached meanwhile ends.
    if let Err(error) = privacy::erase_outside(&api, id).await {
        let error: &dyn std::error::Error = &error;
        tracing::error!(
            error,
            "after a user was deleted, what is outside the database could not be erased a second time"
        );
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The stored hash, if the password is theirs.
async fn confirm_password(api: &Api, id: Uuid, password: Password) -> Result<PasswordHash> {
    let stored = Users(&api.db).credentials(id).await?.map(|credentials| credentials.password_hash);
    match (api.passwords.verify_or_dummy(password, stored.clone()).await?, stored) {
        (Verdict::Right { .. }, Some(stored)) => {
            Method::Password.succeeded();
            Ok(stored)
        }
        _ => {
            Method::Password.failed_for("wrong_password", id);
            let entry = Entry::new(vocabulary::LOGIN_FAILED, "the password asked for again was wrong");
            api.trail.record(&api.db, entry.failure("wrong_password").user(id)).await?;
            Err(not_your_password())
        }
    }
}

fn not_your_password() -> Error {
    Error::invalid().field("current_password", "is not your password")
}

/// Why a change with a version found no row: somebody was quicker, or the user is gone.
async fn changed_meanwhile(users: &Users<'_>, id: Uuid) -> Result<Error> {
    let present = users.find_for_change(id).await?;
    Ok(present.map_or_else(no_such_user, |user| precondition_failed(user.etag())))
}

fn no_such_user() -> Error {
    Error::not_found().detail("There is no such user.")
}

/// Tells which field it was when the address belongs to somebody else already.
pub(crate) fn address_taken(error: DbError) -> Error {
    match error {
        DbError::Unique { .. } => {
            Error::conflict("This e-mail address is registered already. Log in instead.").field("email", "is taken")
        }
        error => error.into(),
    }
}
