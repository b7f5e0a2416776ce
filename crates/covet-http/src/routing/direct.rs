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

use super::parameters::{Matched, Names};

/// A handler at work.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler, ready to be called with its state.
pub(super) struct Direct<S> {
    call: Arc<dyn Fn(Request, S) -> Answering + Send + Sync>,
    /// Whether it may ask axum for the path's parameters, which only axum's router can give.
    may_ask_axum: bool,
}

impl<S> Clone for Direct<S> {
    fn clone(&self) -> Self {
        Self { call: Arc::clone(&self.call), may_ask_axum: self.may_ask_axum }
    }
}

impl<S: Clone + Send + Sync + 'static> Direct<S> {
    pub(super) fn new<H: Handler<T, S>, T: 'static>(handler: H) -> Self {
        Self {
            call: Arc::new(move |request, state| boxed(handler.clone().call(request, state))),
            may_ask_axum: !extractors_are_known(type_name::<T>()),
        }
    }

    pub(super) fn with_state<S2>(self, state: S) -> Direct<S2> {
        let Self { call, may_ask_axum } = self;
        Direct { call: Arc::new(move |request, _| call(request, state.clone())), may_ask_axum }
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
pub(crate) struct DirectRoutes(Arc<matchit::Router<Path>>);

struct Path {
    names: Names,
    handlers: ByMethod,
}

impl DirectRoutes {
    /// All paths, also those without such a handler: which path a request means must be decided as axum's router does.
    pub(super) fn new(paths: impl IntoIterator<Item = (String, ByMethod)>) -> Self {
        let mut table = matchit::Router::new();
        for (path, mut handlers) in paths {
            let names = Names::of(&path);
            handlers.retain(|(_, handler)| names.is_empty() || (names.are_few() && !handler.may_ask_axum));
            // axum's router, which has them too, has refused a path that is none.
            let _ = table.insert(path, Path { names, handlers });
        }
        Self(Arc::new(table))
    }

    /// Calls the handler for this path and method; gives the request back when there is none.
    #[expect(clippy::result_large_err, reason = "the request is not an error; a box would cost every request")]
    pub(crate) fn call(&self, request: Request) -> Result<(Answering, Option<Matched>), Request> {
        let path = request.uri().path();
        let Ok(found) = self.0.at(path) else { return Err(request) };
        let by_method = &found.value.handlers;
        let Some((_, handler)) = by_method.iter().find(|(method, _)| method == request.method()) else {
            return Err(request);
        };
        let matched = match found.value.names.is_empty() {
            true => None,
            false => match Matched::new(found.value.names, path, &found.params) {
                Some(matched) => Some(matched),
                None => return Err(request),
            },
        };
        Ok(((handler.call)(request, ()), matched))
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
