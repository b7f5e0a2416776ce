//! The table of routes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::Route;
use http::{Method, StatusCode};
use tower::{Layer, Service};

use super::description::{Described, Description, Descriptions};
use super::direct::{Declared, DirectRoutes};
use super::documented::Documented;
use super::method::MethodRouter;
use super::stamp::StampLayer;
use crate::Error;
use crate::access::{self, Access, AccessControl, InvalidAccess};
use crate::metrics::HttpMetrics;
use crate::rate_limit::RateLimit;
use crate::response_cache::{Invalidating, ResponseCache};

/// Routes and their handlers.
///
/// Unlike axum's, a nested router sees the whole path, and a layer is put before the routes added so far but never
/// before the answer to a path that no route has.
///
/// ```
/// use covet_http::{Router, routing::get};
///
/// let notes = Router::new().route("/", get(|| async { "all" })).route("/{id}", get(|| async { "one" }));
/// let api: Router = Router::new().nest("/api/notes", notes);
/// let paths: Vec<_> = api.table().into_iter().map(|route| route.path).collect();
/// assert_eq!(paths, ["/api/notes", "/api/notes/{id}"]);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Router<S = ()> {
    entries: Vec<Entry<S>>,
}

#[derive(Clone)]
struct Entry<S> {
    path: String,
    router: MethodRouter<S>,
    description: Option<Description>,
}

/// One line of the table of routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// Path with its parameters, such as `/api/notes/{id}`.
    pub path: String,
    /// Methods, in the order of declaration; empty for all.
    pub methods: Vec<Method>,
    /// What OpenAPI says it does.
    pub summary: Option<String>,
    /// Its own rate limit, such as `5 a minute by address`.
    pub limit: Option<String>,
    /// Who may reach it; `None` where it does not say.
    pub access: Option<Access>,
}

/// Two handlers for one path and method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {path} is declared twice; remove one of the two handlers")]
pub struct DuplicateRoute {
    method: String,
    path: String,
}

/// Why a table of routes cannot be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoute {
    /// Two handlers for one path and method.
    #[error(transparent)]
    Duplicate(#[from] DuplicateRoute),
    /// What the routes say about access does not fit.
    #[error(transparent)]
    Access(#[from] InvalidAccess),
    /// A tag of cached responses names a parameter that the path does not have.
    #[error(
        "{path}: the cache's tag names the parameter {{{parameter}}}, which the path does not have; without its tag a \
         response could not be invalidated"
    )]
    UnknownParameter {
        /// The route.
        path: String,
        /// The parameter.
        parameter: String,
    },
}

/// A finished table: what the pipeline hands requests to.
#[derive(Clone)]
pub struct Routes {
    pub(crate) router: axum::Router,
    pub(crate) direct: DirectRoutes,
}

impl<S: Clone + Send + Sync + 'static> Default for Router<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Router<S> {
    /// A router without routes.
    pub fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Serves `path` with the handlers of `methods`. Parameters are written `{id}`, the rest of a path `{*rest}`.
    pub fn route(mut self, path: &str, methods: MethodRouter<S>) -> Self {
        self.entries.push(Entry { path: path.to_owned(), router: methods, description: None });
        self
    }

    /// Serves handlers that carry their own path and description: `routes![list, create]`.
    pub fn routes(mut self, handlers: impl IntoIterator<Item = Documented<S>>) -> Self {
        self.entries.extend(handlers.into_iter().map(|handler| Entry {
            path: handler.path,
            router: handler.router,
            description: Some(handler.description),
        }));
        self
    }

    /// Adds the routes of `other` under `prefix`. Its `/` becomes the prefix itself.
    pub fn nest(mut self, prefix: &str, other: Self) -> Self {
        let prefix = prefix.trim_end_matches('/');
        self.entries.extend(other.entries.into_iter().map(|entry| {
            let path = if entry.path == "/" { prefix.to_owned() } else { format!("{prefix}{}", entry.path) };
            Entry { path, ..entry }
        }));
        self
    }

    /// Adds the routes of `other`.
    pub fn merge(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self
    }

    /// Puts a tower layer before every route added so far.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        for entry in &mut self.entries {
            entry.router = entry.router.clone().layer(layer.clone());
        }
        self
    }

    /// Gives every route added so far that has no rate limit of its own this one. Each route counts by itself.
    #[expect(clippy::needless_pass_by_value, reason = "declared in place, as a layer is")]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        for entry in &mut self.entries {
            entry.router.limit.get_or_insert_with(|| limit.clone());
        }
        self
    }

    /// Says of every route added so far that has not said it itself who may reach it: see [`access`](crate::access).
    pub fn access(mut self, access: impl Into<Access>) -> Self {
        let access = access.into();
        for entry in &mut self.entries {
            entry.router.access.access.get_or_insert(access);
        }
        self
    }

    /// Has every route added so far that is not for everybody checked by `control`, before its cache, its layers and its
    /// handler, also those that are added later. From then on every route of the service has to say who may reach it;
    /// one that does not is an error of [`finish`](Router::finish).
    pub fn access_control(mut self, control: impl AccessControl) -> Self {
        let control: Arc<dyn AccessControl> = Arc::new(control);
        for entry in &mut self.entries {
            entry.router.access.control.get_or_insert_with(|| Arc::clone(&control));
        }
        self
    }

    /// Whether the routes and their access control fit together; [`finish`](Router::finish) asks it too.
    ///
    /// # Errors
    /// [`InvalidAccess`] names the routes.
    pub fn check_access(&self) -> Result<(), InvalidAccess> {
        access::validate(self.entries.iter().map(|entry| (entry.name(), &entry.router.access)))
    }

    /// Keeps the responses of every route added so far, as `cache` says:
    /// [`MethodRouter::cached`](crate::routing::MethodRouter::cached).
    pub fn cached(mut self, cache: &ResponseCache) -> Self {
        for entry in &mut self.entries {
            entry.router = entry.router.clone().cached(cache.clone());
        }
        self
    }

    /// Gives every answer to `GET` of the routes added so far an `ETag`:
    /// [`MethodRouter::etag`](crate::routing::MethodRouter::etag).
    pub fn etag(mut self) -> Self {
        for entry in &mut self.entries {
            entry.router = entry.router.clone().etag();
        }
        self
    }

    /// Gives the handlers their state.
    pub fn with_state<S2>(self, state: S) -> Router<S2> {
        let entries = self.entries.into_iter().map(|entry| Entry {
            path: entry.path,
            router: entry.router.with_state(state.clone()),
            description: entry.description,
        });
        Router { entries: entries.collect() }
    }

    /// The table, in the order of declaration.
    pub fn table(&self) -> Vec<RouteInfo> {
        let line = |entry: &Entry<S>| RouteInfo {
            path: entry.path.clone(),
            methods: entry.router.methods.clone(),
            summary: entry.description.and_then(Description::summary),
            limit: entry.router.limit.as_ref().map(ToString::to_string),
            access: entry.router.access.access,
        };
        self.entries.iter().map(line).collect()
    }

    /// What its described routes say of themselves, for OpenAPI.
    #[must_use]
    pub fn descriptions(&self) -> Descriptions {
        Descriptions::new(self.entries.iter().filter_map(|entry| {
            Some(Described {
                path: entry.path.clone(),
                limit: entry.router.limit.as_ref().and_then(RateLimit::description),
                access: entry.router.access.clone(),
                description: entry.description?,
            })
        }))
    }
}

impl<S> Entry<S> {
    /// Methods and path, as in `GET /api/notes`.
    fn name(&self) -> String {
        let methods: String = self.router.methods.iter().map(|method| format!("{method} ")).collect();
        format!("{}{}", if methods.is_empty() { "ANY " } else { &methods }, self.path)
    }
}

impl Router<()> {
    /// Finishes the table: every route gets its slots in `metrics`; a path or a method that no route has is
    /// answered with a problem.
    ///
    /// # Errors
    /// When a path and method has two handlers, the tag of a cache names a parameter that its path does not have, or a
    /// route does not say who may reach it, though others are checked.
    pub fn finish(self, metrics: &HttpMetrics) -> Result<Routes, InvalidRoute> {
        self.check_access()?;
        let mut by_path: BTreeMap<String, Vec<MethodRouter>> = BTreeMap::new();
        for entry in self.entries {
            by_path.entry(entry.path).or_default().push(entry.router);
        }
        let mut router = axum::Router::new();
        let mut short_ways = Vec::new();
        for (path, parts) in by_path {
            let mut methods: Vec<Method> = Vec::new();
            let mut merged = axum::routing::MethodRouter::new();
            let mut any = false;
            let mut direct = Vec::new();
            let slots = metrics.route(&path);
            let caches: Vec<_> = parts.iter().filter_map(|part| part.cache.clone()).collect();
            let changes = parts.iter().any(MethodRouter::changes);
            for cache in &caches {
                cache.join_path(&path, changes)?;
            }
            let mut declared = Vec::new();
            for mut part in parts {
                if let (Some(cache), None) = (caches.first(), &part.cache) {
                    part = part.surround(Arc::new(Invalidating(Arc::clone(cache))));
                }
                // Last, so that it stands before everything else of the route.
                if let Some(guard) = part.access.guard() {
                    part = part.surround(guard);
                }
                let twice = part.methods.iter().find(|method| methods.contains(method));
                if let Some(method) = twice {
                    return Err(DuplicateRoute { method: method.to_string(), path }.into());
                }
                if part.methods.is_empty() && any {
                    return Err(DuplicateRoute { method: "any method".to_owned(), path }.into());
                }
                any |= part.methods.is_empty();
                let rules = part.limit.as_ref().map(|limit| limit.resolve(&part.methods, &path));
                declared.push(Declared { methods: part.methods.clone(), stamp: part.stamp, rules });
                methods.extend(part.methods);
                direct.extend(part.direct);
                part.stamp.assign(slots.clone());
                let handlers =
                    if part.layered || part.surrounded { part.inner.layer(StampLayer(part.stamp)) } else { part.inner };
                merged = merged.merge(handlers);
            }
            slots.declare(&methods);
            if !any {
                let stamp = super::RouteStamp::new();
                stamp.assign(slots);
                declared.push(Declared { methods: Vec::new(), stamp, rules: None });
                merged = merged.fallback(super::stamp::Stamped { handler: method_not_allowed, stamp });
            }
            router = router.route(&path, merged);
            short_ways.push((path, direct, declared));
        }
        // With its state given, the router's handlers are made services now and not at every request.
        Ok(Routes { router: router.fallback(not_found).with_state(()), direct: DirectRoutes::new(short_ways) })
    }
}

async fn not_found() -> Error {
    Error::not_found().detail("No route has this path.")
}

async fn method_not_allowed() -> Error {
    Error::status(StatusCode::METHOD_NOT_ALLOWED).detail("This path has other methods; the Allow header lists them.")
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.entries.iter().map(|entry| (&entry.path, &entry.router.methods));
        f.debug_map().entries(lines).finish()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").finish_non_exhaustive()
    }
}
