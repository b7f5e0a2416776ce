//! The future of one request: wait for a place if need be, run the routes under timeout and panic guard, respond.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use covet_telemetry::request::{self, RequestScope};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tower::Service;

use super::admission::{self, Admission};
use super::exchange::Exchange;
use super::{panic, too_late};
use crate::routing::Answering;
use crate::routing::parameters::{self, Matched};

pin_project! {
    /// A request on its way through the pipeline.
    pub struct PipelineFuture {
        #[pin]
        stage: Stage,
        scope: Option<Arc<RequestScope>>,
        exchange: Option<Exchange>,
        // Armed only when the handler does not answer at once.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

pin_project! {
    #[project = StageProjection]
    pub(super) enum Stage {
        Answered { response: Option<Response> },
        Queued { place: Pin<Box<dyn Future<Output = bool> + Send>>, waiting: Option<(Request<Body>, axum::Router)> },
        Running { #[pin] future: Handling },
    }
}

pin_project! {
    /// A handler at work, called by itself or through axum's router.
    #[project = HandlingProjection]
    pub(super) enum Handling {
        Direct { future: Answering, matched: Option<Matched> },
        Routed { #[pin] future: RouteFuture<Infallible> },
    }
}

impl Future for Handling {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            HandlingProjection::Direct { future, matched } => {
                parameters::with(*matched, || future.as_mut().poll(context))
            }
            HandlingProjection::Routed { future } => future.poll(context).map(|Ok(response)| response),
        }
    }
}

impl Stage {
    pub(super) fn answered(response: Response) -> Self {
        Self::Answered { response: Some(response) }
    }

    pub(super) fn queued(admission: Arc<Admission>, request: Request<Body>, router: axum::Router) -> Self {
        Self::Queued { place: Box::pin(admission.enter()), waiting: Some((request, router)) }
    }
}

impl PipelineFuture {
    pub(super) fn new(stage: Stage, scope: Arc<RequestScope>, exchange: Exchange) -> Self {
        Self { stage, scope: Some(scope), exchange: Some(exchange), timer: None }
    }
}

impl Future for PipelineFuture {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let response = loop {
            match this.stage.as_mut().project() {
                StageProjection::Answered { response } => break response.take().unwrap_or_default(),
                StageProjection::Queued { place, waiting } => {
                    let has_place = ready!(place.as_mut().poll(context));
                    let next = match waiting.take() {
                        Some((request, mut router)) if has_place => {
                            if let Some(exchange) = this.exchange.as_mut() {
                                exchange.admitted = true;
                            }
                            let future = request::enter(this.scope, || router.call(request));
                            Stage::Running { future: Handling::Routed { future } }
                        }
                        _ => Stage::answered(request::enter(this.scope, admission::shed)),
                    };
                    this.stage.set(next);
                }
                StageProjection::Running { future } => {
                    let polled = request::enter(this.scope, || {
                        panic::catch(|| future.poll(context))
                            .unwrap_or_else(|payload| Poll::Ready(panic::answer(&*payload)))
                    });
                    if let Poll::Ready(response) = polled {
                        break response;
                    }
                    let Some(exchange) = this.exchange.as_ref() else { return Poll::Pending };
                    let limit = exchange.pipeline.request_timeout;
                    let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                    ready!(timer.as_mut().poll(context));
                    let awaits_body = exchange.awaits_body();
                    let late = request::enter(this.scope, || too_late(limit, awaits_body));
                    this.stage.set(Stage::answered(late));
                }
            }
        };
        let response = match this.exchange.take() {
            Some(exchange) => request::enter(this.scope, || exchange.respond(response)),
            None => response,
        };
        Poll::Ready(Ok(response))
    }
}
