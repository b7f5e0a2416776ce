//! What stands around the handlers of a route and may answer in their place: the response cache, entity tags.
//!
//! A tower layer could do it, and on the long way, through axum's router, one does. But a route with a layer never goes
//! the [short way](super::direct), and an answer from the cache should cost no more than the handler that it spares.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use tower::{Layer, Service};

use super::direct::{Answering, Call};
use super::stamp::RouteStamp;

/// Stands around handlers.
pub(crate) trait Around: Send + Sync + 'static {
    /// Answers, itself or by calling `next`.
    fn answer(self: Arc<Self>, request: Request, next: Next) -> Answering;
}

/// The rest of the way to the handler.
pub(crate) struct Next(Way);

enum Way {
    /// What stands around the handler, from the innermost, how many of them are still to be asked, and the handler.
    Direct {
        around: Arc<[Arc<dyn Around>]>,
        left: usize,
        call: Arc<Call<()>>,
    },
    Routed(Route),
}

impl Next {
    pub(super) fn direct(around: Arc<[Arc<dyn Around>]>, call: Arc<Call<()>>) -> Self {
        Self(Way::Direct { left: around.len(), around, call })
    }

    /// Goes on.
    pub(crate) fn call(self, request: Request) -> Answering {
        match self.0 {
            Way::Direct { around, left, call } => match left.checked_sub(1) {
                Some(left) => {
                    let outermost = Arc::clone(&around[left]);
                    outermost.answer(request, Self(Way::Direct { around, left, call }))
                }
                None => call(request, ()),
            },
            Way::Routed(mut route) => {
                let future = route.call(request);
                Box::pin(async move {
                    match future.await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    }
                })
            }
        }
    }
}

/// What stands around one handler on the short way, and who the handler is.
#[derive(Clone)]
pub(super) struct Surrounded {
    pub(super) stamp: &'static RouteStamp,
    /// From the innermost.
    pub(super) around: Arc<[Arc<dyn Around>]>,
}

/// The same on the long way.
#[derive(Clone)]
pub(super) struct AroundLayer(pub(super) Arc<dyn Around>);

#[derive(Clone)]
pub(super) struct AroundService {
    around: Arc<dyn Around>,
    inner: Route,
}

pub(super) struct AroundFuture(Answering);

impl Layer<Route> for AroundLayer {
    type Service = AroundService;

    fn layer(&self, inner: Route) -> AroundService {
        AroundService { around: Arc::clone(&self.0), inner }
    }
}

impl Service<Request> for AroundService {
    type Response = Response;
    type Error = Infallible;
    type Future = AroundFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> AroundFuture {
        AroundFuture(Arc::clone(&self.around).answer(request, Next(Way::Routed(self.inner.clone()))))
    }
}

impl Future for AroundFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map(Ok)
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Way::Direct { .. } => "Next::Direct",
            Way::Routed(_) => "Next::Routed",
        })
    }
}
