//! Peer: actix-web as a good team puts it into production today, each concern by the crate that is usual for it, used as
//! its documentation shows.
//!
//! | concern | crate |
//! |---|---|
//! | log line of a request, JSON, into a file | tracing-actix-web, tracing-subscriber (a line at a span's end), tracing-appender (non-blocking) |
//! | traces, parent-based, the share from `OTEL_TRACES_SAMPLER_ARG` | tracing-actix-web, tracing-opentelemetry, opentelemetry-otlp (batches, HTTP) |
//! | metrics by route, method and status, on a port of their own | actix-web-prom |
//! | request id, taken over or made (UUID v7), sent back | actix-request-identifier |
//! | rate limit by client address, never reached here | governor, in a middleware function |
//! | six security headers | `DefaultHeaders` |
//! | CORS for one origin | actix-cors |
//! | gzip, body limit 50 MiB | actix-web's `Compress`, `PayloadConfig` |
//! | timeout 60 s | tokio's, in a middleware function: there is no usual crate |
//! | panic guard | actix-web-lab's `CatchPanic` |
//! | end on SIGTERM: requests finish, spans are exported, the log is written out | `HttpServer` |
//!
//! The usual actix-governor is under the GPL, which many teams must not link; what it does around governor is a few lines.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

use actix_cors::Cors;
use actix_request_identifier::{IdReuse, RequestId, RequestIdentifier};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorGatewayTimeout, ErrorTooManyRequests};
use actix_web::http::header;
use actix_web::middleware::{Compress, DefaultHeaders, Next, from_fn};
use actix_web::web::{Data, Json, Path, PayloadConfig, get};
use actix_web::{App, Error, HttpMessage as _, HttpServer};
use actix_web_lab::middleware::CatchPanic;
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use contract::{ALLOWED_ORIGIN, Arguments, DROPPED_LINES, GREETING, Greeting, SECURITY_HEADERS, User};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use telemetry::Telemetry;
use tracing::Span;
use tracing_actix_web::{DefaultRootSpanBuilder, RootSpanBuilder, TracingLogger};
use tracing_subscriber::fmt::format::FmtSpan;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_LIMIT_BYTES: usize = 50 * 1024 * 1024;
const FORGET_CLIENTS_EVERY: Duration = Duration::from_secs(60);

type Limiter = DefaultKeyedRateLimiter<IpAddr>;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let telemetry = telemetry::start("actix-production", &arguments.log_file()?, FmtSpan::CLOSE)?;
    serve(&arguments, &telemetry).await?;
    telemetry.end()
}

async fn serve(arguments: &Arguments, telemetry: &Telemetry) -> anyhow::Result<()> {
    let metrics = metrics(telemetry)?;
    let page = PrometheusMetricsBuilder::new("operator")
        .registry(metrics.registry.clone())
        .endpoint("/metrics")
        .build()
        .map_err(anyhow::Error::from_boxed)?;
    let operators = HttpServer::new(move || App::new().wrap(page.clone())).workers(1);
    actix_web::rt::spawn(operators.bind(arguments.metrics_address()?)?.run());

    let limiter = Data::new(limiter());
    let clients = Data::clone(&limiter);
    thread::spawn(move || {
        loop {
            thread::sleep(FORGET_CLIENTS_EVERY);
            clients.retain_recent();
        }
    });
    let app = move || {
        App::new()
            .app_data(Data::clone(&limiter))
            .app_data(PayloadConfig::new(BODY_LIMIT_BYTES))
            .wrap(from_fn(limit_time))
            .wrap(from_fn(limit_rate))
            .wrap(CatchPanic::default())
            .wrap(Compress::default())
            .wrap(cors())
            .wrap(SECURITY_HEADERS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add))
            .wrap(metrics.clone())
            .wrap(TracingLogger::<RequestSpan>::new())
            // Wrapped last, it sees a request first.
            .wrap(RequestIdentifier::with_uuid_v7().use_incoming_id(IdReuse::UseIncoming))
            .route("/json", get().to(greeting))
            .route("/users/{id}", get().to(user))
    };
    HttpServer::new(app).workers(arguments.workers).bind(arguments.address())?.run().await?;
    Ok(())
}

/// tracing-actix-web's span and the id that is sent back; the library's own `request_id` cannot be given.
struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().cloned();
        tracing_actix_web::root_span!(request, x_request_id = id.map(tracing::field::display))
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        DefaultRootSpanBuilder::on_request_end(span, outcome);
    }
}

fn metrics(telemetry: &Telemetry) -> anyhow::Result<PrometheusMetrics> {
    let metrics = PrometheusMetricsBuilder::new("api").build().map_err(anyhow::Error::from_boxed)?;
    let dropped_lines = telemetry.dropped_lines();
    let series = prometheus::PullingGauge::new(
        DROPPED_LINES,
        "Log lines given up because the writer could not keep up.",
        Box::new(move || dropped_lines.dropped_lines() as f64),
    )?;
    metrics.registry.register(Box::new(series))?;
    Ok(metrics)
}

/// A token a nanosecond: the work of limiting without anybody being refused.
fn limiter() -> Limiter {
    let quota = Quota::with_period(Duration::from_nanos(1)).expect("longer than nothing");
    RateLimiter::keyed(quota.allow_burst(NonZeroU32::MAX))
}

async fn limit_rate(
    limiter: Data<Limiter>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if let Some(client) = request.peer_addr()
        && limiter.check_key(&client.ip()).is_err()
    {
        return Err(ErrorTooManyRequests("Too many requests"));
    }
    next.call(request).await
}

async fn limit_time(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let answer = actix_web::rt::time::timeout(REQUEST_TIMEOUT, next.call(request)).await;
    answer.unwrap_or_else(|_| Err(ErrorGatewayTimeout("The request took too long")))
}

fn cors() -> Cors {
    Cors::default()
        .allowed_origin(ALLOWED_ORIGIN)
        .allowed_methods(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers(["etag", "location", "x-request-id"])
}

async fn greeting() -> Json<Greeting> {
    Json(GREETING)
}

async fn user(id: Path<u64>) -> Json<User> {
    Json(User::numbered(id.into_inner()))
}
