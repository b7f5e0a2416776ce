//! Who sends the request at hand, proved by an access token or by a session: an extractor for handlers.

use covet_http::Error;
use covet_http::axum::extract::{FromRef, FromRequestParts};
use covet_http::rate_limit::{Who, admit};
use covet_telemetry::request;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use uuid::Uuid;

use crate::session::{Session, SessionError, Sessions};
use crate::token::{AccessTokens, TokenError};

/// The user behind a request, from its access token (`Authorization: Bearer …`) or from the session of its cookie, as
/// [`Authentication`] says. A request without either is answered with 401 before the handler runs; one with a session's
/// cookie with 503 when the cache is away, and with 403 when a page of another origin has sent it to change something; one
/// of a user who has made too many requests with 429.
///
/// A token counts first: nobody sends one by accident, and then the cookie is not looked at.
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
    /// The login that the token belongs to, or the session's name.
    pub session_id: Uuid,
    /// When the token expires, or the session if it is not used. A long-lived connection ends then.
    pub expires_at: Timestamp,
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
        let claims = tokens.verify(token)?;
        let caller = Self {
            user_id: claims.sub,
            session_id: claims.sid,
            expires_at: Timestamp::from_second(claims.exp).unwrap_or(Timestamp::MAX),
        };
        let mut text = Uuid::encode_buffer();
        let user = caller.user_id.hyphenated().encode_lower(&mut text);
        request::current(|scope| scope.set_user(user));
        Ok(caller)
    }

    async fn from_session(sessions: &Sessions, parts: &mut Parts) -> Result<Self, SessionError> {
        let session = Session::of_request(sessions, parts).await?;
        match (session.user(), session.id(), session.expires_at()) {
            (Some(user_id), Some(session_id), Some(expires_at)) => Ok(Self { user_id, session_id, expires_at }),
            _ if session.is_stored() => Err(SessionError::Anonymous),
            _ => Err(SessionError::Missing),
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
        let Authentication { tokens, sessions } = Authentication::from_ref(state);
        let has_token = tokens.is_some() && brings_token(&parts.headers);
        let caller = match (tokens, sessions) {
            (tokens, Some(sessions)) if !has_token && (tokens.is_none() || sessions.has_cookie(&parts.headers)) => {
                Self::from_session(&sessions, parts).await.map_err(SessionError::refuse)?
            }
            (Some(tokens), _) => {
                bearer(&parts.headers).and_then(|token| Self::from_token(&tokens, token)).map_err(unauthorized)?
            }
            (None, _) => return Err(unauthorized(TokenError::Missing)),
        };
        let mut text = Uuid::encode_buffer();
        admit(Who::User(caller.user_id.hyphenated().encode_lower(&mut text))).await?;
        Ok(caller)
    }
}

/// The 401 of a missing or bad token, with its `WWW-Authenticate` header.
#[must_use]
pub fn unauthorized(error: TokenError) -> Error {
    let challenge = HeaderValue::try_from(error.challenge()).unwrap_or(HeaderValue::from_static("Bearer"));
    Error::from(error).header(header::WWW_AUTHENTICATE, challenge)
}

/// Whether a token is shown at all, good or not. `Authorization: Basic …` is not: a proxy before a test environment may
/// ask for it, and browsers send it along.
fn brings_token(headers: &HeaderMap) -> bool {
    headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().get(..6);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    })
}

/// The token in the one `Authorization` header. Two headers, or another scheme, are no token.
fn bearer(headers: &HeaderMap) -> Result<&str, TokenError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(TokenError::Missing) };
    let text = value.to_str().map_err(|_| TokenError::Malformed)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(TokenError::Missing),
    }
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
