//! A short way to handlers whose path has no parameters.
//!
//! axum's router makes a list of path parameters for every request, also an empty one, and a service of every handler.
//! Where the path is a plain text and no layer stands before the handler, none of that is needed: look the path up, call
//! the handler. It saves about a fifth of what Covet adds to raw hyper. Everything else (parameters, layers, `HEAD`, a
//! method that the path does not have) goes through axum's router, which has these routes too.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::handler::Handler;
use axum::response::Response;
use http::Method;

/// A handler at work.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler, ready to be called with its state.
pub(super) struct Direct<S>(Arc<dyn Fn(Request, S) -> Answering + Send + Sync>);

impl<S> Clone for Direct<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Clone + Send + Sync + 'static> Direct<S> {
    pub(super) fn new<H: Handler<T, S>, T: 'static>(handler: H) -> Self {
        Self(Arc::new(move |request, state| Box::pin(handler.clone().call(request, state))))
    }

    pub(super) fn with_state<S2>(self, state: S) -> Direct<S2> {
        Direct(Arc::new(move |request, _| (self.0)(request, state.clone())))
    }
}

/// The handlers of plain paths.
#[derive(Clone, Default)]
pub(crate) struct Literals(Arc<ByPath>);

/// Few methods a path: a list is looked through faster than a table.
pub(super) type ByPath = HashMap<String, Vec<(Method, Direct<()>)>>;

impl Literals {
    pub(super) fn new(handlers: ByPath) -> Self {
        Self(Arc::new(handlers))
    }

    /// Calls the handler for this path and method; gives the request back when there is none.
    #[expect(clippy::result_large_err, reason = "the request is not an error; a box would cost every request")]
    pub(crate) fn call(&self, request: Request) -> Result<Answering, Request> {
        let by_method = self.0.get(request.uri().path());
        match by_method.and_then(|handlers| handlers.iter().find(|(method, _)| method == request.method())) {
            Some((_, handler)) => Ok((handler.0)(request, ())),
            None => Err(request),
        }
    }
}

/// Whether a path is a plain text to axum's router.
pub(super) fn is_literal(path: &str) -> bool {
    !path.contains(['{', '}'])
}
