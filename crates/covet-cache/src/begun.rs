//! Storing what was read some time ago: for those who decide only after reading whether, and for how long, it is kept.

use std::sync::Arc;

use crate::cache::Backend;
use crate::format::Generations;
use crate::look::fingerprint;
use crate::{Cache, CacheKey, CacheOperation, Cacheable, Result};

/// How the tags of a key were before something was read from its source.
#[derive(Debug, Clone)]
pub struct Begun(Generations);

impl Begun {
    /// A number for how the tags were: another one after an invalidation.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.0)
    }
}

impl Cache {
    /// Notes how the tags of `key` are, before its source is read. What is then stored by [`set_begun`](Self::set_begun) is
    /// absent from the start if one of them was invalidated meanwhile. [`get_or_load`](Self::get_or_load) does this itself.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub async fn begin<T: Cacheable>(&self, key: &CacheKey<T>) -> Result<Begun> {
        let ttl = self.0.tag_lifetime(key);
        match &self.0.backend {
            Backend::Memory(memory) => Ok(Begun(memory.begin(key.tags(), ttl))),
            Backend::Redis(remote) => Ok(Begun(remote.begin(key.tags(), None, ttl).await?)),
        }
    }

    /// Stores a value that was read after [`begin`](Self::begin) with a key of the same tags.
    ///
    /// # Errors
    /// Those of [`set`](Self::set).
    pub async fn set_begun<T: Cacheable>(&self, key: &CacheKey<T>, begun: &Begun, value: Arc<T>) -> Result<()> {
        let inner = &*self.0;
        let ttl = inner.lifetimes.of(key.lifetime());
        match &inner.backend {
            Backend::Memory(memory) => {
                let size = inner.size(key, &value)?;
                inner.flights.detach(key.name());
                inner.timed(CacheOperation::Set, || memory.store(key, Some(value), size, begun.0.clone(), ttl));
            }
            Backend::Redis(remote) => {
                let bytes = inner.encode(key, &begun.0, Some(&*value))?;
                inner.flights.detach(key.name());
                remote.set(key.name(), &bytes, ttl).await?;
                if key.is_near() {
                    inner.forget_near(&[key.name().to_owned()], &[]).await;
                }
            }
        }
        inner.stored_for(ttl);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keyspace, Ttl};

    static VALUES: Keyspace<String> = Keyspace::new("begun_values", Ttl::Query);

    #[tokio::test]
    async fn what_was_read_before_an_invalidation_is_not_found_after_it() {
        let cache = Cache::in_memory();
        let key = VALUES.key(1).tag("source");
        let begun = cache.begin(&key).await.unwrap();
        cache.set_begun(&key, &begun, Arc::new("kept".to_owned())).await.unwrap();
        assert_eq!(cache.get(&key).await.unwrap().as_deref().map(String::as_str), Some("kept"));

        let begun = cache.begin(&key).await.unwrap();
        cache.invalidate(["source"]).await.unwrap();
        assert_ne!(cache.begin(&key).await.unwrap().fingerprint(), begun.fingerprint());
        cache.set_begun(&key, &begun, Arc::new("old".to_owned())).await.unwrap();
        assert_eq!(cache.get(&key).await.unwrap(), None);
    }
}
