//! `/api/admin`.

use covet::axum::extract::State;
use covet::identity::access::Role;
use covet::{Error, Json, Path, Query, Result};
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::last_admin;
use super::roles::{RoleChange, UserRoles, UserWithRoles};
use crate::access::ROLES;
use crate::state::Api;
use crate::web::page::{Page, PageQuery};
use crate::web::problems;

/// A user as admins see them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminUser)]
pub(super) struct AdminUserView {
    /// Their id.
    id: Uuid,
    /// Their address.
    #[schema(format = "email", example = "ada@example.com")]
    email: String,
    /// What they want to be called.
    #[schema(example = "Ada Lovelace")]
    name: String,
    /// The roles that they have been given, beside `user`, which everybody has.
    #[schema(example = json!(["admin"]))]
    roles: Vec<String>,
    /// When they registered.
    created_at: Timestamp,
}

impl From<UserWithRoles> for AdminUserView {
    fn from(UserWithRoles { id, email, name, created_at, roles }: UserWithRoles) -> Self {
        Self { id, email: email.to_string(), name, roles, created_at }
    }
}

/// Lists users with their addresses and roles, newest first.
#[utoipa::path(
    get, path = "/api/admin/users", operation_id = "list_users_as_admin", tag = "admin", params(PageQuery),
    responses(
        (status = 200, description = "A page of users.", body = Page<AdminUserView>),
        problems::BadRequest, problems::Other,
    )
)]
pub(super) async fn list(State(api): State<Api>, Query(query): Query<PageQuery>) -> Result<Json<Page<AdminUserView>>> {
    let users = UserRoles(&api.db).list(&query).await?;
    Ok(Json(query.page(users, |user| user.id).map(AdminUserView::from)))
}

/// Gives a user a role. It counts from their next login or refresh.
#[utoipa::path(
    put, path = "/api/admin/users/{id}/roles/{role}", operation_id = "give_role", tag = "admin",
    params(("id" = Uuid, Path, description = "The user."), ("role" = String, Path, example = "admin", description = "The role.")),
    responses(
        (status = 204, description = "The user has the role."),
        problems::NotFound, problems::Other,
    )
)]
pub(super) async fn give(State(api): State<Api>, Path((id, role)): Path<(Uuid, String)>) -> Result<StatusCode> {
    let role = named(&role)?;
    answer(UserRoles(&api.db).give(&api.trail, id, role, api.now()).await?)
}

/// Takes a role from a user, at once. The last admin stays.
#[utoipa::path(
    delete, path = "/api/admin/users/{id}/roles/{role}", operation_id = "take_role", tag = "admin",
    params(("id" = Uuid, Path, description = "The user."), ("role" = String, Path, example = "admin", description = "The role.")),
    responses(
        (status = 204, description = "The user has not the role."),
        problems::NotFound, problems::Conflict, problems::Other,
    )
)]
pub(super) async fn take(State(api): State<Api>, Path((id, role)): Path<(Uuid, String)>) -> Result<StatusCode> {
    let role = named(&role)?;
    answer(UserRoles(&api.db).take(&api.trail, id, role).await?)
}

fn named(role: &str) -> Result<&'static Role> {
    ROLES.find(role).ok_or_else(|| {
        let names: Vec<_> = ROLES.given().iter().map(|role| role.name()).collect();
        Error::not_found().detail(format!("There is no such role to give. There is: {}.", names.join(", ")))
    })
}

fn answer(change: RoleChange) -> Result<StatusCode> {
    match change {
        RoleChange::Changed | RoleChange::Unchanged => Ok(StatusCode::NO_CONTENT),
        RoleChange::LastAdmin => Err(last_admin()),
        RoleChange::NoSuchUser => Err(Error::not_found().detail("There is no such user.")),
    }
}
