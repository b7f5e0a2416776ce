//! The future of one request: ask for its limits and wait for a place if need be, run the routes and what is left to do after them
//! under timeout and panic guard, respond.

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
use super::before_response::{Finish, finish};
use super::exchange::Exchange;
use super::{body, panic, too_late};
use crate::rate_limit::{self, Asked, Network, Verdict};
use crate::routing::parameters::{self, Matched};
use crate::routing::{Answering, Found, RouteStamp};

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
        Asking { asking: Option<Box<Asking>> },
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
        // The handler has answered; what its extractors have left to do is being done.
        Finishing { future: Answering },
    }
}

/// A request whose limits are asked elsewhere, and what it needs when it is let in or refused. In a box: without a store that
/// instances share no request is one.
pub(super) struct Asking {
    pub(super) asked: Asked,
    pub(super) request: Request<Body>,
    pub(super) router: axum::Router,
    /// Of the route that would serve it.
    pub(super) stamp: Option<&'static RouteStamp>,
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
            HandlingProjection::Finishing { future } => future.as_mut().poll(context),
        }
    }
}

impl Stage {
    pub(super) fn answered(response: Response) -> Self {
        Self::Answered { response: Some(response) }
    }

    pub(super) fn asking(asking: Asking) -> Self {
        Self::Asking { asking: Some(Box::new(asking)) }
    }

    /// Calls the handler of a request: by itself if it can be, else through axum's router.
    pub(super) fn running(found: Option<Found<'_>>, request: Request<Body>, router: &mut axum::Router) -> Self {
        let called = match found {
            Some(found) => found.call(request),
            None => Err(request),
        };
        match called {
            Ok((future, matched)) => Self::Running { future: Handling::Direct { future, matched } },
            Err(request) => Self::Running { future: Handling::Routed { future: router.call(request) } },
        }
    }

    pub(super) fn queued(admission: Arc<Admission>, request: Request<Body>, router: axum::Router) -> Self {
        let place = Box::pin(admission.enter());
        Self::Queued { waiting: Some(Box::new(Waiting { place, request, router })) }
    }
}

impl Asking {
    /// What the answer makes of the request.
    fn go_on(self, verdict: Option<Verdict>, client: Network, exchange: &mut Exchange) -> Stage {
        let Self { request, mut router, stamp, .. } = self;
        exchange.verdict = verdict;
        let pipeline = Arc::clone(&exchange.pipeline);
        match (verdict, &pipeline.limits) {
            (Some(verdict), Some(limits)) if verdict.is_refusal() => {
                let response = limits.refuse_at(stamp, request.method(), verdict, &client);
                body::throw_away_refused(request);
                Stage::answered(response)
            }
            _ if pipeline.admission.try_enter() => {
                exchange.admitted = true;
                let found = pipeline.direct.find(request.uri().path());
                Stage::running(found, request, &mut router)
            }
            _ => Stage::queued(Arc::clone(&pipeline.admission), request, router),
        }
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
                    StageProjection::Asking { asking } => {
                        let answer = match asking {
                            Some(asking) => Some(ready!(asking.asked.as_mut().poll(context))),
                            None => None,
                        };
                        let next = match (asking.take(), answer, exchange.as_mut()) {
                            (Some(asking), Some((verdict, client)), Some(exchange)) => {
                                asking.go_on(verdict, client, exchange)
                            }
                            _ => Stage::answered(admission::shed()),
                        };
                        stage.set(next);
                    }
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
                        let poll = || panic::catch(|| future.poll(context));
                        let polled = match exchange.as_mut() {
                            Some(exchange) => rate_limit::enter(&mut exchange.in_charge, poll),
                            None => poll(),
                        };
                        let polled = polled.unwrap_or_else(|payload| Poll::Ready(panic::answer(&*payload)));
                        if let Poll::Ready(response) = polled {
                            match finish(response) {
                                Finish::Done(response) => break response,
                                Finish::Working(future) => {
                                    stage.set(Stage::Running { future: Handling::Finishing { future } });
                                    continue;
                                }
                            }
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
