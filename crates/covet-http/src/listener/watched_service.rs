//! A connection's requests as its timers see them: a request lasts from its head until the last byte of its answer has been
//! handed over, whoever answers it. Here is also where an answer says that the connection ends with it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::watch::ConnectionWatch;

/// A service whose requests the connection's timers know of.
pub(super) struct WatchedService<S> {
    service: S,
    watch: Arc<ConnectionWatch>,
}

impl<S> WatchedService<S> {
    pub(super) fn new(service: S, watch: Arc<ConnectionWatch>) -> Self {
        Self { service, watch }
    }
}

impl<S, B> Service<Request<Incoming>> for WatchedService<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = Infallible;
    type Future = WatchedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let open = OpenRequest::new(Arc::clone(&self.watch));
        WatchedFuture { future: self.service.call(request), open: Some(open) }
    }
}

/// A request without the end of its answer.
struct OpenRequest(Arc<ConnectionWatch>);

impl OpenRequest {
    fn new(watch: Arc<ConnectionWatch>) -> Self {
        watch.request_started();
        Self(watch)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.request_finished();
    }
}

pin_project! {
    /// An answer being made.
    pub(super) struct WatchedFuture<F> {
        #[pin]
        future: F,
        open: Option<OpenRequest>,
    }
}

impl<F, B> Future for WatchedFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<WatchedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.future.poll(context));
        let open = this.open.take();
        let ends = open.as_ref().is_some_and(|open| open.0.should_close() && open.0.is_http1());
        if ends && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| WatchedBody { body, open })))
    }
}

pin_project! {
    /// An answer's body. hyper drops it when it has taken the last byte.
    pub(super) struct WatchedBody<B> {
        #[pin]
        body: B,
        open: Option<OpenRequest>,
    }
}

impl<B: Body> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
