//! Handlers of one path, by method.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::{self, MethodFilter, Route};
use http::Method;
use tower::{Layer, Service};

use super::around::{Around, AroundLayer};
use super::direct::Direct;
use super::stamp::{RouteStamp, Stamped};
use crate::access::{self, Access};
use crate::conditional::TaggedBodies;
use crate::rate_limit::RateLimit;
use crate::response_cache::{CachedRoute, ResponseCache, is_safe};

/// The handlers of one path. Made by [`get`], [`post`] and the like, and extended by the methods of the same names.
///
/// ```
/// use covet_http::{Router, routing::get};
///
/// async fn list() -> &'static str { "all" }
/// async fn create() -> &'static str { "one more" }
///
/// let router: Router = Router::new().route("/notes", get(list).post(create));
/// ```
#[derive(Clone)]
pub struct MethodRouter<S = ()> {
    pub(super) inner: routing::MethodRouter<S>,
    pub(super) methods: Vec<Method>,
    pub(super) stamp: &'static RouteStamp,
    /// Whether a layer stands before the handlers, which may answer without them.
    pub(super) layered: bool,
    /// Whether anything else may.
    pub(super) surrounded: bool,
    /// The cache of its responses, so that other methods of the path know what they make stale.
    pub(super) cache: Option<Arc<CachedRoute>>,
    /// The same handlers without axum around them; none when a layer stands before them.
    pub(super) direct: Vec<(Method, Direct<S>)>,
    /// What they say about limits.
    pub(super) limit: Option<RateLimit>,
    /// What they say about who may reach them.
    pub(super) access: access::Declared,
}

macro_rules! by_method {
    ($($name:ident $filter:ident $method:ident),*) => {
        $(
            #[doc = concat!("Serves `", stringify!($method), "` with `handler`.")]
            pub fn $name<H, T, S>(handler: H) -> MethodRouter<S>
            where
                H: Handler<T, S>,
                T: 'static,
                S: Clone + Send + Sync + 'static,
            {
                MethodRouter::new().$name(handler)
            }
        )*

        impl<S: Clone + Send + Sync + 'static> MethodRouter<S> {
            $(
                #[doc = concat!("Serves `", stringify!($method), "` with `handler` too.")]
                #[must_use]
                pub fn $name<H, T>(self, handler: H) -> Self
                where
                    H: Handler<T, S>,
                    T: 'static,
                {
                    self.add(Method::$method, MethodFilter::$filter, handler)
                }
            )*
        }
    };
}

by_method! {
    get GET GET,
    head HEAD HEAD,
    post POST POST,
    put PUT PUT,
    patch PATCH PATCH,
    delete DELETE DELETE,
    options OPTIONS OPTIONS
}

/// Serves every method with `handler`.
pub fn any<H, T, S>(handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let stamp = RouteStamp::new();
    let inner = routing::any(Stamped { handler, stamp });
    MethodRouter {
        inner,
        methods: Vec::new(),
        stamp,
        layered: false,
        surrounded: false,
        cache: None,
        direct: Vec::new(),
        limit: None,
        access: access::Declared::default(),
    }
}

/// Serves one method, known only at run time, with `handler`.
///
/// # Panics
/// When the method is none of HTTP's standard ones.
pub fn on<H, T, S>(method: Method, handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("a standard HTTP method");
    MethodRouter::new().add(method, filter, handler)
}

impl<S: Clone + Send + Sync + 'static> MethodRouter<S> {
    fn new() -> Self {
        Self {
            inner: routing::MethodRouter::new(),
            methods: Vec::new(),
            stamp: RouteStamp::new(),
            layered: false,
            surrounded: false,
            cache: None,
            direct: Vec::new(),
            limit: None,
            access: access::Declared::default(),
        }
    }

    fn add<H, T>(mut self, method: Method, filter: MethodFilter, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let handler = Stamped { handler, stamp: self.stamp };
        if !self.layered {
            self.direct.push((method.clone(), Direct::new(handler.clone())));
        }
        self.inner = self.inner.on(filter, handler);
        self.methods.push(method);
        self
    }

    /// Puts a tower layer before the handlers added so far.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Route> + Clone + Send + Sync + 'static,
        L::Service: Service<Request> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Response: IntoResponse + 'static,
        <L::Service as Service<Request>>::Error: Into<Infallible> + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
    {
        self.inner = self.inner.layer(layer);
        self.layered = true;
        self.direct.clear();
        self
    }

    /// How many requests a client may make of these handlers, all methods together, or what one counts for.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Who may reach these handlers, all methods of them: see [`access`](crate::access). It is checked before anything
    /// else of the route, whatever is added later.
    #[must_use]
    pub fn access(mut self, access: impl Into<Access>) -> Self {
        self.access.access = Some(access.into());
        self
    }

    /// Keeps the responses of the handlers added so far, as `cache` says: see
    /// [`response_cache`](crate::response_cache). Layers added later stand before it and see every request; layers
    /// added before see only what the cache does not answer. So what decides who may see the response is added later.
    ///
    /// ```
    /// # use covet_http::{Router, response_cache::ResponseCache, routing::get};
    /// # async fn catalogue() -> &'static str { "" }
    /// fn routes(cache: ResponseCache) -> Router {
    ///     Router::new().route("/catalogue", get(catalogue).cached(cache.tag("catalogue")))
    /// }
    /// ```
    #[must_use]
    pub fn cached(mut self, cache: ResponseCache) -> Self {
        let own_head = self.methods.contains(&Method::HEAD);
        let route = cache.for_route(own_head);
        self.cache = Some(Arc::clone(&route));
        self.surround(route)
    }

    /// Gives every answer to `GET` of the handlers added so far an `ETag` made of the body's bytes, unless it has one,
    /// and answers 304 to a client that has the same already. The handler runs all the same; what is saved is the way
    /// of the bytes. Bodies of unknown length or over 1 MiB are left as they are.
    #[must_use]
    pub fn etag(self) -> Self {
        self.surround(Arc::new(TaggedBodies))
    }

    /// Whether any of the methods may change something.
    pub(super) fn changes(&self) -> bool {
        self.methods.is_empty() || !self.methods.iter().all(is_safe)
    }

    /// Puts `around` around the handlers added so far.
    pub(super) fn surround(mut self, around: Arc<dyn Around>) -> Self {
        for (_, direct) in &mut self.direct {
            direct.surround(Arc::clone(&around), self.stamp);
        }
        self.inner = self.inner.layer(AroundLayer(around));
        self.surrounded = true;
        self
    }

    pub(super) fn with_state<S2>(self, state: S) -> MethodRouter<S2> {
        let direct = self.direct.into_iter().map(|(method, direct)| (method, direct.with_state(state.clone())));
        MethodRouter {
            direct: direct.collect(),
            inner: self.inner.with_state(state),
            methods: self.methods,
            stamp: self.stamp,
            layered: self.layered,
            limit: self.limit,
            access: self.access,
            surrounded: self.surrounded,
            cache: self.cache,
        }
    }
}

impl<S> std::fmt::Debug for MethodRouter<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MethodRouter").field("methods", &self.methods).finish_non_exhaustive()
    }
}
