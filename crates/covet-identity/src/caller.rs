//! Who sends the request at hand, proved by an access token, a session or an API key: an extractor for handlers.

use covet_http::Error;
use covet_http::axum::extract::{FromRef, FromRequestParts};
use covet_http::rate_limit::{Who, admit};
use covet_telemetry::logging::{security, vocabulary};
use covet_telemetry::request;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use uuid::Uuid;

use crate::session::{Session, SessionError, Sessions};
use crate::token::{AccessTokens, TokenError};

/// The user behind a request. On a route that the service's [access control](crate::access) has checked it is who has been
/// found there. Elsewhere it is found here, from the request's access token (`Authorization: Bearer …`) or from the session
/// of its cookie, as [`Authentication`] says; an API key counts only where access control asks for a permission. A request
/// without either is answered with 401 before the handler runs; one with a session's
/// cookie with 503 when the cache is away, and with 403 when a page of another origin has sent it to change something; one
/// of a user who has made too many requests with 429.
///
/// A token counts first: nobody sends one by accident, and then the cookie is not looked at. A browser cannot set
/// `Authorization` on a WebSocket: there the token may also be offered as a subprotocol, `bearer.<token>`. Never in the URL,
/// which ends up in logs.
///
/// The user may have been deleted since; what belongs to a user goes with them, so a handler that reads by the caller's
/// id finds nothing.
///
/// ```
/// use covet_identity::caller::Caller;
///
/// async fn whoami(caller: Caller) -> String {
///     caller.user_id.to_string()
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: Uuid,
    /// The login that the token belongs to, the session's name, or the API key's id.
    pub session_id: Uuid,
    /// When the token or the key expires, or the session if it is not used. A long-lived connection ends then.
    pub expires_at: Timestamp,
    /// How they have proved who they are.
    pub credential: Credential,
}

/// What a caller has proved with who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// An access token.
    AccessToken,
    /// The cookie of a session.
    Session,
    /// An API key: a program that acts for the user.
    ApiKey,
}

/// A user who is logged in, with the roles that the login carries.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(crate) caller: Caller,
    pub(crate) roles: Vec<String>,
}

/// Why nobody is.
#[derive(Debug)]
pub(crate) enum NotLoggedIn {
    Token(TokenError),
    Session(SessionError),
}

/// How callers may prove who they are. A router's state gives it: `impl FromRef<State> for Authentication`.
#[derive(Debug, Clone)]
pub struct Authentication {
    tokens: Option<AccessTokens>,
    sessions: Option<Sessions>,
}

impl Authentication {
    /// By access token only.
    #[must_use]
    pub fn by_token(tokens: AccessTokens) -> Self {
        Self { tokens: Some(tokens), sessions: None }
    }

    /// By session only.
    #[must_use]
    pub fn by_session(sessions: Sessions) -> Self {
        Self { tokens: None, sessions: Some(sessions) }
    }

    /// By either.
    #[must_use]
    pub fn by_token_or_session(tokens: AccessTokens, sessions: Sessions) -> Self {
        Self { tokens: Some(tokens), sessions: Some(sessions) }
    }
}

impl Caller {
    /// Checks a token that came by another way than the `Authorization` header, and tells the request's log lines
    /// who asks.
    ///
    /// # Errors
    /// [`TokenError`], by name.
    pub fn from_token(tokens: &AccessTokens, token: &str) -> Result<Self, TokenError> {
        LoggedIn::by_token(tokens, token).map(|found| found.caller)
    }

    /// Counts the request for its user, and for the key that it came with: [`admit`]. So nobody gets further with many keys
    /// than by themselves.
    pub(crate) async fn admit(self) -> Result<(), Error> {
        let mut text = Uuid::encode_buffer();
        if self.credential == Credential::ApiKey {
            admit(Who::ApiKey(self.session_id.hyphenated().encode_lower(&mut text))).await?;
        }
        admit(Who::User(self.user_id.hyphenated().encode_lower(&mut text))).await
    }

    /// Tells the request's log lines who asks.
    pub(crate) fn tell_who_asks(self) {
        let mut text = Uuid::encode_buffer();
        let user = self.user_id.hyphenated().encode_lower(&mut text);
        request::current(|scope| scope.set_user(user));
    }

    /// For what a user may do to themselves only, such as changing their password.
    ///
    /// Where others may not even know that something exists, answer as if it did not: ask the database for it by its id
    /// *and* its owner, and give 404 when there is no such row.
    ///
    /// # Errors
    /// 403 when `user` is somebody else; the security log has a line of it.
    pub fn must_be(self, user: Uuid) -> Result<(), Error> {
        if self.user_id == user {
            return Ok(());
        }
        security(vocabulary::NOT_ALLOWED)
            .failure("other_user")
            .target("user", user)
            .log("change of another user refused");
        Err(Error::forbidden().detail("You can change nobody but yourself."))
    }
}

impl LoggedIn {
    fn by_token(tokens: &AccessTokens, token: &str) -> Result<Self, TokenError> {
        let claims = tokens.verify(token)?;
        let caller = Caller {
            user_id: claims.sub,
            session_id: claims.sid,
            expires_at: Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX),
            credential: Credential::AccessToken,
        };
        caller.tell_who_asks();
        Ok(Self { caller, roles: claims.roles })
    }

    async fn by_session(sessions: &Sessions, parts: &mut Parts) -> Result<Self, SessionError> {
        let session = Session::of_request(sessions, parts).await?;
        match (session.user(), session.id(), session.expires_at()) {
            (Some(user_id), Some(session_id), Some(expires_at)) => {
                let caller = Caller { user_id, session_id, expires_at, credential: Credential::Session };
                Ok(Self { caller, roles: session.roles() })
            }
            _ if session.is_stored() => Err(SessionError::Anonymous),
            _ => Err(SessionError::Missing),
        }
    }
}

impl Authentication {
    /// Who is logged in.
    pub(crate) async fn find(&self, parts: &mut Parts) -> Result<LoggedIn, NotLoggedIn> {
        let has_token = self.tokens.is_some() && brings_token(&parts.headers);
        match (&self.tokens, &self.sessions) {
            (tokens, Some(sessions)) if !has_token && (tokens.is_none() || sessions.has_cookie(&parts.headers)) => {
                LoggedIn::by_session(sessions, parts).await.map_err(NotLoggedIn::Session)
            }
            (Some(tokens), _) => {
                bearer(&parts.headers).and_then(|token| LoggedIn::by_token(tokens, token)).map_err(NotLoggedIn::Token)
            }
            (None, _) => Err(NotLoggedIn::Token(TokenError::Missing)),
        }
    }

    /// Whether the request brings a session's cookie, good or not.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| sessions.has_cookie(headers))
    }

    /// The names of the OpenAPI security schemes by which it finds somebody.
    pub(crate) fn schemes(&self) -> impl Iterator<Item = &'static str> {
        [self.tokens.is_some().then_some("bearer"), self.sessions.is_some().then_some("session")].into_iter().flatten()
    }
}

impl NotLoggedIn {
    /// The answer.
    pub(crate) fn refuse(self) -> Error {
        match self {
            Self::Token(error) => unauthorized(error),
            Self::Session(error) => error.refuse(),
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Authentication: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        // Access control has found them already, and counted the request.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(*caller);
        }
        let LoggedIn { caller, .. } = Authentication::from_ref(state).find(parts).await.map_err(NotLoggedIn::refuse)?;
        caller.admit().await?;
        Ok(caller)
    }
}

/// The 401 of a missing or bad token, with its `WWW-Authenticate` header.
#[must_use]
pub fn unauthorized(error: TokenError) -> Error {
    let challenge = HeaderValue::try_from(error.challenge()).unwrap_or(HeaderValue::from_static("Bearer"));
    Error::from(error).header(header::WWW_AUTHENTICATE, challenge)
}

/// Precedes a token in the list of a WebSocket's subprotocols.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// Whether a token is shown at all, good or not. `Authorization: Basic …` is not: a proxy before a test environment may
/// ask for it, and browsers send it along.
fn brings_token(headers: &HeaderMap) -> bool {
    let by_header = headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().get(..6);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    });
    by_header || offered(headers).is_some()
}

/// The token in the one `Authorization` header, or among a WebSocket's subprotocols. Two headers, or another scheme, are
/// no token.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, TokenError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(TokenError::Missing),
        (None, _) => return offered(headers).ok_or(TokenError::Missing),
    };
    let text = value.to_str().map_err(|_| TokenError::Malformed)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => offered(headers).ok_or(TokenError::Missing),
    }
}

/// The token among the subprotocols that a WebSocket's client offers.
fn offered(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut protocols = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    protocols.find_map(|protocol| protocol.trim().strip_prefix(SUBPROTOCOL_PREFIX))
}

#[cfg(test)]
mod tests {
    use covet_core::clock::Clock;
    use covet_core::secret::ExposeSecret;
    use covet_http::axum::Router;
    use covet_http::axum::body::Body;
    use covet_http::axum::routing::get;
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::settings::test_settings;
    use crate::token::KeyRing;

    #[derive(Clone)]
    struct State {
        tokens: AccessTokens,
    }

    impl FromRef<State> for Authentication {
        fn from_ref(state: &State) -> Self {
            Self::by_token(state.tokens.clone())
        }
    }

    async fn ask(authorization: &[&str]) -> (u16, Option<String>, String) {
        let tokens = AccessTokens::new(&test_settings(), KeyRing::generate(), Clock::system());
        let token = tokens.issue(Uuid::from_u128(7), Uuid::from_u128(8)).unwrap().token;
        let app = Router::new()
            .route("/", get(|caller: Caller| async move { caller.user_id.to_string() }))
            .with_state(State { tokens });
        let mut request = Request::get("/");
        for value in authorization {
            request = request.header("authorization", value.replace("TOKEN", token.expose_secret()));
        }
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = covet_http::axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, challenge, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_good_token_names_the_user() {
        for header in ["Bearer TOKEN", "bearer TOKEN"] {
            let (status, _, body) = ask(&[header]).await;
            assert_eq!((status, body), (200, Uuid::from_u128(7).to_string()));
        }
    }

    #[tokio::test]
    async fn no_token_is_a_bare_challenge() {
        for headers in [&[][..], &["Basic dTpw"], &["TOKEN"], &["Bearer TOKEN", "Bearer TOKEN"]] {
            let (status, challenge, _) = ask(headers).await;
            assert_eq!((status, challenge.as_deref()), (401, Some("Bearer")), "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_bad_token_says_so_in_the_challenge() {
        for header in ["Bearer nonsense", "Bearer ", "Bearer TOKENx", "Bearer é"] {
            let (status, challenge, body) = ask(&[header]).await;
            assert_eq!(status, 401, "{header}");
            assert!(challenge.unwrap().contains("invalid_token"), "{header}");
            assert!(body.contains("Log in again"), "{body}");
        }
    }
}
