//! What happens to every request, in one visible order, compiled into one function.
//!
//! ```text
//! request ─ id ─ client address ─ trace ─ scope ─ CORS preflight ─ rate limits ─ body limit ─ admission ─ routes ─┐
//! response ─ access line, span, metrics ─ security headers, limit fields ─ CORS ─ compression ─ timeout, panic ──┘
//! ```
//!
//! Each concern is a small file below; this one and [`exchange`](self) call them. User layers stand either before the
//! whole pipeline (`App::layer_before`) or on the router. Nothing here allocates for a concern that is not needed:
//! no timer for a handler that answers at once, no wrapper for a body of known length.
//!
//! Rate limits come before admission, since a flood must not fill the queue that others wait in, and after preflights, which
//! browsers send by themselves: refusing one would look like a wrong CORS setting to the page's author.

mod admission;
mod before_response;
mod body;
mod coded_tags;
mod compression;
mod cors;
mod exchange;
mod future;
mod layered;
pub(crate) mod panic;
mod security_headers;
mod wall_clock;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

pub use admission::Admission;
pub use before_response::{OutsidePipeline, before_response};
pub use cors::InvalidCors;
pub use future::PipelineFuture;
pub use layered::{BeforeLayers, LayeredConnection};
pub use panic::{install_hook as install_panic_hook, install_hook_beside_others as install_panic_hook_beside_others};

use crate::client_address::TrustedProxies;
use crate::metrics::{HttpMetrics, RouteMetrics, UserAgentCache};
use crate::rate_limit::{self, Checked, InCharge, LastClient, RateLimits};
use crate::routing::{DirectRoutes, Found, RouteStamp, Routes};
use crate::settings::{CorsSettings, HttpSettings, SecurityHeadersSettings};
use crate::ws::UpgradeContext;
use exchange::{Arrived, Exchange, trace};
use future::{Asking, Stage};
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
    limits: Option<Arc<RateLimits>>,
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
    /// How many requests a client may make, if there is a limit.
    pub limits: Option<Arc<RateLimits>>,
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
            security_headers: security_headers::SecurityHeaders::new(
                parts.security_headers.preset,
                vary,
                parts.limits.as_ref().map_or(&[], |limits| limits.headers().names()),
            ),
            limits: parts.limits,
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
    last_client: LastClient,
}

impl ConnectionService {
    /// The service of one connection.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>, peer: Peer) -> Self {
        let router = RefCell::new(pipeline.router.clone());
        Self { pipeline, peer, router, user_agent: RefCell::default(), last_client: LastClient::default() }
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
        let exempt = is_health_check(request.uri().path());
        let trace = if exempt { None } else { trace::join(&pipeline.traces, &request) };
        let scope = Arc::new(RequestScope::in_trace(id, client, trace));
        let user_agent = headers.get(http::header::USER_AGENT);
        pipeline.metrics.count_user_agent(self.user_agent.borrow_mut().classify(user_agent));

        let https = pipeline.proxies.is_https(self.peer.address.ip(), self.peer.tls, headers);
        let arrived = Arrived { at: started, unix_millis, https, user_agent };
        let mut exchange = Exchange::new(Arc::clone(pipeline), &request, Arc::clone(&scope), &arrived);
        exchange.take_off_coded_tags(&mut request);

        let preflight = pipeline.cors.as_ref().and_then(|cors| cors.preflight(&request));
        let limited = match (preflight, &pipeline.limits) {
            (Some(response), _) => Limited::Answered(response),
            (None, Some(limits)) if !exempt => self.limit(limits, &request, client, started, &scope, &mut exchange),
            _ => Limited::LetIn(None),
        };
        let has_body = !request.body().is_end_stream();
        let stage = match limited {
            Limited::Answered(response) => {
                body::throw_away_refused(request);
                Stage::answered(response)
            }
            _ if has_body && content_length(&request).is_some_and(|length| length > pipeline.body_limit as u64) => {
                tokio::spawn(body::throw_away(request.into_body(), pipeline.body_limit));
                let mut scope = Some(Arc::clone(&scope));
                Stage::answered(request::enter(&mut scope, || body::too_large(pipeline.body_limit)))
            }
            limited => {
                if has_body {
                    // axum's own limit of 2 MB would cut first.
                    axum::extract::DefaultBodyLimit::disable().apply(&mut request);
                }
                if request.headers().contains_key(http::header::UPGRADE) {
                    let (lifecycle, routes) = (pipeline.lifecycle.clone(), Arc::clone(&pipeline.routes));
                    request.extensions_mut().insert(UpgradeContext { lifecycle, routes });
                }
                let request = exchange.take_body(request, has_body, pipeline.body_limit);
                match limited {
                    Limited::Ask { asked, stamp } => {
                        let router = pipeline.router.clone();
                        Stage::asking(Asking { asked, request, router, stamp })
                    }
                    Limited::LetIn(found) if exempt => self.run(request, found, &scope),
                    Limited::LetIn(found) if pipeline.admission.try_enter() => {
                        exchange.admitted = true;
                        self.run(request, found, &scope)
                    }
                    _ => Stage::queued(Arc::clone(&pipeline.admission), request, pipeline.router.clone()),
                }
            }
        };
        PipelineFuture::new(stage, scope, exchange)
    }

    /// Counts a request by its client's address. The route is looked up first only where routes have limits of their own.
    #[inline]
    fn limit<B>(
        &self,
        limits: &Arc<RateLimits>,
        request: &Request<B>,
        client: IpAddr,
        at: Instant,
        scope: &Arc<RequestScope>,
        exchange: &mut Exchange,
    ) -> Limited<'_> {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        if limits.trusts(&rate_limit::Asking { client, method, uri, headers }) {
            return Limited::LetIn(None);
        }
        let direct = &self.pipeline.direct;
        let found = if direct.have_rules() { direct.find(uri.path()) } else { None };
        let rules = found.and_then(|found| found.declared(method)).and_then(|declared| declared.rules);
        if limits.asks_for_callers(rules) {
            exchange.in_charge = Some(InCharge::new(Arc::clone(limits), rules));
        }
        let stamp = || {
            let found = found.or_else(|| direct.find(uri.path()));
            found.and_then(|found| found.declared(method)).map(|declared| declared.stamp)
        };
        match limits.check(client, &self.last_client, at, rules) {
            Checked::LetIn(verdict) => {
                exchange.verdict = verdict;
                Limited::LetIn(found)
            }
            Checked::Refused(verdict, client) => {
                exchange.verdict = Some(verdict);
                let mut scope = Some(Arc::clone(scope));
                let refuse = || limits.refuse_at(stamp(), method, verdict, &client);
                Limited::Answered(request::enter(&mut scope, refuse))
            }
            Checked::Ask(asked) => Limited::Ask { asked, stamp: stamp() },
        }
    }

    fn run(&self, request: Request<Body>, found: Option<Found<'_>>, scope: &Arc<RequestScope>) -> Stage {
        let mut scope = Some(Arc::clone(scope));
        request::enter(&mut scope, || {
            let found = found.or_else(|| self.pipeline.direct.find(request.uri().path()));
            Stage::running(found, request, &mut self.router.borrow_mut())
        })
    }
}

/// What a request hears of the limits.
enum Limited<'a> {
    /// It may come in; with its route, if that had to be looked up.
    LetIn(Option<Found<'a>>),
    /// It has its answer.
    Answered(Response),
    /// All instances have to be asked.
    Ask { asked: rate_limit::Asked, stamp: Option<&'static RouteStamp> },
}

/// Whether it is one of the health endpoints, which are answered whatever else goes on.
fn is_health_check(path: &str) -> bool {
    path.strip_prefix("/health").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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
