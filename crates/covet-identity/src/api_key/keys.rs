//! Keys as they are checked at each request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::problem::{AsProblem, Problem};
use covet_http::Error;
use http::{HeaderValue, header};
use jiff::Timestamp;
use uuid::Uuid;

use super::text::ApiKey;
use crate::access::Lookup;
use crate::attempts::Method;
use crate::caller::{Caller, Credential};
use crate::settings::AuthSettings;
use crate::token::Fingerprint;

/// Of several uses of a key within this time one is written down.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);
/// Of a key that should be replaced the log tells once in this time, however often it is used.
const WARNED_EVERY_SECONDS: i64 = 24 * 60 * 60;

/// Where a service keeps its keys.
pub trait ApiKeyStore: Send + Sync + 'static {
    /// A key by its id. From where a revocation has just been written: the primary, not a replica.
    fn find(&self, id: Uuid) -> Lookup<'_, Option<StoredApiKey>>;

    /// Notes that a key was used `now`, unless a use after `unless_after` is noted already; says whether it did.
    fn note_use(&self, id: Uuid, now: Timestamp, unless_after: Timestamp) -> Lookup<'_, bool>;
}

/// A key as it is stored.
#[derive(Debug, Clone)]
pub struct StoredApiKey {
    /// Whose it is.
    pub user_id: Uuid,
    /// Of its secret: [`ApiKey::fingerprint`].
    pub fingerprint: Fingerprint,
    /// The names of the permissions that it may use.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires, if it does.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, exact to a minute.
    pub last_used_at: Option<Timestamp>,
}

/// The keys of a service. Cheap to clone.
#[derive(Clone)]
pub struct ApiKeys {
    store: Arc<dyn ApiKeyStore>,
    replace_after: Duration,
    clock: Clock,
    nobodys: Fingerprint,
}

/// Why a key was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// It is none.
    #[error("the API key is malformed")]
    Malformed,
    /// There is no such key, or no longer.
    #[error("the API key is unknown")]
    Unknown,
    /// There is one of this id, with another secret.
    #[error("the API key's secret is wrong")]
    WrongSecret,
    /// Its time is over.
    #[error("the API key has expired")]
    Expired,
    /// It cannot be looked up.
    #[error("the API key cannot be looked up: {0}")]
    Store(#[source] Error),
}

/// Who sends a key, and what it is for.
#[derive(Debug)]
pub(crate) struct VerifiedKey {
    pub(crate) caller: Caller,
    pub(crate) scopes: Vec<String>,
}

impl ApiKeys {
    /// Keys that are kept in `store`.
    #[must_use]
    pub fn new(store: impl ApiKeyStore, settings: &AuthSettings, clock: Clock) -> Self {
        // Of a secret that nobody has: it is gone when this returns.
        let nobodys = ApiKey::generate(&clock).fingerprint();
        Self { store: Arc::new(store), replace_after: settings.api_key_replace_after, clock, nobodys }
    }

    /// Checks a key, counts the attempt, and notes that it was used.
    ///
    /// An id that nobody has takes the same steps as one with another secret; and an id is no secret.
    pub(crate) async fn verify(&self, text: &str) -> Result<VerifiedKey, ApiKeyError> {
        let checked = self.check(text).await;
        let (id, stored) = checked.inspect_err(|error| Method::ApiKey.failed(error.reason()))?;
        Method::ApiKey.succeeded();
        let caller = Caller {
            user_id: stored.user_id,
            session_id: id,
            expires_at: stored.expires_at.unwrap_or(Timestamp::MAX),
            credential: Credential::ApiKey,
        };
        caller.tell_who_asks();
        self.note_use(id, &stored).await;
        Ok(VerifiedKey { caller, scopes: stored.scopes })
    }

    async fn check(&self, text: &str) -> Result<(Uuid, StoredApiKey), ApiKeyError> {
        let key = ApiKey::parse(text).map_err(|_| ApiKeyError::Malformed)?;
        let found = self.store.find(key.id()).await.map_err(ApiKeyError::Store)?;
        let expected = found.as_ref().map_or(&self.nobodys, |stored| &stored.fingerprint);
        // Both are hashes of what nobody can choose: the time that the comparison takes tells nothing of use.
        let right = *expected == key.fingerprint();
        match found {
            None => Err(ApiKeyError::Unknown),
            Some(_) if !right => Err(ApiKeyError::WrongSecret),
            Some(stored) if stored.expires_at.is_some_and(|at| at <= self.clock.now()) => Err(ApiKeyError::Expired),
            Some(stored) => Ok((key.id(), stored)),
        }
    }

    /// The request goes on also when this fails: it is not worth an error to whoever sends a good key.
    async fn note_use(&self, id: Uuid, stored: &StoredApiKey) {
        let now = self.clock.now();
        let unless_after = now.checked_sub(USE_NOTED_EVERY).unwrap_or(Timestamp::MIN);
        if stored.last_used_at.is_some_and(|at| at > unless_after) {
            return;
        }
        match self.store.note_use(id, now, unless_after).await {
            Ok(true) => self.warn_of_age(id, stored, now),
            Ok(false) => {}
            Err(error) => tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                api_key = %id,
                "the use of an API key could not be noted"
            ),
        }
    }

    /// At the first noted use of a day, of all instances together.
    fn warn_of_age(&self, id: Uuid, stored: &StoredApiKey, now: Timestamp) {
        let day = |at: Timestamp| at.as_second().div_euclid(WARNED_EVERY_SECONDS);
        let warned_today = stored.last_used_at.is_some_and(|at| day(at) == day(now));
        if !warned_today && is_due(stored.created_at, self.replace_after, now) {
            tracing::warn!(
                api_key = %id,
                created_at = %stored.created_at,
                "an API key in use is older than COVET_AUTH__API_KEY_REPLACE_AFTER: its owner should make another and revoke it"
            );
        }
    }

    /// Whether a key that was made then should be replaced.
    #[must_use]
    pub fn is_due(&self, created_at: Timestamp) -> bool {
        is_due(created_at, self.replace_after, self.clock.now())
    }
}

fn is_due(created_at: Timestamp, replace_after: Duration, now: Timestamp) -> bool {
    created_at.checked_add(replace_after).is_ok_and(|at| at <= now)
}

impl ApiKeyError {
    /// The value of the metric label `reason`.
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::WrongSecret => "wrong_secret",
            Self::Expired => "expired",
            Self::Store(_) => "unavailable",
        }
    }

    /// The answer.
    pub(crate) fn refuse(self) -> Error {
        let challenge = match self {
            Self::Store(error) => return error,
            Self::Expired => r#"Bearer error="invalid_token", error_description="the API key has expired""#,
            _ => r#"Bearer error="invalid_token", error_description="the API key is not good""#,
        };
        Error::from(self).header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

impl AsProblem for ApiKeyError {
    fn problem(&self) -> Problem {
        match self {
            Self::Expired => Problem::new(401).detail("The API key has expired. Make another."),
            // Not which: whoever tries keys learns nothing.
            Self::Malformed | Self::Unknown | Self::WrongSecret => {
                Problem::new(401).detail("The API key is not good: it is not whole, or it has been revoked.")
            }
            Self::Store(error) => error.problem().clone(),
        }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("replace_after", &self.replace_after).finish_non_exhaustive()
    }
}
