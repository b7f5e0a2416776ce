//! Who may reach a route: said with the route, checked before its handler.
//!
//! A route says [`Access::Public`], [`Access::Authenticated`] or a [`Permission`]. Once a router has an
//! [access control](crate::Router::access_control), a route that says nothing is refused when the table is finished: what has
//! been forgotten does not start, so it is never open by accident.
//!
//! ```
//! use covet_http::access::{Access, Permission};
//! use covet_http::{Router, routing::get};
//!
//! const NOTES_READ: Permission = Permission::new("notes:read");
//!
//! let notes: Router = Router::new().route("/notes", get(async || "all")).access(NOTES_READ);
//! let about = Router::new().route("/about", get(async || "Notes.")).access(Access::Public);
//! let said: Vec<_> = notes.merge(about).table().into_iter().map(|route| route.access.unwrap().to_string()).collect();
//! assert_eq!(said, ["notes:read", "public"]);
//! ```
//!
//! How callers prove who they are and what their roles allow is not known here: `covet-identity` has the
//! [`AccessControl`] for that, and others may have theirs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::IntoResponse;
use http::request::Parts;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};

use crate::Error;
use crate::routing::Answering;
use crate::routing::around::{Around, Next};

/// Longest name of a permission, in bytes.
const LONGEST_NAME: usize = 64;

/// Something that a caller may do, such as `notes:write`. Declared once, as a constant; routes demand it and roles grant
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Permission(&'static str);

/// Who may reach a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everybody, also those who have not said who they are.
    Public,
    /// Users who are logged in themselves; not a program with a key of theirs.
    Authenticated,
    /// Who has this permission.
    Permission(Permission),
}

/// The outcome of a check.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// Decides who reaches a handler. There is one for all routes of a service.
pub trait AccessControl: Send + Sync + 'static {
    /// Whether the request may go on to a route that says `access`, which is never [`Access::Public`]. What it finds out
    /// about the caller it leaves in the extensions, for the handler's extractors.
    ///
    /// # Errors
    /// The answer to a request that may not: 401 or 403, or another when that cannot be told.
    fn check<'a>(&'a self, access: Access, parts: &'a mut Parts) -> Checking<'a>;

    /// Whether anybody at all can have the permission.
    fn grants(&self, permission: Permission) -> bool;

    /// The names of the OpenAPI security schemes by which such a route can be reached.
    fn schemes(&self, access: Access) -> Vec<&'static str>;
}

/// A router's routes do not fit together with its access control.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccess {
    /// Routes that say nothing, in a router with access control.
    #[error("these routes do not say who may reach them: {}. Give each `.access(…)`: Access::Public, \
             Access::Authenticated or a permission", .routes.join(", "))]
    Undeclared {
        /// Method and path of each.
        routes: Vec<String>,
    },
    /// A route that is not for everybody, and nobody to check that.
    #[error("{route} is for {access} only, and no access control checks that; give its router `.access_control(…)`")]
    Unchecked {
        /// Method and path.
        route: String,
        /// Who may reach it.
        access: Access,
    },
    /// A permission that no role has.
    #[error("{route} demands the permission {permission}, which no role grants: nobody could reach it")]
    Ungranted {
        /// Method and path.
        route: String,
        /// What it demands.
        permission: Permission,
    },
}

impl Permission {
    /// A permission of this name: small letters, digits, `-`, `_` and `:`, as in `notes:write`.
    ///
    /// # Panics
    /// When the name has other characters, none, or more than 64 bytes: in a constant, when the program is compiled.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= LONGEST_NAME, "a permission's name has 1 to 64 bytes");
        let mut at = 0;
        while at < bytes.len() {
            let known = bytes[at].is_ascii_lowercase() || bytes[at].is_ascii_digit();
            assert!(
                known || matches!(bytes[at], b':' | b'-' | b'_'),
                "a permission's name consists of small letters, digits, `-`, `_` and `:`"
            );
            at += 1;
        }
        Self(name)
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Authenticated => "authenticated",
            Self::Permission(permission) => permission.name(),
        })
    }
}

impl From<Permission> for Access {
    fn from(permission: Permission) -> Self {
        Self::Permission(permission)
    }
}

/// What a route says of access, and who checks it.
#[derive(Clone, Default)]
pub(crate) struct Declared {
    pub(crate) access: Option<Access>,
    pub(crate) control: Option<Arc<dyn AccessControl>>,
}

impl Declared {
    /// What stands before the route's handlers; nothing where everybody may pass.
    pub(crate) fn guard(&self) -> Option<Arc<dyn Around>> {
        match (self.access, &self.control) {
            (Some(access @ (Access::Authenticated | Access::Permission(_))), Some(control)) => {
                Some(Arc::new(Guard { access, control: Arc::clone(control) }))
            }
            _ => None,
        }
    }

    /// Tells in the description of a route what it takes to reach it.
    pub(crate) fn describe(&self, operation: &mut Operation, document: &OpenApi) {
        let (Some(access), Some(control)) = (self.access, &self.control) else { return };
        if access == Access::Public {
            return;
        }
        let permission = match access {
            Access::Permission(permission) => Some(permission.name()),
            Access::Public | Access::Authenticated => None,
        };
        // What is no OAuth scope may stand here as well since OpenAPI 3.1: "a list of role names".
        let requirement = |scheme| SecurityRequirement::new(scheme, permission);
        operation.security = Some(control.schemes(access).into_iter().map(requirement).collect());
        add_problem(operation, "401", "No credentials, or not good ones; `WWW-Authenticate` says why.", document);
        let refused = match permission {
            Some(name) => format!("You have not the permission `{name}`."),
            None => "Only a user who is logged in may do this, not an API key.".to_owned(),
        };
        add_problem(operation, "403", &refused, document);
    }
}

/// Whether the routes, by name, and their access control fit together.
///
/// # Errors
/// [`InvalidAccess`], the first that is found.
pub(crate) fn validate<'a>(routes: impl Iterator<Item = (String, &'a Declared)> + Clone) -> Result<(), InvalidAccess> {
    let someone_checks = routes.clone().any(|(_, declared)| declared.control.is_some());
    let mut undeclared = Vec::new();
    for (route, declared) in routes {
        match (declared.access, &declared.control) {
            (None, _) if someone_checks => undeclared.push(route),
            (None | Some(Access::Public), _) => {}
            (Some(access), None) => return Err(InvalidAccess::Unchecked { route, access }),
            (Some(Access::Permission(permission)), Some(control)) if !control.grants(permission) => {
                return Err(InvalidAccess::Ungranted { route, permission });
            }
            (Some(Access::Authenticated | Access::Permission(_)), Some(_)) => {}
        }
    }
    if undeclared.is_empty() { Ok(()) } else { Err(InvalidAccess::Undeclared { routes: undeclared }) }
}

/// Stands before the handlers of a route, its cache and its layers.
struct Guard {
    access: Access,
    control: Arc<dyn AccessControl>,
}

impl Around for Guard {
    fn answer(self: Arc<Self>, request: Request, next: Next) -> Answering {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match self.control.check(self.access, &mut parts).await {
                Ok(()) => next.call(Request::from_parts(parts, body)).await,
                Err(error) => error.into_response(),
            }
        })
    }
}

/// Adds a problem to the answers of a route. A description of the status that is there already stays.
pub(crate) fn add_problem(operation: &mut Operation, status: &str, description: &str, document: &OpenApi) {
    let response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", problem_content(document).build());
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.build().into());
}

/// The body of a problem, with its schema if the document has one.
pub(crate) fn problem_content(document: &OpenApi) -> ContentBuilder {
    const PROBLEM: &str = "Problem";
    let has_problem = document.components.as_ref().is_some_and(|parts| parts.schemas.contains_key(PROBLEM));
    match has_problem {
        true => ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM))),
        false => ContentBuilder::new(),
    }
}

impl fmt::Debug for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declared").field("access", &self.access).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Router;
    use crate::routing::{get, post};

    const READ: Permission = Permission::new("notes:read");
    const WRITE: Permission = Permission::new("notes:write");

    /// Lets everybody through; only `READ` is granted to anybody.
    struct Open;

    impl AccessControl for Open {
        fn check<'a>(&'a self, _: Access, _: &'a mut Parts) -> Checking<'a> {
            Box::pin(async { Ok(()) })
        }

        fn grants(&self, permission: Permission) -> bool {
            permission == READ
        }

        fn schemes(&self, _: Access) -> Vec<&'static str> {
            vec!["bearer"]
        }
    }

    fn route(path: &str) -> Router {
        Router::new().route(path, get(async || ""))
    }

    #[test]
    fn with_access_control_every_route_that_says_nothing_is_named() {
        let said = route("/a").access(READ).access_control(Open);
        assert_eq!(said.check_access(), Ok(()));
        let forgotten = said.merge(route("/b").route("/c", post(async || "")));
        let error = forgotten.check_access().unwrap_err();
        assert!(error.to_string().contains("GET /b, POST /c"), "{error}");
        assert_eq!(forgotten.access(Access::Public).check_access(), Ok(()));
    }

    #[test]
    fn without_access_control_routes_say_nothing_or_are_for_everybody() {
        assert_eq!(route("/a").merge(route("/b").access(Access::Public)).check_access(), Ok(()));
        for access in [Access::Authenticated, READ.into()] {
            let error = route("/a").access(access).check_access().unwrap_err();
            assert_eq!(error, InvalidAccess::Unchecked { route: "GET /a".to_owned(), access });
        }
    }

    #[test]
    fn a_route_that_is_added_past_the_access_control_is_refused() {
        let router = route("/a").access(READ).access_control(Open).merge(route("/b").access(READ));
        let expected = InvalidAccess::Unchecked { route: "GET /b".to_owned(), access: READ.into() };
        assert_eq!(router.check_access(), Err(expected));
    }

    #[test]
    fn a_permission_that_nobody_can_have_is_refused() {
        let error = route("/a").access(WRITE).access_control(Open).check_access().unwrap_err();
        assert_eq!(error, InvalidAccess::Ungranted { route: "GET /a".to_owned(), permission: WRITE });
    }

    #[test]
    fn what_a_route_says_itself_counts_before_what_its_router_says() {
        let router = Router::<()>::new()
            .route("/a", get(async || "").access(Access::Public))
            .route("/b", get(async || ""))
            .access(READ);
        let said: Vec<_> = router.table().into_iter().map(|route| route.access).collect();
        assert_eq!(said, [Some(Access::Public), Some(READ.into())]);
    }
}
