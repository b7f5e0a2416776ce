//! Access tokens: issued at login and refresh, checked on every request.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::ids::new_id;
use covet_core::problem::{AsProblem, Problem};
use covet_core::secret::SecretString;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header, encode};
use metrics::Counter;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{KeyRing, TOKEN_TYPE};
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
    keys: RwLock<Arc<KeyRing>>,
    validation: Validation,
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
            _ => Problem::new(401).detail("The access token is not valid. Log in again."),
        }
    }
}

impl AccessTokens {
    /// Tokens by the given settings, signed with the ring's first key.
    #[must_use]
    pub fn new(settings: &AuthSettings, keys: KeyRing, clock: Clock) -> Self {
        let mut validation = Validation::new(keys.signing().header.alg);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The library reads the system's clock; times are checked below, by ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            inner: Arc::new(Inner {
                keys: RwLock::new(Arc::new(keys)),
                validation,
                issuer: settings.issuer.clone(),
                audience: settings.audience.clone(),
                ttl: settings.access_token_ttl,
                leeway_seconds: i64::try_from(settings.clock_leeway.as_secs()).unwrap_or(0),
                clock,
                verified: OnceLock::new(),
            }),
        }
    }

    /// Puts another ring in place. Tokens signed by keys that are still in it stay good.
    pub fn replace_keys(&self, keys: KeyRing) {
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
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
        let token =
            encode(&key.header, &claims, &key.encoding).map_err(|error| TokenError::Signing(error.to_string()))?;
        Ok(IssuedToken { token: SecretString::from(token), expires_in: inner.ttl })
    }

    /// Checks a token: key, algorithm, type, signature, issuer, audience and times. Counts the attempt.
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
        let claims = decode::<Claims>(token, &key.decoding, &self.inner.validation)
            .map_err(|error| TokenError::from(&error))?
            .claims;
        self.check_times(&claims)?;
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

    fn keys(&self) -> Arc<KeyRing> {
        Arc::clone(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
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
        f.debug_struct("AccessTokens").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use covet_core::clock::ManualClock;
    use covet_core::environment::Environment;
    use covet_core::secret::ExposeSecret;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::test_settings;

    const OLD: &str = "an-old-key-of-thirty-two-bytes-or-more";
    const NEW: &str = "a-new-key-of-thirty-two-bytes-or-more";

    fn ring(words: &[&str]) -> KeyRing {
        KeyRing::parse(&SecretString::from(words.join(" ")), Environment::Production).unwrap()
    }

    fn tokens(keys: KeyRing) -> (AccessTokens, ManualClock) {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        (AccessTokens::new(&test_settings(), keys, clock), hand)
    }

    fn issue(tokens: &AccessTokens) -> String {
        let issued = tokens.issue(Uuid::from_u128(1), Uuid::from_u128(2)).unwrap();
        issued.token.expose_secret().to_owned()
    }

    /// A token that is right except for what `change` does to its header and claims.
    fn forge(tokens: &AccessTokens, change: impl FnOnce(&mut Header, &mut Value)) -> String {
        let keys = tokens.keys();
        let key = keys.signing();
        let mut header = key.header.clone();
        let now = tokens.inner.clock.now().as_second();
        let mut claims = json!({
            "iss": "covet", "aud": "covet-api", "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2),
            "iat": now, "exp": now + 900, "jti": Uuid::from_u128(3),
        });
        change(&mut header, &mut claims);
        encode(&header, &claims, &key.encoding).unwrap()
    }

    #[test]
    fn an_issued_token_says_who_it_is_for() {
        let (tokens, _) = tokens(ring(&[OLD]));
        let claims = tokens.verify(&issue(&tokens)).unwrap();
        assert_eq!((claims.sub, claims.sid), (Uuid::from_u128(1), Uuid::from_u128(2)));
        assert_eq!(claims.exp - claims.iat, 900);
        assert!(tokens.verify(&forge(&tokens, |_, _| {})).is_ok());
    }

    #[test]
    fn a_token_ends_with_its_time_and_the_leeway() {
        let (tokens, hand) = tokens(ring(&[OLD]));
        let token = issue(&tokens);
        hand.advance(Duration::from_secs(900 + 9));
        assert!(tokens.verify(&token).is_ok());
        hand.advance(Duration::from_secs(1));
        assert_eq!(tokens.verify(&token).unwrap_err(), TokenError::Expired);
    }

    #[test]
    fn each_wrong_part_is_refused_by_name() {
        let (tokens, _) = tokens(ring(&[OLD]));
        let now = tokens.inner.clock.now().as_second();
        let check = |change: &dyn Fn(&mut Header, &mut Value)| {
            tokens.verify(&forge(&tokens, |header, claims| change(header, claims))).unwrap_err()
        };
        assert_eq!(check(&|_, claims| claims["iss"] = json!("other")), TokenError::WrongIssuer);
        assert_eq!(check(&|_, claims| claims["aud"] = json!("other")), TokenError::WrongAudience);
        assert_eq!(check(&|_, claims| claims["iat"] = json!(now + 60)), TokenError::NotYetValid);
        assert_eq!(check(&|_, claims| claims["nbf"] = json!(now + 60)), TokenError::NotYetValid);
        assert_eq!(check(&|_, claims| claims["exp"] = json!(now - 60)), TokenError::Expired);
        assert_eq!(check(&|_, claims| claims["sub"] = json!("root")), TokenError::Malformed);
        assert_eq!(check(&|header, _| header.typ = Some("JWT".to_owned())), TokenError::WrongType);
        assert_eq!(check(&|header, _| header.typ = None), TokenError::WrongType);
        assert_eq!(check(&|header, _| header.kid = None), TokenError::UnknownKey);
        assert_eq!(check(&|header, _| header.kid = Some("../../etc/passwd".to_owned())), TokenError::UnknownKey);
        assert_eq!(check(&|header, _| header.crit = Some(vec!["exp".to_owned()])), TokenError::Malformed);
        assert_eq!(check(&|header, _| header.alg = Algorithm::HS512), TokenError::WrongAlgorithm);
        for claim in ["iss", "aud", "sub", "sid", "iat", "exp", "jti"] {
            let error = check(&|_, claims| drop(claims.as_object_mut().unwrap().remove(claim)));
            assert_eq!(error, TokenError::Malformed, "{claim}");
        }
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let (tokens, _) = tokens(ring(&[OLD]));
        let good = issue(&tokens);
        let (_, rest) = good.split_once('.').unwrap();
        let kid = tokens.keys().ids().next().unwrap().to_owned();
        for alg in ["none", "None", "NONE", ""] {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt", "kid": kid}).to_string());
            let (claims, signature) = rest.split_once('.').unwrap();
            for token in [format!("{header}.{claims}."), format!("{header}.{claims}.{signature}")] {
                assert!(tokens.verify(&token).is_err(), "{alg}");
            }
        }
    }

    #[test]
    fn a_changed_token_is_refused() {
        let (tokens, _) = tokens(ring(&[OLD]));
        let good = issue(&tokens);
        let parts: Vec<&str> = good.split('.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let other = claims.replace(&Uuid::from_u128(1).to_string(), &Uuid::from_u128(9).to_string());
        let changed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(other), parts[2]);
        assert_eq!(tokens.verify(&changed).unwrap_err(), TokenError::WrongSignature);
        for text in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", &"x".repeat(5000), &good[..good.len() - 1]] {
            assert!(tokens.verify(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_services_key_does_not_open_ours() {
        let (ours, _) = tokens(ring(&[OLD]));
        let (theirs, _) = tokens(ring(&[NEW]));
        assert_eq!(ours.verify(&issue(&theirs)).unwrap_err(), TokenError::UnknownKey);
        let kid = ours.keys().ids().next().map(str::to_owned);
        let forged = forge(&theirs, |header, _| header.kid = kid);
        assert_eq!(ours.verify(&forged).unwrap_err(), TokenError::WrongSignature);
    }

    #[test]
    fn keys_rotate_without_refusing_a_good_token() {
        let (tokens, _) = tokens(ring(&[OLD]));
        let old = issue(&tokens);
        tokens.replace_keys(ring(&[OLD, NEW]));
        tokens.replace_keys(ring(&[NEW, OLD]));
        let new = issue(&tokens);
        assert!(tokens.verify(&old).is_ok() && tokens.verify(&new).is_ok());
        tokens.replace_keys(ring(&[NEW]));
        assert_eq!(tokens.verify(&old).unwrap_err(), TokenError::UnknownKey);
        assert!(tokens.verify(&new).is_ok());
    }

    #[test]
    fn the_challenge_follows_rfc_6750() {
        assert_eq!(TokenError::Missing.challenge(), "Bearer");
        assert_eq!(
            TokenError::Expired.challenge(),
            r#"Bearer error="invalid_token", error_description="the access token has expired""#
        );
        assert_eq!(TokenError::Expired.problem().status, 401);
    }

    #[test]
    fn a_key_of_another_length_still_signs_hs256() {
        let header = Header::new(Algorithm::HS256);
        assert!(encode(&header, &json!({}), &EncodingKey::from_secret(b"k")).is_ok());
        assert_eq!(tokens(KeyRing::generate()).0.keys().signing().header.alg, Algorithm::HS256);
    }
}
