//! Logins that have ended while their access tokens have not: [`RevokedLogins`].
//!
//! A token is checked on every request, so nothing is asked then: each process holds the set itself
//! (`revoked/known.rs`). What one instance adds it writes to Redis and tells the others, who read all of it when they start and
//! whenever they may have missed something (`revoked/shared.rs`). A login is in it until the last of its access tokens has
//! expired, so the set does not grow with time; how many there can be at once is bounded.
//!
//! **Without Redis** the set is this process's alone, and a restart forgets it. **With Redis away** whoever ends a login refuses
//! its tokens at once, the refresh tokens are dead everywhere, and the other instances hear of it when Redis is back; until
//! then they take its access tokens until they expire. The alternative is to refuse every request while Redis is away.

mod known;
mod shared;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covet_cache::Cache;
use covet_core::clock::Clock;
use covet_telemetry::metrics::{Collector, Exposition, Registry};
use uuid::Uuid;

use self::known::Known;
use self::shared::Shared;
use crate::settings::AuthSettings;

covet_telemetry::declare_metrics! {
    /// Revoked logins.
    ///
    /// Of services that have said `App::access_tokens`.
    pub REVOKED_LOGINS;

    /// Ended logins whose access tokens are refused although they have not expired.
    ///
    /// Of the whole service with Redis, of each process without. Bounded by `COVET_AUTH__REVOKED_LOGINS`.
    gauge(largest) APP_AUTH_REVOKED_LOGINS = "app_auth_revoked_logins" {};
    /// Ended logins whose access tokens are good again until they expire, because there are more than the bound.
    ///
    /// Raise `COVET_AUTH__REVOKED_LOGINS` or shorten `COVET_AUTH__ACCESS_TOKEN_TTL` when it rises.
    counter APP_AUTH_REVOCATIONS_GIVEN_UP_TOTAL = "app_auth_revocations_given_up_total" {};
    /// Whether this instance hears which logins the others end: 1, or 0 while Redis is away.
    ///
    /// Of several processes, the smallest. Always 1 without Redis.
    gauge(smallest) APP_AUTH_REVOCATIONS_HEARD = "app_auth_revocations_heard" {};
}

/// After the time that the last token should have expired: one may have been signed a moment after its login was ended, by a
/// request that had looked before.
const MARGIN: Duration = Duration::from_secs(60);

/// The logins whose access tokens are refused. Cheap to clone.
#[derive(Clone)]
pub struct RevokedLogins {
    inner: Arc<Inner>,
}

struct Inner {
    known: Arc<Known>,
    shared: Option<Arc<Shared>>,
    /// How long a login is in the set.
    kept: Duration,
    clock: Clock,
}

/// What [`RevokedLogins`] are made of.
#[derive(Debug)]
pub struct RevokedParts<'a> {
    /// How long tokens are good, and how many logins there can be.
    pub settings: &'a AuthSettings,
    /// Where all instances find them.
    pub cache: &'a Cache,
    /// Where they are counted.
    pub metrics: &'a Registry,
    /// The time.
    pub clock: Clock,
}

impl RevokedLogins {
    /// In this process only.
    #[must_use]
    pub fn in_memory(settings: &AuthSettings, clock: Clock) -> Self {
        Self::of(settings, Arc::new(Known::new(settings.revoked_logins)), None, clock)
    }

    /// Shared by all instances where the cache is in Redis. Those of the others are known when this returns, if Redis is there,
    /// and are heard of from then on.
    pub async fn start(parts: RevokedParts<'_>) -> Self {
        let RevokedParts { settings, cache, metrics, clock } = parts;
        metrics.declare_all(REVOKED_LOGINS);
        let known = Arc::new(Known::counted(settings.revoked_logins, metrics));
        let shared = match cache.redis() {
            Some(redis) => {
                let parts =
                    shared::Parts { redis, cache, known: &known, limit: settings.revoked_logins, clock: &clock };
                Some(Shared::start(parts).await)
            }
            None => None,
        };
        let revoked = Self::of(settings, known, shared, clock);
        metrics.register(Arc::clone(&revoked.inner) as Arc<dyn Collector>);
        revoked
    }

    fn of(settings: &AuthSettings, known: Arc<Known>, shared: Option<Arc<Shared>>, clock: Clock) -> Self {
        let kept = settings.access_token_ttl + settings.clock_leeway + MARGIN;
        Self { inner: Arc::new(Inner { known, shared, kept, clock }) }
    }

    /// Whether the tokens of this login are refused. Asks nobody.
    #[must_use]
    pub fn contains(&self, login: Uuid) -> bool {
        self.inner.known.contains(login)
    }

    /// Refuses the tokens of these logins: here from now on, in all instances when this returns, or, if Redis is away, when
    /// it is back.
    pub async fn revoke(&self, logins: &[Uuid]) {
        if logins.is_empty() {
            return;
        }
        let now = self.inner.clock.now().as_second();
        let until = now.saturating_add(i64::try_from(self.inner.kept.as_secs()).unwrap_or(i64::MAX));
        for login in logins {
            self.inner.known.insert(*login, until, now);
        }
        if let Some(shared) = &self.inner.shared {
            shared.tell(logins, until).await;
        }
    }
}

impl Collector for Inner {
    fn name(&self) -> &'static str {
        "revoked_logins"
    }

    fn collect(&self, out: &mut Exposition) {
        self.known.sweep(self.clock.now().as_second());
        out.gauge(APP_AUTH_REVOKED_LOGINS, &[], self.known.len() as u64);
        let heard = self.shared.as_ref().is_none_or(|shared| shared.hears());
        out.gauge(APP_AUTH_REVOCATIONS_HEARD, &[], u64::from(heard));
    }
}

impl fmt::Debug for RevokedLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevokedLogins").field("known", &self.inner.known.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::test_settings;

    #[tokio::test]
    async fn a_login_is_forgotten_once_its_last_token_has_expired() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let settings = test_settings();
        let revoked = RevokedLogins::in_memory(&settings, clock);
        let login = Uuid::from_u128(1);
        revoked.revoke(&[login]).await;
        hand.advance(settings.access_token_ttl + settings.clock_leeway);
        revoked.revoke(&[Uuid::from_u128(2)]).await;
        assert!(revoked.contains(login), "a token may have been signed a moment later");
        hand.advance(MARGIN + Duration::from_secs(1));
        revoked.revoke(&[Uuid::from_u128(3)]).await;
        assert!(!revoked.contains(login));
        assert_eq!(revoked.inner.known.len(), 2);
    }
}
