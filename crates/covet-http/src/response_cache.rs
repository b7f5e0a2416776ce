//! Responses that are kept, so that the handler need not make them again: a shared cache by RFC 9111, in front of
//! handlers.
//!
//! A route asks for it. What is kept lies in the service's [`Cache`], so with Redis all instances share it.
//!
//! ```
//! use covet_cache::Ttl;
//! use covet_http::response_cache::ResponseCache;
//! use covet_http::{Router, routing::get};
//!
//! async fn product() -> &'static str { "" }
//!
//! fn routes(cache: ResponseCache) -> Router {
//!     Router::new().route("/products/{id}", get(product).cached(cache.tag("products").tag("product:{id}")))
//! }
//! // After a write: context.cache().invalidate(["product:7"]).await
//! ```
//!
//! | you want | look in |
//! |---|---|
//! | what a route can say | [`ResponseCache`] |
//! | may it be kept, is it fresh | `terms.rs`, `cache_control.rs` |
//! | under which name it lies | `key.rs`, `tag.rs` |
//! | the way of a request | `serve.rs`, `fetch.rs` |
//! | one asks, the others wait | `flight.rs` |
//! | what operators see | `status.rs` |
//!
//! **What is never kept**: responses with `Set-Cookie`; answers to requests with `Authorization` or `Cookie`, unless the
//! route says [`per_caller`](ResponseCache::per_caller) or
//! [`without_credentials`](ResponseCache::without_credentials); answers of handlers that have found out who asks by
//! other means (the request's scope has a user), unless `per_caller`; `no-store`; `private`, unless the key holds the
//! caller; `Vary: *`; 5xx; parts of a response; streams.

mod answered;
mod cache_control;
mod fetch;
mod flight;
mod key;
mod serve;
mod status;
mod store;
mod stored;
mod tag;
mod terms;

use std::fmt::{self, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use covet_cache::settings::CacheSettings;
use covet_cache::{Cache, Ttl};
use covet_core::clock::Clock;
use covet_core::lifecycle::Lifecycle;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};

use crate::routing::InvalidRoute;
use crate::settings::ResponseCacheSettings;
use flight::Flights;
use tag::TagTemplate;
use terms::Defaults;

pub(crate) use serve::Invalidating;

/// What a route says of its responses: how long they are good, by what they are told apart, and how they are
/// invalidated. Made by `Context::response_cache`; put on a route by
/// [`MethodRouter::cached`](crate::routing::MethodRouter::cached).
///
/// What a response says itself by `Cache-Control` or `Expires` counts more than what is said here. Without either, only
/// responses of status 200, 203, 204, 301 and 308 are kept.
#[derive(Clone)]
#[must_use]
pub struct ResponseCache {
    shared: Arc<Shared>,
    defaults: Defaults,
    tags: Vec<TagTemplate>,
    vary: Vec<HeaderName>,
    credentials: Credentials,
    clients: Clients,
}

/// What all response caches of a service have in common.
#[derive(Debug)]
pub struct ResponseCacheParts<'a> {
    /// Where responses lie.
    pub cache: Cache,
    /// The time.
    pub clock: Clock,
    /// Waits for refreshes that are under way when the process ends.
    pub lifecycle: Lifecycle,
    /// What the operator set.
    pub settings: &'a ResponseCacheSettings,
    /// The times of the classes of [`Ttl`], and how large a value may be.
    pub cache_settings: &'a CacheSettings,
    /// Longest time for a refresh in the background: that of a request.
    pub refresh_timeout: Duration,
}

struct Shared {
    cache: Cache,
    clock: Clock,
    lifecycle: Lifecycle,
    settings: ResponseCacheSettings,
    cache_settings: CacheSettings,
    refresh_timeout: Duration,
}

/// Finds out who asks: gives the request's head back, and the caller, or the answer to whoever is none.
type FindCaller =
    dyn Fn(Parts) -> Pin<Box<dyn Future<Output = (Parts, Result<String, Response>)> + Send>> + Send + Sync;

#[derive(Clone)]
enum Credentials {
    /// A request that has some goes past the cache.
    GoPast,
    /// They are taken away before the handler sees them.
    TakenAway,
    /// The key holds the caller.
    Caller(Arc<FindCaller>),
}

/// What clients and caches in front are told when the response says nothing.
#[derive(Debug, Clone, Copy)]
enum Clients {
    /// They may keep it, and ask each time whether it is still good.
    Ask,
    /// They may use it for that long without asking.
    Use(Duration),
}

/// The cache of one route.
pub(crate) struct CachedRoute {
    cache: ResponseCache,
    flights: Arc<Flights>,
    /// Whether `HEAD` has a handler of its own.
    own_head: bool,
    /// Whether the path has methods that change something, so that its responses bear the tag of their URI.
    path_changes: AtomicBool,
    /// What is said of responses that say nothing.
    cache_control: HeaderValue,
}

impl ResponseCache {
    /// Responses that are good for as long as this class of time says.
    pub fn new(parts: ResponseCacheParts<'_>, ttl: Ttl) -> Self {
        let times = parts.cache_settings;
        let lifetime = match ttl {
            Ttl::Session => times.session_ttl,
            Ttl::Response => times.response_ttl,
            Ttl::Query => times.query_ttl,
            Ttl::Static => times.static_ttl,
            Ttl::Of(time) => time,
        };
        Self {
            shared: Arc::new(Shared {
                cache: parts.cache,
                clock: parts.clock,
                lifecycle: parts.lifecycle,
                settings: parts.settings.clone(),
                cache_settings: times.clone(),
                refresh_timeout: parts.refresh_timeout,
            }),
            defaults: Defaults { lifetime: Some(lifetime), ..Defaults::default() },
            tags: Vec::new(),
            vary: Vec::new(),
            credentials: Credentials::GoPast,
            clients: Clients::Ask,
        }
    }

    /// Keeps only responses that say themselves how long they are good, by `Cache-Control` or `Expires`.
    pub fn only_as_told(mut self) -> Self {
        self.defaults.lifetime = None;
        self
    }

    /// Marks the responses, so that `cache.invalidate([tag])` ends them. `{id}` stands for that parameter of the path:
    /// `product:{id}`.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tags.push(TagTemplate::parse(tag));
        self
    }

    /// [`tag`](Self::tag) for several.
    pub fn tags<'a>(self, tags: impl IntoIterator<Item = &'a str>) -> Self {
        tags.into_iter().fold(self, Self::tag)
    }

    /// The responses are others for other values of this request header; they say so by `Vary`. A handler that says it
    /// by `Vary` alone is understood too, at the price of a second look into the cache.
    ///
    /// # Panics
    /// When the name cannot be that of a header.
    pub fn vary(mut self, header: &str) -> Self {
        let name = HeaderName::try_from(header).unwrap_or_else(|error| panic!("{header:?}: {error}"));
        if !self.vary.contains(&name) {
            self.vary.push(name);
            self.vary.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        }
        self
    }

    /// After their time, responses are given out for this long while they are made anew in the background.
    pub fn stale_while_revalidate(mut self, time: Duration) -> Self {
        self.defaults.stale_while_revalidate = time;
        self
    }

    /// After their time, responses are given out for this long when the handler fails with a 5xx or panics.
    pub fn stale_if_error(mut self, time: Duration) -> Self {
        self.defaults.stale_if_error = time;
        self
    }

    /// Tells clients, and caches in front, to use a response for this long without asking. What has been invalidated
    /// here is then still in use there. Without it they are told `no-cache`: they ask each time, and hear 304 from
    /// here.
    pub fn clients_keep(mut self, time: Duration) -> Self {
        self.clients = Clients::Use(time);
        self
    }

    /// Each caller has responses of their own. Who asks is found by an extractor, before the cache is looked into:
    /// whoever it refuses hears what it says, and the key holds what `caller` makes of it. It must be all that the
    /// response depends on.
    ///
    /// ```ignore
    /// cache.per_caller(api.clone(), |caller: &Caller| caller.user_id)
    /// ```
    pub fn per_caller<E, S, K>(mut self, state: S, caller: impl Fn(&E) -> K + Send + Sync + 'static) -> Self
    where
        E: FromRequestParts<S> + Send + 'static,
        S: Clone + Send + Sync + 'static,
        K: Display,
    {
        let caller = Arc::new(caller);
        let find = move |mut parts: Parts| {
            let (state, caller) = (state.clone(), Arc::clone(&caller));
            Box::pin(async move {
                let found = match E::from_request_parts(&mut parts, &state).await {
                    Ok(found) => Ok(caller(&found).to_string()),
                    Err(refusal) => Err(refusal.into_response()),
                };
                (parts, found)
            }) as Pin<Box<dyn Future<Output = _> + Send>>
        };
        self.credentials = Credentials::Caller(Arc::new(find));
        self.defaults.per_caller = true;
        self
    }

    /// Requests with `Cookie` or `Authorization` are served from the cache too, and the handler does not see these
    /// headers: so no response can depend on them. For what is the same for everybody.
    pub fn without_credentials(mut self) -> Self {
        self.credentials = Credentials::TakenAway;
        self.defaults.per_caller = false;
        self
    }

    /// The cache of one route.
    pub(crate) fn for_route(self, own_head: bool) -> Arc<CachedRoute> {
        let scope = if self.defaults.per_caller { "private" } else { "public" };
        let cache_control = match self.clients {
            Clients::Ask if self.defaults.per_caller => HeaderValue::from_static("private, no-cache"),
            Clients::Ask => HeaderValue::from_static("no-cache"),
            // Words and digits.
            Clients::Use(time) => HeaderValue::try_from(format!("{scope}, max-age={}", time.as_secs()))
                .unwrap_or_else(|_| HeaderValue::from_static("no-cache")),
        };
        Arc::new(CachedRoute {
            flights: Flights::new(self.shared.clock.clone()),
            cache: self,
            own_head,
            path_changes: AtomicBool::new(false),
            cache_control,
        })
    }
}

impl CachedRoute {
    /// Says under which path it is, and whether a method of that path may change something.
    ///
    /// # Errors
    /// When a tag names a parameter that the path does not have.
    pub(crate) fn join_path(&self, path: &str, changes: bool) -> Result<(), InvalidRoute> {
        if let Some(parameter) = self.cache.tags.iter().find_map(|tag| tag.unknown_parameter(path)) {
            return Err(InvalidRoute::UnknownParameter { path: path.to_owned(), parameter: parameter.to_owned() });
        }
        self.path_changes.fetch_or(changes, Ordering::Relaxed);
        Ok(())
    }

    fn settings(&self) -> &ResponseCacheSettings {
        &self.cache.shared.settings
    }

    /// Milliseconds since 1970-01-01 UTC.
    fn now(&self) -> u64 {
        self.cache.shared.clock.unix_millis()
    }
}

/// Whether a method changes nothing (RFC 9110 §9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCache")
            .field("defaults", &self.defaults)
            .field("tags", &self.tags)
            .field("vary", &self.vary)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CachedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedRoute").field("cache", &self.cache).finish_non_exhaustive()
    }
}
