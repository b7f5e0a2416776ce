//! All sessions of a service: opened, found by a cookie, listed, ended, counted.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covet_cache::Redis;
use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::reload::Change;
use covet_core::secret::SecretString;
use covet_telemetry::logging::truncated_address;
use covet_telemetry::metrics::Registry;
use covet_telemetry::settings::AddressPolicy;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use metrics::Counter;
use uuid::Uuid;

use super::cookie::{BadCookie, CookieKeys, CookieShape};
use super::error::SessionError;
use super::origin::TrustedOrigins;
use super::record::{About, Contents, Stored, Times};
use super::settings::SessionSettings;
use super::store::{Listed, MemoryStore, RedisStore, Store};
use super::token::{Owner, Place, SessionToken};
use crate::attempts::Method;
use crate::keys::KeyRingError;

/// A session is prolonged when this part of the time that it lasts unused has passed since it was prolonged last: once
/// an hour of 24, not at every request. So it may end by as much earlier than its last use would let it, and "last
/// used" is as exact.
const PROLONGED_EVERY: u32 = 24;
/// Longest user agent that is kept, in bytes.
const LONGEST_USER_AGENT: usize = 256;

/// The sessions of a service. Cheap to clone.
///
/// With Redis, every instance finds every session; without, each has its own, and they end with it.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) cookie: CookieShape,
    pub(super) origins: TrustedOrigins,
    pub(super) data_limit: usize,
    idle: Duration,
    lifetime: Duration,
    per_user: usize,
    addresses: AddressPolicy,
    clock: Clock,
    succeeded: OnceLock<Counter>,
}

/// What [`Sessions`] are made of.
#[derive(Debug)]
pub struct SessionParts<'a> {
    /// Cookie, limits, keys.
    pub settings: &'a SessionSettings,
    /// How strict the keys are looked at.
    pub environment: Environment,
    /// How long a session lasts unused: `COVET_CACHE__SESSION_TTL`.
    pub idle: Duration,
    /// Whether browsers reach the service by TLS: `Secure` and `__Host-`.
    pub tls: bool,
    /// Where they lie; in this process when there is no Redis.
    pub redis: Option<Redis>,
    /// What may be kept of a client's address: the policy of the log.
    pub addresses: AddressPolicy,
    /// Where reads are counted.
    pub metrics: &'a Registry,
    /// The time.
    pub clock: Clock,
}

/// A session, for a list of one's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its name; not secret. The same after [`Session::regenerate`](super::Session::regenerate).
    pub id: Uuid,
    /// When its user logged in.
    pub created_at: Timestamp,
    /// When it was last used, exact to a 24th of `COVET_CACHE__SESSION_TTL`.
    pub last_used_at: Timestamp,
    /// When it ends if it is not used.
    pub expires_at: Timestamp,
    /// What the browser called itself when its user logged in.
    pub user_agent: Option<String>,
    /// Where its user logged in from, as far as `COVET_LOG__IP_ADDRESS` allows to keep it.
    pub address: Option<String>,
}

/// Who sends a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Visitor {
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) address: Option<IpAddr>,
}

/// A session that has been found or opened.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) token: SessionToken,
    pub(super) about: About,
    pub(super) times: Times,
    pub(super) contents: Contents,
    /// Its cookie is signed with a key that does not sign any longer.
    pub(super) by_old_key: bool,
}

impl Sessions {
    /// Sessions by these settings. Connects to nothing.
    ///
    /// # Errors
    /// [`KeyRingError`] when `SECRET_KEY` holds no keys; the settings have been checked for that.
    pub fn new(parts: SessionParts<'_>) -> Result<Self, KeyRingError> {
        let SessionParts { settings, environment, idle, tls, redis, addresses, metrics, clock } = parts;
        let keys = CookieKeys::parse(&settings.secret_key, environment)?;
        let store = match redis {
            Some(redis) => Store::Redis(RedisStore::new(redis, metrics)),
            None => Store::Memory(MemoryStore::new()),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                cookie: CookieShape::new(&settings.cookie_name, tls, settings.same_site, keys),
                origins: TrustedOrigins::new(&settings.trusted_origins),
                data_limit: settings.data_limit.as_usize(),
                idle,
                lifetime: settings.lifetime,
                per_user: usize::from(settings.per_user),
                addresses,
                clock,
                succeeded: OnceLock::new(),
            }),
        })
    }

    /// Puts the keys of this `SECRET_KEY` in place, and says what changed. Whoever comes with a cookie of a key that is still
    /// there, but not the first, gets a new cookie.
    ///
    /// # Errors
    /// [`KeyRingError`]; then the old keys stay.
    pub fn replace_keys(&self, keys: &SecretString, environment: Environment) -> Result<Option<Change>, KeyRingError> {
        Ok(self.inner.cookie.replace_keys(CookieKeys::parse(keys, environment)?))
    }

    /// The cookie's name as it is sent, with its prefix.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.inner.cookie.name()
    }

    /// A user's sessions, the one used last first.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn list(&self, user: Uuid) -> Result<Vec<SessionInfo>, SessionError> {
        let mut listed = self.inner.store.list(Owner::of_user(user), self.now()).await?;
        listed.sort_by_key(|session| (std::cmp::Reverse(session.times.used), session.id));
        Ok(listed.into_iter().map(SessionInfo::from).collect())
    }

    /// Ends a session of a user's at once, wherever it is used; false when the user has none of this name.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]. Whether it has ended is not known then.
    pub async fn end(&self, user: Uuid, id: Uuid) -> Result<bool, SessionError> {
        Ok(self.inner.store.end(Place { owner: Owner::of_user(user), id }).await?)
    }

    /// Ends all sessions of a user's but this one, and says how many: after a change of password, or of what a user may
    /// do.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`]. Whether they have ended is not known then.
    pub async fn end_all(&self, user: Uuid, but: Option<Uuid>) -> Result<u64, SessionError> {
        Ok(self.inner.store.end_all(Owner::of_user(user), but, self.now()).await?)
    }

    /// How many sessions of users are open: of the whole service with Redis, of this process without.
    ///
    /// # Errors
    /// [`SessionError::Unavailable`].
    pub async fn count(&self) -> Result<u64, SessionError> {
        Ok(self.inner.store.count(self.now()).await?)
    }

    /// The same where it can be told without waiting: in memory.
    pub(super) fn count_at_once(&self) -> Option<u64> {
        match &self.inner.store {
            Store::Memory(memory) => Some(memory.count(self.now())),
            Store::Redis(_) => None,
        }
    }

    /// Whether a request brings our cookie, good or not.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        self.inner.cookie.is_in(headers)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The session of a request's cookie; `None` when there is none. Counts the attempt.
    pub(super) async fn find(&self, headers: &HeaderMap) -> Result<Option<Live>, SessionError> {
        let verified = match self.inner.cookie.read(headers) {
            None => return Ok(None),
            Some(Ok(verified)) => verified,
            Some(Err(bad)) => {
                Method::Session.failed(match bad {
                    BadCookie::Malformed => "malformed",
                    BadCookie::WrongSignature => "wrong_signature",
                });
                return Ok(None);
            }
        };
        let found = self.look_up(verified.token).await.inspect_err(|error| Method::Session.failed(error.reason()))?;
        match found {
            Some(live) => {
                self.inner.succeeded.get_or_init(|| Method::Session.success_counter()).increment(1);
                Ok(Some(Live { by_old_key: verified.by_old_key, ..live }))
            }
            None => {
                Method::Session.failed("unknown");
                Ok(None)
            }
        }
    }

    /// The session of a token, prolonged if it is time.
    async fn look_up(&self, token: SessionToken) -> Result<Option<Live>, SessionError> {
        let now = self.now();
        let Some(stored) = self.inner.store.load(token.place, now).await? else { return Ok(None) };
        // Both are hashes of what nobody can choose: the time that the comparison takes tells nothing of use.
        if stored.secret != token.secret_hash() {
            return Ok(None);
        }
        let Stored { about, mut times, contents, .. } = stored;
        if now.saturating_sub(times.used) >= millis(self.inner.idle / PROLONGED_EVERY) {
            times = self.times(now, &about);
            if !self.inner.store.touch(token.place, times, now, about.user.is_some()).await? {
                return Ok(None);
            }
        }
        Ok(Some(Live { token, about, times, contents, by_old_key: false }))
    }

    /// Opens a session for a user with these roles, or for nobody.
    pub(super) async fn open(
        &self,
        user: Option<Uuid>,
        roles: Vec<String>,
        json: String,
        visitor: &Visitor,
    ) -> Result<Live, SessionError> {
        let owner = user.map_or_else(Owner::nobody, Owner::of_user);
        let token = SessionToken::generate(owner, &self.inner.clock);
        let now = self.now();
        let created_at = timestamp(now);
        let about = About {
            user,
            roles,
            created_at,
            ends_at: timestamp(now.saturating_add(millis(self.inner.lifetime))),
            user_agent: kept_user_agent(visitor),
            address: self.kept_address(visitor),
        };
        let times = self.times(now, &about);
        let contents = Contents::new(json);
        let stored = Stored { secret: token.secret_hash(), about, times, contents };
        self.inner.store.open(token.place, stored.clone(), now, self.inner.per_user).await?;
        let Stored { about, times, contents, .. } = stored;
        Ok(Live { token, about, times, contents, by_old_key: false })
    }

    /// As much of the client's address as may be kept.
    fn kept_address(&self, visitor: &Visitor) -> Option<String> {
        let address = visitor.address?;
        match self.inner.addresses {
            AddressPolicy::Full => Some(address.to_string()),
            AddressPolicy::Truncated => Some(truncated_address(address).to_string()),
            // A pseudonym tells its owner nothing.
            AddressPolicy::Hashed | AddressPolicy::Off => None,
        }
    }

    /// The times of a session that is used now.
    fn times(&self, now: i64, about: &About) -> Times {
        let expires = now.saturating_add(millis(self.inner.idle)).min(about.ends_at.as_millisecond());
        Times { used: now, expires }
    }

    pub(super) fn now(&self) -> i64 {
        i64::try_from(self.inner.clock.unix_millis()).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("cookie", &self.inner.cookie).finish_non_exhaustive()
    }
}

impl From<Listed> for SessionInfo {
    fn from(Listed { id, about, times }: Listed) -> Self {
        Self {
            id,
            created_at: about.created_at,
            last_used_at: timestamp(times.used),
            expires_at: timestamp(times.expires),
            user_agent: about.user_agent,
            address: about.address,
        }
    }
}

fn kept_user_agent(visitor: &Visitor) -> Option<String> {
    let agent = visitor.user_agent.as_ref()?.to_str().ok()?;
    // A header's text is ASCII here, so it can be cut anywhere.
    Some(agent[..agent.len().min(LONGEST_USER_AGENT)].to_owned())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use covet_core::settings::Section;

    use super::*;

    fn sessions(addresses: AddressPolicy) -> Sessions {
        sessions_by(addresses, Clock::system())
    }

    fn sessions_by(addresses: AddressPolicy, clock: Clock) -> Sessions {
        let parts = SessionParts {
            settings: &SessionSettings::defaults(Environment::Development),
            environment: Environment::Development,
            idle: Duration::from_secs(24 * 60 * 60),
            tls: false,
            redis: None,
            addresses,
            metrics: &Registry::new(),
            clock,
        };
        Sessions::new(parts).unwrap()
    }

    #[test]
    fn no_more_is_kept_of_an_address_than_the_log_may_tell() {
        let visitor = Visitor { address: Some("203.0.113.77".parse().unwrap()), user_agent: None };
        for (policy, kept) in [
            (AddressPolicy::Full, Some("203.0.113.77")),
            (AddressPolicy::Truncated, Some("203.0.113.0")),
            (AddressPolicy::Hashed, None),
            (AddressPolicy::Off, None),
        ] {
            assert_eq!(sessions(policy).kept_address(&visitor).as_deref(), kept, "{policy:?}");
        }
    }

    #[test]
    fn a_user_agent_is_kept_as_text_and_cut() {
        let kept = |value| kept_user_agent(&Visitor { user_agent: Some(value), address: None });
        assert_eq!(kept(HeaderValue::from_static("Firefox")).as_deref(), Some("Firefox"));
        assert_eq!(kept("x".repeat(1000).parse().unwrap()).unwrap().len(), LONGEST_USER_AGENT);
        assert_eq!(kept(HeaderValue::from_bytes(b"\xff").unwrap()), None);
    }

    #[tokio::test]
    async fn sessions_of_a_user_are_listed_the_one_used_last_first_and_ended() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let sessions = sessions_by(AddressPolicy::Full, clock);
        let user = Uuid::from_u128(7);
        let mut ids = Vec::new();
        for _ in 0..3 {
            let live = sessions.open(Some(user), Vec::new(), "{}".to_owned(), &Visitor::default()).await.unwrap();
            ids.insert(0, live.token.place.id);
            hand.advance(Duration::from_secs(60));
        }
        let listed: Vec<_> = sessions.list(user).await.unwrap().iter().map(|session| session.id).collect();
        assert_eq!(listed, ids);
        assert!(!sessions.end(Uuid::from_u128(8), ids[0]).await.unwrap(), "it is somebody else's");
        assert!(sessions.end(user, ids[0]).await.unwrap());
        assert_eq!(sessions.end_all(user, Some(ids[1])).await.unwrap(), 1);
        assert_eq!((sessions.list(user).await.unwrap().len(), sessions.count().await.unwrap()), (1, 1));
    }
}
