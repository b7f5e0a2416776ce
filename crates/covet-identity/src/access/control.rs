//! The check before a handler: who is it, and may they?

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use covet_core::clock::Clock;
use covet_http::Error;
use covet_http::access::{Access, AccessControl, Checking, Permission};
use covet_telemetry::metrics::Registry;
use http::request::Parts;
use uuid::Uuid;

use super::denials::{ACCESS, Denial, Denials, Stranger};
use super::roles::Roles;
use crate::api_key::{ApiKeyError, ApiKeys, VerifiedKey, looks_like_api_key};
use crate::caller::{Authentication, Caller, LoggedIn, NotLoggedIn, bearer};
use crate::session::SessionError;
use crate::token::TokenError;

/// An answer of the service's database.
pub type Lookup<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Which roles users have been given: a table of the service's.
pub trait AssignedRoles: Send + Sync + 'static {
    /// The names of the roles that a user has at this moment; none for a user who does not exist. It must see what has just
    /// been written: ask the primary, not a replica, and keep nothing.
    fn of_user(&self, user: Uuid) -> Lookup<'_, Vec<String>>;
}

/// Access control by roles: see [`access`](crate::access). Given to
/// [`Router::access_control`](covet_http::Router::access_control), after all routes have been added.
pub struct RoleBasedAccess {
    authentication: Authentication,
    roles: &'static Roles,
    assigned: Arc<dyn AssignedRoles>,
    api_keys: Option<ApiKeys>,
    denials: Denials,
}

/// Who asks, and what speaks for them.
struct Subject {
    caller: Caller,
    grounds: Grounds,
}

enum Grounds {
    /// A login that carries these roles.
    Login(Vec<String>),
    /// A key with these scopes.
    Key(Vec<String>),
}

impl RoleBasedAccess {
    /// Access for those whom `authentication` knows, by `roles`, of which `assigned` tells who has which.
    #[must_use]
    pub fn new(
        authentication: Authentication,
        roles: &'static Roles,
        assigned: impl AssignedRoles,
        metrics: &Registry,
        clock: Clock,
    ) -> Self {
        metrics.declare_all(ACCESS);
        let denials = Denials::new(clock);
        Self { authentication, roles, assigned: Arc::new(assigned), api_keys: None, denials }
    }

    /// Takes API keys as well.
    #[must_use]
    pub fn api_keys(mut self, keys: ApiKeys) -> Self {
        self.api_keys = Some(keys);
        self
    }

    async fn decide(&self, access: Access, parts: &mut Parts) -> Result<(), Error> {
        let Subject { caller, grounds } = self.identify(parts).await?;
        caller.admit().await?;
        match (access, grounds) {
            (Access::Public, _) | (Access::Authenticated, Grounds::Login(_)) => {}
            (Access::Authenticated, Grounds::Key(_)) => return Err(Denial::LoginNeeded.refuse()),
            (Access::Permission(permission), Grounds::Login(roles)) => {
                self.check_login(caller, &roles, permission).await?;
            }
            (Access::Permission(permission), Grounds::Key(scopes)) => {
                self.check_key(caller, &scopes, permission).await?;
            }
        }
        parts.extensions.insert(caller);
        Ok(())
    }

    /// Who it is. Tells of those who are nobody.
    async fn identify(&self, parts: &mut Parts) -> Result<Subject, Error> {
        let key = self.api_keys.as_ref().zip(bearer(&parts.headers).ok().filter(|text| looks_like_api_key(text)));
        if let Some((keys, text)) = key {
            let VerifiedKey { caller, scopes } = keys.verify(text).await.map_err(|error| {
                match error {
                    ApiKeyError::Expired => self.denials.stranger(Stranger::Expired),
                    ApiKeyError::Store(_) => {}
                    _ => self.denials.stranger(Stranger::BadCredentials),
                }
                error.refuse()
            })?;
            return Ok(Subject { caller, grounds: Grounds::Key(scopes) });
        }
        match self.authentication.find(parts).await {
            Ok(LoggedIn { caller, roles }) => Ok(Subject { caller, grounds: Grounds::Login(roles) }),
            Err(refused) => {
                if let Some(stranger) = stranger(&refused, self.authentication.has_cookie(&parts.headers)) {
                    self.denials.stranger(stranger);
                }
                Err(refused.refuse())
            }
        }
    }

    async fn check_login(&self, caller: Caller, claimed: &[String], permission: Permission) -> Result<(), Error> {
        if self.roles.everybody_may(permission) {
            return Ok(());
        }
        if !self.roles.allow(claimed, permission) {
            return Err(Denial::NoPermission(permission).refuse());
        }
        match self.roles.allow(&self.assigned.of_user(caller.user_id).await?, permission) {
            true => Ok(()),
            false => Err(Denial::RoleLost(permission).refuse()),
        }
    }

    async fn check_key(&self, caller: Caller, scopes: &[String], permission: Permission) -> Result<(), Error> {
        if !scopes.iter().any(|scope| scope == permission.name()) {
            return Err(Denial::OutOfScope(permission).refuse());
        }
        let may = self.roles.everybody_may(permission)
            || self.roles.allow(&self.assigned.of_user(caller.user_id).await?, permission);
        match may {
            true => Ok(()),
            false => Err(Denial::RoleLost(permission).refuse()),
        }
    }
}

/// What a failure to log in is told as; nothing where it is told of elsewhere or is not the caller's.
fn stranger(refused: &NotLoggedIn, brings_cookie: bool) -> Option<Stranger> {
    match refused {
        NotLoggedIn::Token(TokenError::Missing) => Some(Stranger::NoCredentials),
        NotLoggedIn::Token(TokenError::Expired) => Some(Stranger::Expired),
        NotLoggedIn::Token(TokenError::Signing(_)) => None,
        NotLoggedIn::Token(_) => Some(Stranger::BadCredentials),
        // Whether its session has ended or has never been cannot be told.
        NotLoggedIn::Session(SessionError::Missing) if brings_cookie => Some(Stranger::Expired),
        NotLoggedIn::Session(SessionError::Missing | SessionError::Anonymous) => Some(Stranger::NoCredentials),
        NotLoggedIn::Session(_) => None,
    }
}

impl AccessControl for RoleBasedAccess {
    fn check<'a>(&'a self, access: Access, parts: &'a mut Parts) -> Checking<'a> {
        Box::pin(self.decide(access, parts))
    }

    fn grants(&self, permission: Permission) -> bool {
        self.roles.grant(permission)
    }

    fn schemes(&self, access: Access) -> Vec<&'static str> {
        let by_key = matches!(access, Access::Permission(_)) && self.api_keys.is_some();
        self.authentication.schemes().chain(by_key.then_some("api_key")).collect()
    }
}

impl fmt::Debug for RoleBasedAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoleBasedAccess").field("roles", &self.roles).finish_non_exhaustive()
    }
}
