//! The short way to a handler that no layer stands before.
//!
//! axum's router makes a service of every handler and a list of the path's parameters in the request's extensions, for each
//! request. Here the path is looked up in the same kind of table (`matchit`), the handler is called, and parameters are no
//! more than places in the path ([`super::parameters`]). It saves a quarter of what Covet adds to raw hyper. Everything else
//! (layers, `HEAD`, a method that the path does not have) goes through axum's router, which has these routes too.

use std::any::{Any, type_name};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use http::Method;

use super::around::{Around, Next, Surrounded};
use super::parameters::{Matched, Names};
use super::stamp::RouteStamp;
use crate::rate_limit::RouteRules;

/// A handler at work.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler, as a function of the request and its state.
pub(crate) type Call<S> = dyn Fn(Request, S) -> Answering + Send + Sync;

/// A handler, ready to be called with its state.
pub(super) struct Direct<S> {
    call: Arc<Call<S>>,
    /// What may answer in its place, if anything.
    surrounded: Option<Surrounded>,
    /// Whether it may ask axum for the path's parameters, which only axum's router can give.
    may_ask_axum: bool,
}

impl<S> Clone for Direct<S> {
    fn clone(&self) -> Self {
        let Self { call, surrounded, may_ask_axum } = self;
        Self { call: Arc::clone(call), surrounded: surrounded.clone(), may_ask_axum: *may_ask_axum }
    }
}

impl<S: Clone + Send + Sync + 'static> Direct<S> {
    pub(super) fn new<H: Handler<T, S>, T: 'static>(handler: H) -> Self {
        Self {
            call: Arc::new(move |request, state| boxed(handler.clone().call(request, state))),
            surrounded: None,
            may_ask_axum: !extractors_are_known(type_name::<T>()),
        }
    }

    /// Puts `around` around the handler and what is around it already.
    pub(super) fn surround(&mut self, around: Arc<dyn Around>, stamp: &'static RouteStamp) {
        let inner = self.surrounded.iter().flat_map(|surrounded| surrounded.around.iter().cloned());
        let around = inner.chain([around]).collect();
        self.surrounded = Some(Surrounded { stamp, around });
    }

    pub(super) fn with_state<S2>(self, state: S) -> Direct<S2> {
        let Self { call, surrounded, may_ask_axum } = self;
        Direct { call: Arc::new(move |request, _| call(request, state.clone())), surrounded, may_ask_axum }
    }
}

/// The future of a plain function is in a box already.
fn boxed<F: Future<Output = Response> + Send + 'static>(future: F) -> Answering {
    let mut future = Some(future);
    let boxed = (&mut future as &mut dyn Any).downcast_mut::<Option<Answering>>().and_then(Option::take);
    match (boxed, future) {
        (Some(boxed), _) => boxed,
        (None, Some(future)) => Box::pin(future),
        (None, None) => unreachable!("it was either taken or left"),
    }
}

/// Few methods a path: a list is looked through faster than a table.
pub(super) type ByMethod = Vec<(Method, Direct<()>)>;

/// The handlers that can be called directly, by path.
#[derive(Clone, Default)]
pub(crate) struct DirectRoutes {
    table: Arc<matchit::Router<Path>>,
    /// Whether a route has limits of its own.
    have_rules: bool,
}

struct Path {
    names: Names,
    handlers: ByMethod,
    declared: Vec<Declared>,
}

/// Handlers of a path that were declared together.
pub(crate) struct Declared {
    /// None for all that no other has.
    pub(super) methods: Vec<Method>,
    pub(crate) stamp: &'static RouteStamp,
    /// Their own limits.
    pub(crate) rules: Option<&'static RouteRules>,
}

/// A path of the table that a request means.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    path: &'a Path,
    /// Where its parameters are, if it has any; `None` when that cannot be told.
    matched: Option<Option<Matched>>,
}

impl DirectRoutes {
    /// All paths, also those without such a handler: which path a request means must be decided as axum's router does.
    pub(super) fn new(paths: impl IntoIterator<Item = (String, ByMethod, Vec<Declared>)>) -> Self {
        let mut table = matchit::Router::new();
        let mut have_rules = false;
        for (path, mut handlers, declared) in paths {
            let names = Names::of(&path);
            handlers.retain(|(_, handler)| names.is_empty() || (names.are_few() && !handler.may_ask_axum));
            have_rules |= declared.iter().any(|declared| declared.rules.is_some());
            // axum's router, which has them too, has refused a path that is none.
            let _ = table.insert(path, Path { names, handlers, declared });
        }
        Self { table: Arc::new(table), have_rules }
    }

    /// Whether a route has limits of its own, so that the route must be known before they are asked.
    pub(crate) fn have_rules(&self) -> bool {
        self.have_rules
    }

    /// Looks a path up.
    pub(crate) fn find(&self, path: &str) -> Option<Found<'_>> {
        let found = self.table.at(path).ok()?;
        let names = found.value.names;
        let matched = match names.is_empty() {
            true => Some(None),
            false => Matched::new(names, path, &found.params).map(Some),
        };
        Some(Found { path: found.value, matched })
    }
}

impl<'a> Found<'a> {
    /// Calls the handler for the method; gives the request back when there is none.
    #[expect(clippy::result_large_err, reason = "the request is not an error; a box would cost every request")]
    pub(crate) fn call(self, request: Request) -> Result<(Answering, Option<Matched>), Request> {
        let mut handlers = self.path.handlers.iter();
        let (Some((_, handler)), Some(matched)) =
            (handlers.find(|(method, _)| method == request.method()), self.matched)
        else {
            return Err(request);
        };
        let answering = match &handler.surrounded {
            None => (handler.call)(request, ()),
            Some(Surrounded { stamp, around }) => {
                stamp.mark(request.method());
                Next::direct(Arc::clone(around), Arc::clone(&handler.call)).call(request)
            }
        };
        Ok((answering, matched))
    }

    /// What was declared for the method, as axum's router chooses it.
    pub(crate) fn declared(self, method: &Method) -> Option<&'a Declared> {
        let of = |method: &Method| self.path.declared.iter().find(|declared| declared.methods.contains(method));
        let of_get = || if method == Method::HEAD { of(&Method::GET) } else { None };
        of(method).or_else(of_get).or_else(|| self.path.declared.iter().find(|declared| declared.methods.is_empty()))
    }
}

/// Extractors that never ask for axum's list of path parameters, as `type_name` writes them. It promises no form; an extractor
/// that is not recognised costs time, nothing else.
const KNOWN: [&str; 15] = [
    "axum_core::extract::private::Via",
    "axum::extract::state::State<",
    "axum::extract::query::Query<",
    "axum::extract::ws::WebSocketUpgrade",
    "axum::extension::Extension<",
    "axum::form::Form<",
    "axum::json::Json<",
    "axum_core::body::Body",
    "alloc::string::String",
    "bytes::bytes::Bytes",
    "http::header::map::HeaderMap",
    "http::method::Method",
    "http::uri::Uri",
    "covet_http::extract::",
    "covet_identity::",
];

/// Whether each extractor of a handler, given as the name of their tuple, is a known one.
fn extractors_are_known(tuple: &str) -> bool {
    let Some(inside) = tuple.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return false };
    let mut depth = 0_u32;
    let outside_generics = |char: char| {
        match char {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && char == ','
    };
    let mut types = inside.split(outside_generics).map(str::trim).filter(|name| !name.is_empty());
    types.all(|name| name == "()" || KNOWN.iter().any(|known| name.starts_with(known)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::extract::{Path as AxumPath, RawPathParams, State};
    use http::{HeaderMap, Uri};

    use super::*;
    use crate::{Json, Path, Query};

    struct Own;

    impl<S: Sync> axum::extract::FromRequestParts<S> for Own {
        type Rejection = std::convert::Infallible;

        async fn from_request_parts(_: &mut http::request::Parts, _: &S) -> Result<Self, Self::Rejection> {
            Ok(Self)
        }
    }

    fn is_direct<H: Handler<T, u8>, T: 'static>(handler: H) -> bool {
        !Direct::new(handler).may_ask_axum
    }

    #[test]
    fn covets_extractors_and_the_usual_ones_of_axum_go_the_short_way() {
        assert!(is_direct(async || ""));
        assert!(is_direct(async |_: Path<u64>| ""));
        assert!(is_direct(async |_: State<u8>, _: Path<(u64, String)>, _: Query<HashMap<String, (u8, u8)>>| ""));
        assert!(is_direct(async |_: HeaderMap, _: Method, _: Uri, _: Path<u64>, _: Json<Vec<(u8, u8)>>| ""));
        assert!(is_direct(async |_: Path<u64>, _: bytes::Bytes| ""));
    }

    #[test]
    fn whatever_may_ask_axum_for_parameters_does_not() {
        assert!(!is_direct(async |_: AxumPath<u64>| ""));
        assert!(!is_direct(async |_: State<u8>, _: AxumPath<u64>| ""));
        assert!(!is_direct(async |_: RawPathParams| ""));
        assert!(!is_direct(async |_: Request| ""));
        assert!(!is_direct(async |_: Own| ""), "nobody knows what it asks");
        assert!(!is_direct(async |_: Option<AxumPath<u64>>| ""));
    }
}
