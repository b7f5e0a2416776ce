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
        Queued { waiting: Option<Box<Waiting>> },
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

/// A request without a place, and what serves it when it gets one. In a box: most requests never wait.
pub(super) struct Waiting {
    place: Pin<Box<dyn Future<Output = bool> + Send>>,
    request: Request<Body>,
    router: axum::Router,
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
        let place = Box::pin(admission.enter());
        Self::Queued { waiting: Some(Box::new(Waiting { place, request, router })) }
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
        let this = self.project();
        let (mut stage, exchange, timer) = (this.stage, this.exchange, this.timer);
        request::enter(this.scope, || {
            let response = loop {
                match stage.as_mut().project() {
                    StageProjection::Answered { response } => break response.take().unwrap_or_default(),
                    StageProjection::Queued { waiting } => {
                        let has_place = match waiting {
                            Some(waiting) => ready!(waiting.place.as_mut().poll(context)),
                            None => false,
                        };
                        let next = match waiting.take() {
                            Some(mut waiting) if has_place => {
                                if let Some(exchange) = exchange.as_mut() {
                                    exchange.admitted = true;
                                }
                                let future = waiting.router.call(waiting.request);
                                Stage::Running { future: Handling::Routed { future } }
                            }
                            _ => Stage::answered(admission::shed()),
                        };
                        stage.set(next);
                    }
                    StageProjection::Running { future } => {
                        let polled = panic::catch(|| future.poll(context))
                            .unwrap_or_else(|payload| Poll::Ready(panic::answer(&*payload)));
                        if let Poll::Ready(response) = polled {
                            break response;
                        }
                        let Some(exchange) = exchange.as_ref() else { return Poll::Pending };
                        let limit = exchange.pipeline.request_timeout;
                        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                        ready!(timer.as_mut().poll(context));
                        stage.set(Stage::answered(too_late(limit, exchange.awaits_body())));
                    }
                }
            };
            let response = match exchange.take() {
                Some(exchange) => exchange.respond(response),
                None => response,
            };
            Poll::Ready(Ok(response))
        })
    }
}
