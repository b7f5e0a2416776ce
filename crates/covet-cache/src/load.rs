//! [`Cache::get_or_load`] and [`Cache::find_or_load`]: the value, from the cache or from its source, loaded once.

use std::any::Any;
use std::sync::Arc;

use crate::cache::Backend;
use crate::flight::{Lead, Turn, Waited};
use crate::format::Generations;
use crate::look::{Look, Seen, Wanted, fingerprint};
use crate::memory::Memory;
use crate::near::Near;
use crate::remote::{Begun, Remote};
use crate::{Cache, CacheKey, CacheOperation, Cacheable};

impl Cache {
    /// The value, from the cache or else from `load`, which is then stored.
    ///
    /// Of all who want the same value at the same time one loads it, in all instances together; the others wait for it.
    /// Leaves that caller (its client is gone, its time is over), another takes over. Does its load fail, the others of
    /// this process load for themselves. What was loaded while its key was deleted or a tag invalidated is given to those
    /// who had asked before, and not stored.
    ///
    /// While Redis is away it costs what `load` costs; callers of one process still wait for one of them.
    ///
    /// # Errors
    /// Only those of `load`, which are not kept. What goes wrong with the cache is in its metrics and its health check.
    pub async fn get_or_load<T, E, F>(&self, key: &CacheKey<T>, load: F) -> Result<Arc<T>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<T, E>,
    {
        let found = self.find(key, Wanted::Value, async || load().await.map(Some)).await?;
        Ok(value_of(found))
    }

    /// As [`get_or_load`](Self::get_or_load), of something that may not exist. That it does not is remembered for a short
    /// time (`COVET_CACHE__NOTHING_TTL`, [`Keyspace::nothing_for`](crate::Keyspace::nothing_for)): whoever asks for what is
    /// not there does not burden the source each time. Delete the key, or invalidate a tag of it, when it is made.
    ///
    /// # Errors
    /// Only those of `load`.
    pub async fn find_or_load<T, E, F>(&self, key: &CacheKey<T>, load: F) -> Result<Option<Arc<T>>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<Option<T>, E>,
    {
        self.find(key, Wanted::ValueOrNothing, load).await
    }

    async fn find<T, E, F>(&self, key: &CacheKey<T>, wanted: Wanted, load: F) -> Result<Option<Arc<T>>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<Option<T>, E>,
    {
        let seen = match self.look(key).await.map(|look| look.found(wanted)) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => Some(seen),
            Err(_) => None,
        };
        // Boxed, so that who finds it does not carry what loads it.
        Box::pin(self.load(key, wanted, seen, load)).await
    }

    /// Loads what was not found, or waits for who does. `seen`: what the tags had; `None` when the cache cannot be asked.
    async fn load<T, E, F>(
        &self,
        key: &CacheKey<T>,
        wanted: Wanted,
        seen: Option<Seen>,
        load: F,
    ) -> Result<Option<Arc<T>>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<Option<T>, E>,
    {
        let generations = match seen {
            Some(seen) => self.generations(key, &seen).await,
            None => None,
        };
        let state = generations.as_deref().map_or(0, fingerprint);
        loop {
            let waited = match self.0.flights.join(key.name(), state, key.tags()) {
                Turn::Lead(lead) => {
                    let led = self.lead(key, wanted, &lead, generations, load).await;
                    return led.inspect_err(|_| lead.fail());
                }
                Turn::Wait(wait) => wait.landed().await,
            };
            match waited {
                Waited::Abandoned => {}
                Waited::Landed(None) if wanted == Wanted::ValueOrNothing => return Ok(None),
                Waited::Landed(Some(value)) if value.is::<T>() => return Ok(value.downcast().ok()),
                // It has failed, or was of something else.
                Waited::Landed(_) | Waited::Failed => return Ok(load().await?.map(Arc::new)),
            }
        }
    }

    /// Those of the key's tags, before anything is loaded: what is invalidated from now on has others.
    async fn generations<T: Cacheable>(&self, key: &CacheKey<T>, seen: &Seen) -> Option<Generations> {
        let ttl = self.0.tag_lifetime(key);
        match &self.0.backend {
            Backend::Memory(memory) => Some(memory.begin(key.tags(), ttl)),
            Backend::Redis(remote) => remote.begin(key.tags(), Some(seen), ttl).await.ok(),
        }
    }

    async fn lead<T, E, F>(
        &self,
        key: &CacheKey<T>,
        wanted: Wanted,
        lead: &Lead<'_>,
        generations: Option<Generations>,
        load: F,
    ) -> Result<Option<Arc<T>>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<Option<T>, E>,
    {
        match (&self.0.backend, generations) {
            (Backend::Memory(memory), Some(generations)) => {
                self.lead_in_memory(key, wanted, lead, (memory, generations), load).await
            }
            (Backend::Redis(remote), Some(generations)) => {
                self.lead_in_redis(key, wanted, lead, (remote, generations), load).await
            }
            (_, None) => Ok(shared(lead, load().await?.map(Arc::new))),
        }
    }

    async fn lead_in_memory<T, E, F>(
        &self,
        key: &CacheKey<T>,
        wanted: Wanted,
        lead: &Lead<'_>,
        (memory, generations): (&Memory, Generations),
        load: F,
    ) -> Result<Option<Arc<T>>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<Option<T>, E>,
    {
        // Who led before may have stored it since the first look.
        if let Ok(found) = memory.look(key).found(wanted) {
            return Ok(shared(lead, found));
        }
        let inner = &*self.0;
        let ttl = inner.lifetimes.of(key.lifetime());
        let value = shared(lead, load().await?.map(Arc::new));
        let (size, ttl) = match value.as_deref().map(|value| inner.size(key, value)) {
            Some(Ok(size)) => (size, ttl),
            None => (0, inner.lifetimes.nothing(key.nothing())),
            Some(Err(_)) => return Ok(value),
        };
        let kept = value.clone();
        lead.commit(|| {
            inner.timed(CacheOperation::Set, || memory.store(key, kept, size, generations, ttl));
            inner.stored_for(ttl);
        });
        Ok(value)
    }

    async fn lead_in_redis<T, E, F>(
        &self,
        key: &CacheKey<T>,
        wanted: Wanted,
        lead: &Lead<'_>,
        (remote, generations): (&Remote, Generations),
        load: F,
    ) -> Result<Option<Arc<T>>, E>
    where
        T: Cacheable,
        F: AsyncFnOnce() -> Result<Option<T>, E>,
    {
        let inner = &*self.0;
        let near = inner.near.as_ref().filter(|_| key.is_near());
        let moment = near.map(Near::moment);
        let ttl = inner.lifetimes.of(key.lifetime());
        let lease = match remote.take_lease(key, wanted, generations, inner.tag_lifetime(key)).await {
            Ok(Begun::Lease(lease)) => lease,
            Ok(Begun::Found(found)) => return Ok(shared(lead, found)),
            Err(_) => return Ok(shared(lead, load().await?.map(Arc::new))),
        };
        let value = shared(lead, lease.keep_during(load()).await?.map(Arc::new));
        let ttl = if value.is_some() { ttl } else { inner.lifetimes.nothing(key.nothing()) };
        let Ok(bytes) = inner.encode(key, lease.generations(), value.as_deref()) else { return Ok(value) };
        if !lead.is_current() {
            return Ok(value);
        }
        if let Ok(true) = lease.store(&bytes, ttl).await {
            inner.stored_for(ttl);
            if let (Some(near), Some(moment)) = (near, moment) {
                let found = value.clone().map_or(Look::Nothing(Seen::default()), Look::Value);
                near.keep(key, &found, bytes.len(), moment);
            }
        }
        Ok(value)
    }
}

/// Gives those who wait what was found.
fn shared<T: Send + Sync + 'static>(lead: &Lead<'_>, value: Option<Arc<T>>) -> Option<Arc<T>> {
    lead.share(value.clone().map(|value| value as Arc<dyn Any + Send + Sync>));
    value
}

/// What a search for [`Wanted::Value`] has brought.
fn value_of<T>(found: Option<Arc<T>>) -> Arc<T> {
    found.expect("a load brings a value or fails, and nothing else counts")
}
