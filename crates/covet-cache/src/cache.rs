//! [`Cache`]: what handlers use.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_telemetry::metrics::Registry;
use covet_telemetry::metrics::instruments::{CacheInstruments, CacheUse};

use crate::flight::Flights;
use crate::format;
use crate::keyspace::tag_name;
use crate::look::Look;
use crate::memory::Memory;
use crate::near::Near;
use crate::operations;
use crate::remote::Remote;
use crate::settings::CacheSettings;
use crate::ttl::Lifetimes;
use crate::uses::{self, Refusal, Uses};
use crate::{CacheKey, CacheOperation, Cacheable, Error, Keyspace, PubSub, Redis, Result, Ttl};

/// Values that are kept for a while: in Redis where `REDIS_URL` names one, else in memory. Cheap to clone; all clones are
/// the same cache.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> covet_cache::Result<()> {
/// use covet_cache::{Cache, Keyspace, Ttl};
///
/// static NAMES: Keyspace<String> = Keyspace::new("names", Ttl::Query);
///
/// let cache = Cache::in_memory();
/// let key = NAMES.key(7).tag("users");
/// # async fn read_name(id: u64) -> Result<String, std::io::Error> { Ok("Ada".to_owned()) }
/// let name = cache.get_or_load(&key, async || read_name(7).await).await.unwrap();
/// assert_eq!(*name, "Ada");
///
/// // After a write to the source:
/// cache.invalidate(["users"]).await?;
/// assert_eq!(cache.get(&key).await?, None);
/// # Ok(())
/// # }
/// ```
///
/// **Order.** First change the source, then invalidate. What was read before is then neither given out nor stored after
/// [`invalidate`](Self::invalidate), [`delete`](Self::delete) and [`set`](Self::set) have returned, also when it was being
/// loaded meanwhile, by whichever instance.
///
/// **Without Redis** (it is away, slow, refuses) [`get_or_load`](Self::get_or_load) and
/// [`find_or_load`](Self::find_or_load) load, and the other operations tell an [`Error`]. An invalidation that could not
/// be delivered is kept and delivered when Redis is back; until then this instance does not use what it was about.
#[derive(Clone)]
pub struct Cache(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) backend: Backend,
    pub(crate) near: Option<Near>,
    pub(crate) flights: Flights,
    pub(crate) uses: Uses,
    pub(crate) lifetimes: Lifetimes,
    instruments: CacheInstruments,
    value_limit: usize,
    pubsub: PubSub,
    clock: Clock,
}

pub(crate) enum Backend {
    Memory(Memory),
    Redis(Remote),
}

/// What a cache is made of.
#[derive(Debug)]
pub struct CacheParts<'a> {
    /// What the operator set.
    pub settings: &'a CacheSettings,
    /// The service's name: the first part of every key in Redis. Instances of one service share their entries.
    pub service: &'a str,
    /// Where the metrics are.
    pub metrics: &'a Registry,
    /// The time.
    pub clock: &'a Clock,
}

impl Cache {
    /// Opens the cache. While Redis is away it is opened all the same, and used when it is there.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub async fn connect(parts: CacheParts<'_>) -> Result<Self> {
        let CacheParts { settings, service, metrics, clock } = parts;
        let cache_type = if settings.url.is_some() { "redis" } else { "memory" };
        let instruments = CacheInstruments::new(metrics, cache_type);
        let (backend, pubsub) = match &settings.url {
            None => {
                let memory = Memory::new(settings.memory_size.bytes(), &instruments);
                (Backend::Memory(memory), PubSub::memory())
            }
            Some(_) => {
                let redis = Redis::connect(settings, service, &instruments, clock).await?;
                let pubsub = PubSub::redis(&redis);
                (Backend::Redis(Remote::new(redis, settings)), pubsub)
            }
        };
        Ok(Self::assemble(settings, metrics, clock.clone(), instruments, backend, pubsub))
    }

    /// A cache in memory with the defaults, and metrics of its own: for tests and small tools.
    #[must_use]
    pub fn in_memory() -> Self {
        let (settings, metrics) = (CacheSettings::memory(), Registry::new());
        let instruments = CacheInstruments::new(&metrics, "memory");
        let memory = Backend::Memory(Memory::new(settings.memory_size.bytes(), &instruments));
        Self::assemble(&settings, &metrics, Clock::system(), instruments, memory, PubSub::memory())
    }

    fn assemble(
        settings: &CacheSettings,
        metrics: &Registry,
        clock: Clock,
        instruments: CacheInstruments,
        backend: Backend,
        pubsub: PubSub,
    ) -> Self {
        Self::declare_metrics(metrics);
        let near = match backend {
            Backend::Redis(_) if settings.near_size.bytes() > 0 => Some(Near::start(settings, &pubsub)),
            _ => None,
        };
        Self(Arc::new(Inner {
            backend,
            near,
            flights: Flights::new(),
            uses: Uses::new(metrics, &instruments),
            lifetimes: Lifetimes::new(settings),
            instruments,
            value_limit: settings.value_limit.as_usize(),
            pubsub,
            clock,
        }))
    }

    /// Declares the metrics that a cache adds to the documented ones.
    pub fn declare_metrics(metrics: &Registry) {
        metrics.declare_all(uses::ALL);
        metrics.declare_all(crate::redis::METRICS);
    }

    /// The value, if it is cached.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Timeout`], [`Error::Refused`] of Redis. A value that cannot be read is not an error
    /// but absent.
    pub async fn get<T: Cacheable>(&self, key: &CacheKey<T>) -> Result<Option<Arc<T>>> {
        match self.look(key).await? {
            Look::Value(value) => Ok(Some(value)),
            Look::Nothing(_) | Look::Absent(_) => Ok(None),
        }
    }

    /// Stores a value.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Encode`] because of the value; [`Error::Unavailable`], [`Error::Timeout`] and
    /// [`Error::Refused`] of Redis: what was there before is then removed when Redis is back, and not used by this instance
    /// until then. Because of the value it stays.
    pub async fn set<T: Cacheable>(&self, key: &CacheKey<T>, value: T) -> Result<Arc<T>> {
        let (begun, value) = (self.begin(key).await?, Arc::new(value));
        self.set_begun(key, &begun, Arc::clone(&value)).await?;
        Ok(value)
    }

    /// Gives an entry another time to live from now on. False if it is not cached.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Timeout`], [`Error::Refused`] of Redis.
    pub async fn expire<T: Cacheable>(&self, key: &CacheKey<T>, ttl: Ttl) -> Result<bool> {
        let inner = &*self.0;
        let ttl = inner.lifetimes.of(ttl);
        let there = match &inner.backend {
            Backend::Memory(memory) => inner.timed(CacheOperation::Expire, || memory.expire(key.name(), ttl)),
            Backend::Redis(remote) => remote.expire(key.name(), ttl).await?,
        };
        if there {
            inner.instruments.stored_for(ttl);
        }
        Ok(there)
    }

    /// Removes an entry. True if there was one. A load of it that is under way is not stored.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Timeout`], [`Error::Refused`] of Redis: it is removed when Redis is back, and not
    /// used by this instance until then.
    pub async fn delete<T: Cacheable>(&self, key: &CacheKey<T>) -> Result<bool> {
        let inner = &*self.0;
        inner.flights.detach(key.name());
        match &inner.backend {
            Backend::Memory(memory) => Ok(inner.timed(CacheOperation::Delete, || memory.delete(key.name()))),
            Backend::Redis(remote) => {
                let deleted = remote.delete(key.name()).await;
                // A load that looked before and took off since.
                inner.flights.detach(key.name());
                if key.is_near() {
                    inner.forget_near(&[key.name().to_owned()], &[]).await;
                }
                deleted
            }
        }
    }

    /// Ends all entries that bear one of these tags, whatever their keyspace. What of them is being loaded is not used.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Timeout`], [`Error::Refused`] of Redis: they are ended when Redis is back, and not
    /// used by this instance until then. The write that made it necessary has happened all the same: log the error and
    /// go on.
    pub async fn invalidate<I>(&self, tags: I) -> Result<()>
    where
        I: IntoIterator<Item: fmt::Display>,
    {
        let inner = &*self.0;
        let tags: Vec<String> = tags.into_iter().map(tag_name).collect();
        inner.flights.detach_tags(&tags);
        let ttl = inner.lifetimes.tag(Duration::ZERO);
        match &inner.backend {
            Backend::Memory(memory) => {
                inner.timed(CacheOperation::Clear, || tags.iter().for_each(|tag| memory.invalidate(tag, ttl)));
                Ok(())
            }
            Backend::Redis(remote) => {
                let invalidated = remote.invalidate(&tags, ttl).await;
                inner.flights.detach_tags(&tags);
                inner.forget_near(&[], &tags).await;
                invalidated
            }
        }
    }

    /// Messages to all instances of the service.
    #[must_use]
    pub fn pubsub(&self) -> &PubSub {
        &self.0.pubsub
    }

    /// Redis, for commands and scripts of one's own. `None`: the cache is in memory.
    #[must_use]
    pub fn redis(&self) -> Option<&Redis> {
        match &self.0.backend {
            Backend::Memory(_) => None,
            Backend::Redis(remote) => Some(remote.redis()),
        }
    }

    /// `memory` or `redis`, as in the label `cache_type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.0.backend {
            Backend::Memory(_) => "memory",
            Backend::Redis(_) => "redis",
        }
    }

    /// Delivers what is still to be delivered, ends all subscriptions, and closes the connections.
    pub async fn close(&self) {
        self.0.pubsub.close().await;
        if let Backend::Redis(remote) = &self.0.backend {
            remote.close().await;
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn instruments(&self) -> &CacheInstruments {
        &self.0.instruments
    }

    /// Reads, and counts a hit or a miss.
    pub(crate) async fn look<T: Cacheable>(&self, key: &CacheKey<T>) -> Result<Look<T>> {
        let inner = &*self.0;
        let found = match &inner.backend {
            Backend::Memory(memory) => inner.timed(CacheOperation::Get, || memory.look(key)),
            Backend::Redis(remote) => {
                let near = inner.near.as_ref().filter(|_| key.is_near());
                if let Some(found) = near.and_then(|near| near.look(key)) {
                    inner.uses.with_near(key.keyspace(), CacheUse::hit);
                    return Ok(found);
                }
                // Boxed, so that who finds it in memory does not carry what asks Redis.
                Box::pin(inner.look_in_redis(remote, near, key)).await?
            }
        };
        inner.uses.with(key.keyspace(), |of| match found {
            Look::Absent(_) => of.reads.missed(),
            Look::Value(_) | Look::Nothing(_) => of.reads.hit(),
        });
        Ok(found)
    }
}

impl Inner {
    /// Reads from Redis, and keeps what is found near.
    async fn look_in_redis<T: Cacheable>(
        &self,
        remote: &Remote,
        near: Option<&Near>,
        key: &CacheKey<T>,
    ) -> Result<Look<T>> {
        let moment = near.map(|near| {
            self.uses.with_near(key.keyspace(), CacheUse::missed);
            near.moment()
        });
        let unreadable = || {
            let why = "it was written by another release, or by somebody else";
            self.uses.refused(key.keyspace(), Refusal::Unreadable, &why);
        };
        let (found, size) = remote.look(key, unreadable).await?;
        if let (Some(near), Some(moment)) = (near, moment) {
            near.keep(key, &found, size, moment);
        }
        Ok(found)
    }

    /// Runs something in memory, and measures it.
    pub(crate) fn timed<R>(&self, operation: CacheOperation, work: impl FnOnce() -> R) -> R {
        let began = self.clock.monotonic();
        let result = work();
        let took = self.clock.monotonic().saturating_duration_since(began);
        operations::ended(&self.instruments, operation, took, Ok(()));
        result
    }

    /// How long a new generation of one of this key's tags lives.
    pub(crate) fn tag_lifetime<T>(&self, key: &CacheKey<T>) -> Duration {
        self.lifetimes.tag(match key.lifetime() {
            Ttl::Of(time) => time,
            _ => Duration::ZERO,
        })
    }

    pub(crate) fn stored_for(&self, ttl: Duration) {
        self.instruments.stored_for(ttl);
    }

    /// The size of a value that is small enough.
    pub(crate) fn size<T: Cacheable>(&self, key: &CacheKey<T>, value: &T) -> Result<usize> {
        let size = format::encoded_size(value).map_err(|error| self.not_encodable(key.keyspace(), &error))?;
        self.small_enough(key.keyspace(), size)
    }

    /// The bytes of a value that is small enough.
    pub(crate) fn encode<T: Cacheable>(
        &self,
        key: &CacheKey<T>,
        generations: &[u64],
        value: Option<&T>,
    ) -> Result<Vec<u8>> {
        let bytes = format::encode(key.version(), generations, value)
            .map_err(|error| self.not_encodable(key.keyspace(), &error))?;
        self.small_enough(key.keyspace(), bytes.len())?;
        Ok(bytes)
    }

    fn not_encodable<T>(&self, keyspace: &'static Keyspace<T>, error: &rmp_serde::encode::Error) -> Error {
        let error = Error::Encode { prefix: keyspace.prefix(), reason: error.to_string() };
        self.uses.refused(keyspace, Refusal::NotEncodable, &error);
        error
    }

    fn small_enough<T>(&self, keyspace: &'static Keyspace<T>, size_bytes: usize) -> Result<usize> {
        if size_bytes <= self.value_limit {
            return Ok(size_bytes);
        }
        let error = Error::TooLarge { prefix: keyspace.prefix(), size_bytes, limit_bytes: self.value_limit };
        self.uses.refused(keyspace, Refusal::TooLarge, &error);
        Err(error)
    }

    /// Takes entries out of the near tiers of all instances.
    pub(crate) async fn forget_near(&self, names: &[String], tags: &[String]) {
        if let Some(near) = &self.near {
            near.forget(names, tags);
            near.tell(&self.pubsub, names, tags).await;
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("kind", &self.kind()).finish_non_exhaustive()
    }
}
