//! Peer: axum as a good team puts it into production today, each concern by the crate that is usual for it, used as its
//! documentation shows.
//!
//! | concern | crate |
//! |---|---|
//! | log line of a request, JSON, into a file | tower-http `TraceLayer`, tracing-subscriber, tracing-appender (non-blocking) |
//! | traces, parent-based, the share from `OTEL_TRACES_SAMPLER_ARG` | tracing-opentelemetry, opentelemetry-otlp (batches, HTTP) |
//! | metrics by route, method and status, on a port of their own | axum-prometheus |
//! | request id, set and sent back (UUID v4) | tower-http `SetRequestIdLayer`, `PropagateRequestIdLayer` |
//! | rate limit by client address, never reached here | `tower_governor` |
//! | six security headers | tower-http `SetResponseHeaderLayer` |
//! | CORS for one origin, gzip, timeout 60 s, panic guard | tower-http |
//! | body limit 50 MiB | axum's `DefaultBodyLimit` |
//! | end on SIGTERM: requests finish, spans are exported, the log is written out | `axum::serve` |
//!
//! All layers stand in one `ServiceBuilder`: as a chain of `Router::layer` calls each would be boxed, which costs more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Path, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use axum_prometheus::PrometheusMetricLayer;
use axum_prometheus::metrics_exporter_prometheus::PrometheusHandle;
use contract::{ALLOWED_ORIGIN, Arguments, DROPPED_LINES, GREETING, Greeting, SECURITY_HEADERS, User};
use opentelemetry_http::HeaderExtractor;
use telemetry::Telemetry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tower::ServiceBuilder;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_http::LatencyUnit;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::fmt::format::FmtSpan;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_LIMIT_BYTES: usize = 50 * 1024 * 1024;
const FORGET_CLIENTS_EVERY: Duration = Duration::from_secs(60);

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let telemetry = telemetry::start("axum-production", &arguments.log_file()?, FmtSpan::NONE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.workers).enable_all().build()?;
    runtime.block_on(serve(&arguments, &telemetry))?;
    telemetry.end()
}

async fn serve(arguments: &Arguments, telemetry: &Telemetry) -> anyhow::Result<()> {
    let (metrics_layer, metrics) = PrometheusMetricLayer::pair();
    let metrics_listener = TcpListener::bind(arguments.metrics_address()?).await?;
    tokio::spawn(axum::serve(metrics_listener, metrics_router(metrics, telemetry)).into_future());

    // A token a nanosecond: the work of limiting without anybody being refused.
    let limits = GovernorConfigBuilder::default().per_nanosecond(1).burst_size(u32::MAX).finish();
    let limits = Arc::new(limits.ok_or_else(|| anyhow::anyhow!("a rate limit of nothing"))?);
    let clients = limits.limiter().clone();
    thread::spawn(move || {
        loop {
            thread::sleep(FORGET_CLIENTS_EVERY);
            clients.retain_recent();
        }
    });

    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(request_span)
                .on_response(DefaultOnResponse::new().level(Level::INFO).latency_unit(LatencyUnit::Micros)),
        )
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(metrics_layer)
        .layer(security_header(0))
        .layer(security_header(1))
        .layer(security_header(2))
        .layer(security_header(3))
        .layer(security_header(4))
        .layer(security_header(5))
        .layer(cors())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(GovernorLayer::new(limits))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT))
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES));
    let router = Router::new().route("/json", get(greeting)).route("/users/{id}", get(user)).layer(layers);

    let mut told_to_end = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(arguments.address()).await?;
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            told_to_end.recv().await;
        })
        .await?;
    Ok(())
}

/// What Covet's access line has, as far as it is known when the request arrives; status and time are in the event.
fn request_span(request: &Request) -> Span {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|client| client.ip());
    let span = tracing::info_span!(
        "HTTP request",
        otel.kind = "server",
        otel.name = format_args!("{} {route}", request.method()),
        http.request.method = %request.method(),
        http.route = route,
        url.path = request.uri().path(),
        network.protocol.version = ?request.version(),
        client.address = client.map(tracing::field::display),
        user_agent.original = text(header::USER_AGENT),
        request_id = text(HeaderName::from_static("x-request-id")),
    );
    let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.extract(&HeaderExtractor(request.headers()))
    });
    // Fails for a span that no layer records.
    drop(span.set_parent(parent));
    span
}

fn security_header(index: usize) -> SetResponseHeaderLayer<HeaderValue> {
    let (name, value) = SECURITY_HEADERS[index];
    SetResponseHeaderLayer::if_not_present(HeaderName::from_static(name), HeaderValue::from_static(value))
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static(ALLOWED_ORIGIN))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::ETAG, header::LOCATION, HeaderName::from_static("x-request-id")])
}

fn metrics_router(metrics: PrometheusHandle, telemetry: &Telemetry) -> Router {
    let dropped_lines = telemetry.dropped_lines();
    let page = move || async move {
        axum_prometheus::metrics::counter!(DROPPED_LINES).absolute(dropped_lines.dropped_lines() as u64);
        metrics.render()
    };
    Router::new().route("/metrics", get(page))
}

async fn greeting() -> Json<Greeting> {
    Json(GREETING)
}

async fn user(Path(id): Path<u64>) -> Json<User> {
    Json(User::numbered(id))
}
