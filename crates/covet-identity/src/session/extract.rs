//! Extractors: how a handler says which session it wants.

use std::ops::Deref;

use covet_http::Error;
use covet_http::axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use covet_telemetry::logging::{security, vocabulary};
use covet_telemetry::request::{self, RequestScope};
use http::header;
use http::request::Parts;

use super::error::SessionError;
use super::handle::Session;
use super::sessions::{Sessions, Visitor};
use crate::attempts::Method;

/// The request's session, or a new one, which is stored when something is put in it or somebody logs in: for carts of
/// those who are not logged in yet, and for the handler that logs them in.
#[derive(Debug, Clone)]
pub struct SessionOrNew(pub Session);

/// What an extractor has found, for the next extractor of the same handler.
#[derive(Clone)]
struct Found(Session);

impl Session {
    /// The request's session, stored or not; the same one however often it is asked for.
    pub(crate) async fn of_request(sessions: &Sessions, parts: &mut Parts) -> Result<Self, SessionError> {
        if let Some(Found(session)) = parts.extensions.get() {
            return Ok(session.clone());
        }
        if sessions.inner().origins.check(parts).is_err() {
            Method::Session.failed(SessionError::OtherOrigin.reason());
            security(vocabulary::CROSS_ORIGIN)
                .failure(SessionError::OtherOrigin.reason())
                .log("a page of another origin tried to use a session");
            return Err(SessionError::OtherOrigin);
        }
        let live = sessions.find(&parts.headers).await?;
        let user_agent = parts.headers.get(header::USER_AGENT).cloned();
        let visitor = Visitor { user_agent, address: request::current(RequestScope::client) };
        let session = Self::attach(sessions.clone(), visitor, live)?;
        parts.extensions.insert(Found(session.clone()));
        Ok(session)
    }
}

impl<S> FromRequestParts<S> for Session
where
    S: Send + Sync,
    Sessions: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let session = Self::of_request(&Sessions::from_ref(state), parts).await.map_err(SessionError::refuse)?;
        if session.is_stored() { Ok(session) } else { Err(SessionError::Missing.refuse()) }
    }
}

impl<S> OptionalFromRequestParts<S> for Session
where
    S: Send + Sync,
    Sessions: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Error> {
        let sessions = Sessions::from_ref(state);
        match Self::of_request(&sessions, parts).await {
            Ok(session) => Ok(Some(session).filter(Self::is_stored)),
            // Whoever can do without goes on without: a cookie that must not be believed is as good as none.
            Err(SessionError::Unavailable(_) | SessionError::OtherOrigin) => Ok(None),
            // A handler that is asked for a cache, say: nobody waits for a cookie.
            Err(SessionError::OutsidePipeline(_)) if !sessions.has_cookie(&parts.headers) => Ok(None),
            Err(error) => Err(error.refuse()),
        }
    }
}

impl<S> FromRequestParts<S> for SessionOrNew
where
    S: Send + Sync,
    Sessions: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Session::of_request(&Sessions::from_ref(state), parts).await.map(Self).map_err(SessionError::refuse)
    }
}

impl Deref for SessionOrNew {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}
