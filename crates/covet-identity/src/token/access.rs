//! Access tokens: issued at login and refresh, checked on every request.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use covet_core::clock::Clock;
use covet_core::ids::new_id;
use covet_core::problem::{AsProblem, Problem};
use covet_core::reload::Change;
use covet_core::secret::SecretString;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, encode};
use metrics::Counter;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{KeyRing, TOKEN_TYPE};
use super::revoked::RevokedLogins;
use crate::attempts::Method;
use crate::settings::AuthSettings;

/// Longest token that is looked at, in bytes. Ours have about 400.
const MAX_TOKEN_BYTES: usize = 4096;

/// Issues and verifies access tokens. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct AccessTokens {
    inner: Arc<Inner>,
}

struct Inner {
    keys: ArcSwap<KeyRing>,
    revoked: RevokedLogins,
    /// One for each algorithm, so that a key checks no other than its own.
    hs256: Validation,
    eddsa: Validation,
    rs256: Validation,
    issuer: String,
    audience: String,
    ttl: Duration,
    leeway_seconds: i64,
    clock: Clock,
    verified: OnceLock<Counter>,
}

/// What an access token says (RFC 9068 §2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// The user.
    pub sub: Uuid,
    /// The login that the token belongs to; all its refresh tokens share it.
    pub sid: Uuid,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it expires, in seconds since 1970.
    pub exp: i64,
    /// Not good before this time, in seconds since 1970; ours have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The token's own id.
    pub jti: Uuid,
    /// The roles that had been given to the user when it was issued (RFC 9068 §2.2.3.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// A token on its way to the client.
#[derive(Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: SecretString,
    /// How long it is good.
    pub expires_in: Duration,
}

/// Why a token was not accepted, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// No token came with the request.
    #[error("there is no access token")]
    Missing,
    /// Not a token of ours at all.
    #[error("the access token is malformed")]
    Malformed,
    /// Signed with a key that is not (or no longer) in the ring.
    #[error("the access token is signed with an unknown key")]
    UnknownKey,
    /// Names another algorithm than its key has.
    #[error("the access token names the wrong algorithm")]
    WrongAlgorithm,
    /// A JWT of another kind.
    #[error("the token is not an access token")]
    WrongType,
    /// The signature does not fit.
    #[error("the access token's signature is wrong")]
    WrongSignature,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// Issued in the future.
    #[error("the access token is not valid yet")]
    NotYetValid,
    /// Issued by somebody else.
    #[error("the access token has the wrong issuer")]
    WrongIssuer,
    /// Issued for somebody else.
    #[error("the access token has the wrong audience")]
    WrongAudience,
    /// Its login has been ended, by its user or because something was wrong with it.
    #[error("the login of the access token has ended")]
    LoginEnded,
    /// The token could not be signed: a fault of the service.
    #[error("the access token cannot be signed: {0}")]
    Signing(String),
}

impl TokenError {
    /// The value of the metric label `reason`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongType => "wrong_type",
            Self::WrongSignature => "wrong_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::LoginEnded => "login_ended",
            Self::Signing(_) => "signing",
        }
    }

    /// The `WWW-Authenticate` header that goes with the 401 (RFC 6750 §3). A request without a token gets no
    /// error code, as the RFC asks.
    #[must_use]
    pub fn challenge(&self) -> String {
        match self {
            Self::Missing => "Bearer".to_owned(),
            error => format!("Bearer error=\"invalid_token\", error_description=\"{error}\""),
        }
    }
}

impl AsProblem for TokenError {
    fn problem(&self) -> Problem {
        match self {
            Self::Signing(_) => Problem::new(500),
            Self::Missing => Problem::new(401)
                .detail("This needs an access token: `Authorization: Bearer …`, from POST /api/auth/login."),
            Self::Expired => {
                Problem::new(401).detail("The access token has expired. Get a new one from POST /api/auth/refresh.")
            }
            Self::LoginEnded => Problem::new(401).detail("The login of this access token has ended. Log in again."),
            _ => Problem::new(401).detail("The access token is not valid. Log in again."),
        }
    }
}

impl AccessTokens {
    /// Tokens by the given settings, signed with the ring's first key. Logins that are ended are known to this process only.
    #[must_use]
    pub fn new(settings: &AuthSettings, keys: KeyRing, clock: Clock) -> Self {
        let revoked = RevokedLogins::in_memory(settings, clock.clone());
        Self::with_revoked(settings, keys, clock, revoked)
    }

    /// The same, with the logins that are ended known to all instances.
    #[must_use]
    pub fn with_revoked(settings: &AuthSettings, keys: KeyRing, clock: Clock, revoked: RevokedLogins) -> Self {
        let validation = |algorithm| {
            let mut validation = Validation::new(algorithm);
            validation.set_issuer(&[&settings.issuer]);
            validation.set_audience(&[&settings.audience]);
            validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
            // The library reads the system's clock; times are checked below, by ours.
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation
        };
        Self {
            inner: Arc::new(Inner {
                keys: ArcSwap::from_pointee(keys),
                revoked,
                hs256: validation(Algorithm::HS256),
                eddsa: validation(Algorithm::EdDSA),
                rs256: validation(Algorithm::RS256),
                issuer: settings.issuer.clone(),
                audience: settings.audience.clone(),
                ttl: settings.access_token_ttl,
                leeway_seconds: i64::try_from(settings.clock_leeway.as_secs()).unwrap_or(0),
                clock,
                verified: OnceLock::new(),
            }),
        }
    }

    /// Puts another ring in place, and says what changed. Tokens signed by keys that are still in it stay good; those of other
    /// keys are refused from now on.
    pub fn replace_keys(&self, keys: KeyRing) -> Option<Change> {
        let ids = |keys: &KeyRing| keys.ids().collect::<Vec<_>>().join(" ");
        let to = ids(&keys);
        let old = self.inner.keys.swap(Arc::new(keys));
        Change::between(ids(&old), to)
    }

    /// Refuses the access tokens of these logins from now on, in all instances.
    pub async fn revoke(&self, logins: &[Uuid]) {
        self.inner.revoked.revoke(logins).await;
    }

    /// The public keys that check our tokens (RFC 7517); none of shared secrets.
    pub(super) fn published_keys(&self) -> JwkSet {
        self.keys().published().clone()
    }

    /// A token for `user`, logged in as `session`, without roles.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn issue(&self, user: Uuid, session: Uuid) -> Result<IssuedToken, TokenError> {
        self.issue_with_roles(user, session, Vec::new())
    }

    /// A token for `user`, logged in as `session`, who has been given these roles.
    ///
    /// # Errors
    /// [`TokenError::Signing`].
    pub fn issue_with_roles(&self, user: Uuid, session: Uuid, roles: Vec<String>) -> Result<IssuedToken, TokenError> {
        let inner = &*self.inner;
        let now = inner.clock.now().as_second();
        let claims = Claims {
            iss: inner.issuer.clone(),
            aud: inner.audience.clone(),
            sub: user,
            sid: session,
            iat: now,
            exp: now.saturating_add(i64::try_from(inner.ttl.as_secs()).unwrap_or(i64::MAX)),
            nbf: None,
            jti: new_id(&inner.clock),
            roles,
        };
        let keys = self.keys();
        let key = keys.signing();
        let encoding = key.encoding.as_ref().ok_or_else(|| TokenError::Signing("the key only verifies".to_owned()))?;
        let token = encode(&key.header, &claims, encoding).map_err(|error| TokenError::Signing(error.to_string()))?;
        Ok(IssuedToken { token: SecretString::from(token), expires_in: inner.ttl })
    }

    /// Checks a token: key, algorithm, type, signature, issuer, audience, times, and whether its login has been ended. Counts
    /// the attempt.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let result = self.check(token);
        match &result {
            Ok(_) => self.inner.verified.get_or_init(|| Method::AccessToken.success_counter()).increment(1),
            Err(error) => Method::AccessToken.failed(error.reason()),
        }
        result
    }

    fn check(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = decode_header(token).map_err(|error| TokenError::from(&error))?;
        let keys = self.keys();
        let key = header.kid.as_deref().and_then(|id| keys.find(id)).ok_or(TokenError::UnknownKey)?;
        if header.alg != key.header.alg {
            return Err(TokenError::WrongAlgorithm);
        }
        if !header.typ.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(TOKEN_TYPE)) {
            return Err(TokenError::WrongType);
        }
        // Extensions that must be understood: none is (RFC 7515 §4.1.11).
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let validation = match key.header.alg {
            Algorithm::EdDSA => &self.inner.eddsa,
            Algorithm::RS256 => &self.inner.rs256,
            _ => &self.inner.hs256,
        };
        let claims =
            decode::<Claims>(token, &key.decoding, validation).map_err(|error| TokenError::from(&error))?.claims;
        self.check_times(&claims)?;
        if self.inner.revoked.contains(claims.sid) {
            return Err(TokenError::LoginEnded);
        }
        Ok(claims)
    }

    fn check_times(&self, claims: &Claims) -> Result<(), TokenError> {
        let now = self.inner.clock.now().as_second();
        let leeway = self.inner.leeway_seconds;
        if claims.exp.saturating_add(leeway) <= now {
            return Err(TokenError::Expired);
        }
        if claims.iat.max(claims.nbf.unwrap_or(claims.iat)).saturating_sub(leeway) > now {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }

    /// Without a lock, and without counting references that all cores would share.
    fn keys(&self) -> Guard<Arc<KeyRing>> {
        self.inner.keys.load()
    }
}

impl From<&jsonwebtoken::errors::Error> for TokenError {
    fn from(error: &jsonwebtoken::errors::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidSignature => Self::WrongSignature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
                Self::WrongAlgorithm
            }
            ErrorKind::InvalidIssuer => Self::WrongIssuer,
            ErrorKind::InvalidAudience => Self::WrongAudience,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens").field("keys", &**self.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
