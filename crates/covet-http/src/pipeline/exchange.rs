//! One request and its response, from the first byte to the count: what is kept to finish it, and finishing it.

pub(super) mod trace;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use covet_core::lifecycle::Phase;
use covet_telemetry::logging::access::{self, AccessLine};
use covet_telemetry::request::RequestScope;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::Limited;

use super::body::{Arrival, ArrivingBody, DepartingBody};
use super::{Pipeline, coded_tags, compression};
use crate::error::ExceptionType;
use crate::metrics::Finished;
use crate::rate_limit::{InCharge, Values, Verdict};

/// Nginx's code for a client that went away before its answer; it appears in the log and metrics, never on the wire.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What the pipeline has found out about a request that has just arrived.
pub(super) struct Arrived<'a> {
    pub(super) at: Instant,
    pub(super) unix_millis: u64,
    pub(super) https: bool,
    pub(super) user_agent: Option<&'a HeaderValue>,
}

/// What is kept of a request until its response is out.
pub(super) struct Exchange {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) admitted: bool,
    /// What the limits by address say.
    pub(super) verdict: Option<Verdict>,
    /// The limits by caller, if there are any.
    pub(super) in_charge: Option<Arc<InCharge>>,
    scope: Arc<RequestScope>,
    started: Instant,
    started_unix_millis: u64,
    method: Method,
    path: Option<PathAndQuery>,
    version: Version,
    https: bool,
    user_agent: Option<HeaderValue>,
    negotiation: Option<Box<Negotiation>>,
    arrival: Option<Arc<Arrival>>,
    /// Of a response whose body is on its way.
    departing: Option<(StatusCode, u64)>,
    finished: bool,
}

impl Exchange {
    pub(super) fn new<B>(
        pipeline: Arc<Pipeline>,
        request: &Request<B>,
        scope: Arc<RequestScope>,
        arrived: &Arrived<'_>,
    ) -> Self {
        Self {
            admitted: false,
            verdict: None,
            in_charge: None,
            started: arrived.at,
            started_unix_millis: arrived.unix_millis,
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            version: request.version(),
            https: arrived.https,
            user_agent: arrived.user_agent.cloned(),
            negotiation: Negotiation::of(&pipeline, request.headers()),
            arrival: None,
            departing: None,
            finished: false,
            scope,
            pipeline,
        }
    }

    /// Lets the conditions of a request speak of what the handler has made, not of what was compressed of it.
    pub(super) fn take_off_coded_tags<B>(&mut self, request: &mut Request<B>) {
        match &mut self.negotiation {
            Some(negotiation) if negotiation.accept_encoding.is_some() => {
                negotiation.knows_coded = coded_tags::take_off(request.headers_mut());
            }
            // What has been read compressed is changed without a word about compression.
            _ if self.pipeline.compression && !matches!(self.method, Method::GET | Method::HEAD) => {
                coded_tags::take_off(request.headers_mut());
            }
            _ => {}
        }
    }

    /// Puts limit and count around the request's body. A request without one costs nothing.
    pub(super) fn take_body<B>(&mut self, request: Request<B>, has_body: bool, limit: usize) -> Request<Body>
    where
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        if !has_body {
            return request.map(|_| Body::empty());
        }
        let arrival = Arc::<Arrival>::default();
        self.arrival = Some(Arc::clone(&arrival));
        request.map(|body| Body::new(ArrivingBody::new(Limited::new(body, limit), arrival)))
    }

    /// Whether the handler waits for the rest of the request's body.
    pub(super) fn awaits_body(&self) -> bool {
        self.arrival.as_ref().is_some_and(|arrival| arrival.awaited.load(Ordering::Relaxed))
    }

    /// Makes the handler's response ready to go out, and finishes the exchange when its length is known.
    pub(super) fn respond(mut self, mut response: Response) -> Response {
        let status = response.status();
        if status.is_server_error() {
            self.count_exception(&response);
        }
        let compression = self.pipeline.compression;
        if let Some(negotiation) = self.negotiation.take() {
            response = negotiation.apply(&self.pipeline, response);
        }
        let limits = self.limit_fields();
        if compression {
            compression::tell_of_it(&mut response);
        }
        let headers = response.headers_mut();
        self.pipeline.security_headers.add(headers, self.scope.id().as_bytes(), self.https, limits);
        match response.body().size_hint().exact() {
            Some(bytes) => {
                self.finish(status, bytes);
                response
            }
            None => {
                self.departing = Some((status, 0));
                response.map(|body| Body::new(DepartingBody::new(body, self, status)))
            }
        }
    }

    /// How the client stands with the strictest limit.
    fn limit_fields(&self) -> Values {
        let of_caller = self.in_charge.as_ref().and_then(|in_charge| in_charge.verdict());
        let verdict = self.verdict.into_iter().chain(of_caller).reduce(Verdict::strictest);
        match (verdict, &self.pipeline.limits) {
            (Some(verdict), Some(limits)) => limits.headers().values(verdict),
            _ => [None, None, None],
        }
    }

    /// Notes how much of the body is out.
    pub(super) fn departed(&mut self, bytes: u64) {
        if let Some((_, departed)) = &mut self.departing {
            *departed = bytes;
        }
    }

    /// Counts, logs and gives the place back. Happens once; later calls do nothing.
    pub(super) fn finish(&mut self, status: StatusCode, response_bytes: u64) {
        self.finish_with(status.as_u16(), response_bytes);
    }

    fn finish_with(&mut self, status: u16, response_bytes: u64) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if self.admitted {
            self.pipeline.admission.leave();
        }
        let ended = self.pipeline.clock.monotonic();
        let duration = ended.duration_since(self.started);
        let request_bytes = self.arrival.as_ref().map_or(0, |arrival| arrival.bytes.load(Ordering::Relaxed));
        let unix_millis = self.started_unix_millis + u64::try_from(duration.as_millis()).unwrap_or(0);
        let trace = self.scope.trace().filter(|trace| trace.sampled);
        let sampled = trace.map(|trace| (trace.trace_id, unix_millis));
        let route = self.route();
        route.finished(&self.method, &Finished { status, duration, request_bytes, response_bytes, sampled });
        if let Some(user) = self.scope.user() {
            self.pipeline.metrics.calls_per_user().count(user);
        }
        self.record(status, ended);
        access::write(&AccessLine {
            unix_millis,
            method: self.method.as_str(),
            route: route.endpoint(),
            path: self.path(),
            status,
            duration,
            request_bytes,
            response_bytes,
            scope: &self.scope,
            user_agent: self.user_agent.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default(),
            protocol: protocol(self.version),
        });
    }

    fn path(&self) -> &str {
        self.path.as_ref().map_or("/", PathAndQuery::path)
    }

    fn route(&self) -> &crate::metrics::RouteMetrics {
        let routes = &self.pipeline.routes;
        let index = self.scope.route().map_or(0, |index| index as usize);
        &routes[index.min(routes.len() - 1)]
    }

    fn count_exception(&self, response: &Response) {
        let exception = response.extensions().get::<ExceptionType>().map_or("ServerError", |exception| exception.0);
        self.route().failed(&self.method, exception);
    }
}

/// What of the request decides over the response's form.
struct Negotiation {
    accept_encoding: Option<HeaderValue>,
    origin: Option<HeaderValue>,
    /// Whether the request has named the tag of something compressed.
    knows_coded: bool,
}

impl Negotiation {
    fn of(pipeline: &Pipeline, headers: &HeaderMap) -> Option<Box<Self>> {
        let accept_encoding = match pipeline.compression {
            true => headers.get(header::ACCEPT_ENCODING).filter(|value| compression::accepts_gzip(value)),
            false => None,
        };
        let origin = pipeline.cors.as_ref().and_then(|_| headers.get(header::ORIGIN));
        if accept_encoding.is_none() && origin.is_none() {
            return None;
        }
        let (accept_encoding, origin) = (accept_encoding.cloned(), origin.cloned());
        Some(Box::new(Self { accept_encoding, origin, knows_coded: false }))
    }

    fn apply(self, pipeline: &Pipeline, mut response: Response) -> Response {
        if let Some(accept_encoding) = self.accept_encoding {
            response = compression::compress(accept_encoding, response);
            if self.knows_coded && response.status() == StatusCode::NOT_MODIFIED {
                coded_tags::put_on(response.headers_mut());
            }
        }
        if let (Some(origin), Some(cors)) = (self.origin, &pipeline.cors) {
            cors.allow(&origin, response.headers_mut());
        }
        response
    }
}

/// An exchange dropped before its end: the client went away, or the shutdown deadline cut it.
impl Drop for Exchange {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if self.pipeline.lifecycle.phase() == Phase::Cut {
            let elapsed = self.pipeline.clock.monotonic().duration_since(self.started);
            tracing::error!(
                method = self.method.as_str(),
                path = self.path(),
                route = self.route().endpoint(),
                request_id = self.scope.id().as_str(),
                running_seconds = elapsed.as_secs_f64(),
                "request cut at the shutdown deadline"
            );
        }
        let (status, bytes) =
            self.departing.map_or((CLIENT_CLOSED_REQUEST, 0), |(status, bytes)| (status.as_u16(), bytes));
        self.finish_with(status, bytes);
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
