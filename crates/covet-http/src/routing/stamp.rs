//! How a request learns which route serves it.
//!
//! axum could put the matched path into every request's extensions; that costs an allocation and a lookup. Here
//! the handler itself carries a [`RouteStamp`] and sets the route's number in the request's scope.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::handler::Handler;
use covet_telemetry::request;
use tower::{Layer, Service};

use crate::metrics::RouteMetrics;

/// A route's identity, filled in when the router is finished. Lives as long as the program, as routes do.
#[derive(Debug, Default)]
pub struct RouteStamp {
    metrics: OnceLock<Arc<RouteMetrics>>,
}

impl RouteStamp {
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::default())
    }

    pub(crate) fn assign(&self, metrics: Arc<RouteMetrics>) {
        // A router finished twice keeps its first slots: they name the same path.
        let _ = self.metrics.set(metrics);
    }

    /// Tells the request at hand that this route serves it.
    pub(crate) fn mark(&self, method: &http::Method) {
        let Some(metrics) = self.metrics.get() else { return };
        request::current(|scope| {
            if scope.route().is_none() {
                scope.set_route(metrics.index());
                metrics.started(method);
            }
        });
    }
}

/// A handler that marks the request before it runs.
#[derive(Clone)]
pub(crate) struct Stamped<H> {
    pub(crate) handler: H,
    pub(crate) stamp: &'static RouteStamp,
}

impl<H: Handler<T, S>, T, S> Handler<T, S> for Stamped<H> {
    type Future = H::Future;

    fn call(self, request: Request, state: S) -> Self::Future {
        self.stamp.mark(request.method());
        self.handler.call(request, state)
    }
}

/// Marks the request before other layers see it: for routes whose layers may answer without the handler.
#[derive(Clone)]
pub(crate) struct StampLayer(pub(crate) &'static RouteStamp);

#[derive(Clone)]
pub(crate) struct StampService<S> {
    inner: S,
    stamp: &'static RouteStamp,
}

impl<S> Layer<S> for StampLayer {
    type Service = StampService<S>;

    fn layer(&self, inner: S) -> StampService<S> {
        StampService { inner, stamp: self.0 }
    }
}

impl<S: Service<Request>> Service<Request> for StampService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.stamp.mark(request.method());
        self.inner.call(request)
    }
}
