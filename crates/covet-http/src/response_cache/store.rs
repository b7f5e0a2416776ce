//! Where responses lie: the service's cache, under one prefix. A cache that is away is a miss; it counts and logs that
//! itself.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use covet_cache::{Begun, Cache, CacheKey, Keyspace, Ttl};

use super::stored::Entry;

/// Kept responses. The time is that of each response.
static RESPONSES: Keyspace<Entry> = Keyspace::new("responses", Ttl::Response);

/// What is found under a name.
pub(super) enum Found {
    Entry(Arc<Entry>),
    Nothing,
    /// The cache cannot be reached.
    Away,
}

/// The key of a name with these tags, which must be the same at reading and at storing.
pub(super) fn key<T: Display>(name: &str, tags: &[T]) -> CacheKey<Entry> {
    tags.iter().fold(RESPONSES.key(name), CacheKey::tag)
}

pub(super) async fn look(cache: &Cache, key: &CacheKey<Entry>) -> Found {
    match cache.get(key).await {
        Ok(Some(entry)) => Found::Entry(entry),
        Ok(None) => Found::Nothing,
        Err(_) => Found::Away,
    }
}

/// Notes which tags are good before the handler is asked: what is invalidated meanwhile makes the response useless.
pub(super) async fn begin(cache: &Cache, key: &CacheKey<Entry>) -> Option<Begun> {
    cache.begin(key).await.ok()
}

/// Stores what was begun. False when the cache does not take it.
pub(super) async fn put(cache: &Cache, key: CacheKey<Entry>, begun: &Begun, entry: &Arc<Entry>, ttl: Duration) -> bool {
    cache.set_begun(&key.ttl(Ttl::Of(ttl)), begun, Arc::clone(entry)).await.is_ok()
}

/// The tag of all responses of a URI.
pub(super) fn uri_tag(uri: &str) -> String {
    format!("uri:{uri}")
}
