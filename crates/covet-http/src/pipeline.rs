//! What happens to every request, in one visible order, compiled into one function.
//!
//! ```text
//! request ─ id ─ client address ─ trace ─ scope ─ admission ─ body limit ─ CORS preflight ─ routes ─┐
//! response ─ access line, span, metrics ─ compression ─ CORS ─ security headers ─ timeout, panic ───┘
//! ```
//!
//! Each concern is a small file below; this one and [`exchange`](self) call them. User layers stand either before the
//! whole pipeline (`App::layer_before`) or on the router. Nothing here allocates for a concern that is not needed:
//! no timer for a handler that answers at once, no wrapper for a body of known length.

mod admission;
mod body;
mod compression;
mod cors;
mod exchange;
mod future;
mod layered;
mod panic;
mod security_headers;
mod wall_clock;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use covet_core::clock::Clock;
use covet_core::ids::RequestId;
use covet_core::lifecycle::Lifecycle;
use covet_telemetry::request::{self, RequestScope};
use covet_telemetry::traces::Traces;
use http::{HeaderName, StatusCode};
use hyper::body::Incoming;
use tower::Service as _;

pub use admission::Admission;
pub use cors::InvalidCors;
pub use future::PipelineFuture;
pub use layered::{BeforeLayers, LayeredConnection};
pub use panic::{install_hook as install_panic_hook, install_hook_beside_others as install_panic_hook_beside_others};

use crate::client_address::TrustedProxies;
use crate::metrics::{HttpMetrics, RouteMetrics, UserAgentCache};
use crate::routing::{DirectRoutes, Routes};
use crate::settings::{CorsSettings, HttpSettings, SecurityHeadersSettings};
use crate::ws::UpgradeContext;
use exchange::{Arrived, Exchange, trace};
use future::{Handling, Stage};
use wall_clock::WallClock;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything the pipeline needs, once a process; each worker has its own copy, so that workers share no counter.
#[derive(Clone)]
pub struct Pipeline {
    clock: Clock,
    wall_clock: WallClock,
    lifecycle: Lifecycle,
    traces: Traces,
    proxies: TrustedProxies,
    admission: Arc<Admission>,
    metrics: HttpMetrics,
    routes: Arc<[Arc<RouteMetrics>]>,
    router: axum::Router,
    direct: DirectRoutes,
    security_headers: security_headers::SecurityHeaders,
    cors: Option<cors::Cors>,
    compression: bool,
    request_timeout: Duration,
    body_limit: usize,
    before: BeforeLayers,
}

/// What the pipeline is made of.
pub struct PipelineParts<'a> {
    /// Limits and timeouts.
    pub http: &'a HttpSettings,
    /// Who may call from other origins.
    pub cors: &'a CorsSettings,
    /// Which security headers go out.
    pub security_headers: &'a SecurityHeadersSettings,
    /// The time.
    pub clock: Clock,
    /// Whether the process is on its way out.
    pub lifecycle: Lifecycle,
    /// What is done about traces.
    pub traces: Traces,
    /// Where requests are counted.
    pub metrics: HttpMetrics,
    /// Who answers.
    pub routes: Routes,
    /// Layers of the service's own, before everything else.
    pub before: BeforeLayers,
}

impl Pipeline {
    /// Puts the pipeline together.
    ///
    /// # Errors
    /// When an origin, method or header of the CORS settings is not one.
    pub fn new(parts: PipelineParts<'_>) -> Result<Self, InvalidCors> {
        let http = parts.http;
        let cors = cors::Cors::new(parts.cors)?;
        let vary = cors.as_ref().and_then(cors::Cors::vary);
        Ok(Self {
            wall_clock: WallClock::new(&parts.clock),
            clock: parts.clock,
            lifecycle: parts.lifecycle,
            traces: parts.traces,
            proxies: TrustedProxies::new(http.trusted_proxies.clone()),
            admission: Arc::new(Admission::new(http.max_in_flight, http.queue_limit, http.queue_timeout)),
            routes: parts.metrics.routes(),
            metrics: parts.metrics,
            router: parts.routes.router,
            direct: parts.routes.direct,
            security_headers: security_headers::SecurityHeaders::new(parts.security_headers.preset, vary),
            cors,
            compression: http.compression,
            request_timeout: http.request_timeout,
            body_limit: http.body_limit.as_usize(),
            before: parts.before,
        })
    }

    /// Sets the time of day that log lines are stamped with. Each worker does so a few times a second.
    pub(crate) fn set_wall_clock(&self) {
        self.wall_clock.set(&self.clock);
    }

    /// Requests being handled and waiting: what the gauges of the queue read.
    #[must_use]
    pub fn admission(&self) -> Arc<Admission> {
        Arc::clone(&self.admission)
    }
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub struct Peer {
    /// Address the connection came from.
    pub address: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
}

/// The pipeline as one connection sees it: hyper's service.
#[derive(Clone)]
pub struct ConnectionService {
    pipeline: Arc<Pipeline>,
    peer: Peer,
    /// A copy of the router for this connection, since calling it needs `&mut`.
    router: RefCell<axum::Router>,
    user_agent: RefCell<UserAgentCache>,
}

impl ConnectionService {
    /// The service of one connection.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>, peer: Peer) -> Self {
        let router = RefCell::new(pipeline.router.clone());
        Self { pipeline, peer, router, user_agent: RefCell::default() }
    }

    /// The service behind the layers that stand before everything, if there are any.
    pub(crate) fn layered(&self) -> Option<LayeredConnection> {
        self.pipeline.before.around(self)
    }

    fn begin<B>(&self, mut request: Request<B>) -> PipelineFuture
    where
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let pipeline = &self.pipeline;
        let started = pipeline.clock.monotonic();
        let unix_millis = pipeline.wall_clock.unix_millis(started);
        let headers = request.headers();
        let id = headers
            .get(X_REQUEST_ID)
            .and_then(|sent| RequestId::parse(sent.as_bytes()))
            .unwrap_or_else(|| RequestId::at(unix_millis));
        let client = pipeline.proxies.client(self.peer.address.ip(), headers);
        // A probe must be answered above all when the service is full, and its trace is of no use to anybody.
        let exempt = request.uri().path().starts_with("/health");
        let trace = if exempt { None } else { trace::join(&pipeline.traces, &request) };
        let scope = Arc::new(RequestScope::in_trace(id, client, trace));
        let user_agent = headers.get(http::header::USER_AGENT);
        pipeline.metrics.count_user_agent(self.user_agent.borrow_mut().classify(user_agent));

        let https = pipeline.proxies.is_https(self.peer.address.ip(), self.peer.tls, headers);
        let arrived = Arrived { at: started, unix_millis, https, user_agent };
        let mut exchange = Exchange::new(Arc::clone(pipeline), &request, Arc::clone(&scope), &arrived);

        let has_body = !request.body().is_end_stream();
        let stage = if let Some(response) = pipeline.cors.as_ref().and_then(|cors| cors.preflight(&request)) {
            Stage::answered(response)
        } else if has_body && content_length(&request).is_some_and(|length| length > pipeline.body_limit as u64) {
            tokio::spawn(body::throw_away(request.into_body(), pipeline.body_limit));
            let mut scope = Some(Arc::clone(&scope));
            Stage::answered(request::enter(&mut scope, || body::too_large(pipeline.body_limit)))
        } else {
            if has_body {
                // axum's own limit of 2 MB would cut first.
                axum::extract::DefaultBodyLimit::disable().apply(&mut request);
            }
            if request.headers().contains_key(http::header::UPGRADE) {
                let (lifecycle, routes) = (pipeline.lifecycle.clone(), Arc::clone(&pipeline.routes));
                request.extensions_mut().insert(UpgradeContext { lifecycle, routes });
            }
            let request = exchange.take_body(request, has_body, pipeline.body_limit);
            if exempt {
                self.run(request, &scope)
            } else if pipeline.admission.try_enter() {
                exchange.admitted = true;
                self.run(request, &scope)
            } else {
                Stage::queued(Arc::clone(&pipeline.admission), request, pipeline.router.clone())
            }
        };
        PipelineFuture::new(stage, scope, exchange)
    }

    fn run(&self, request: Request<Body>, scope: &Arc<RequestScope>) -> Stage {
        let mut scope = Some(Arc::clone(scope));
        request::enter(&mut scope, || match self.pipeline.direct.call(request) {
            Ok((future, matched)) => Stage::Running { future: Handling::Direct { future, matched } },
            Err(request) => {
                let future = self.router.borrow_mut().call(request);
                Stage::Running { future: Handling::Routed { future } }
            }
        })
    }
}

fn content_length<B>(request: &Request<B>) -> Option<u64> {
    let value = request.headers().get(http::header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = PipelineFuture;

    fn call(&self, request: Request<Incoming>) -> PipelineFuture {
        self.begin(request)
    }
}

fn too_late(limit: Duration, awaits_body: bool) -> Response {
    let seconds = limit.as_secs_f64();
    let (status, detail) = match awaits_body {
        true => (StatusCode::REQUEST_TIMEOUT, format!("The body did not arrive within {seconds} seconds.")),
        false => (StatusCode::GATEWAY_TIMEOUT, format!("The request took longer than {seconds} seconds.")),
    };
    axum::response::IntoResponse::into_response(crate::Error::status(status).detail(detail))
}
