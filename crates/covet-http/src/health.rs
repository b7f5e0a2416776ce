//! The four health endpoints.
//!
//! | endpoint | 200 when | for |
//! |---|---|---|
//! | `/health` | healthy or degraded | people and dashboards |
//! | `/health/live` | the process answers | restart me if not |
//! | `/health/ready` | started, not stopping, every critical check passes | send me traffic |
//! | `/health/startup` | connections and migrations are done | begin probing |
//!
//! A load balancer asks `/health/ready`: `/health` says 200 when degraded. The paths are answered without
//! authentication, limits or queue. The checks are in [`covet_core::health`].

use std::time::Instant;

use axum::response::{IntoResponse, Response};
use covet_core::clock::Clock;
use covet_core::health::{Registry, Report, Status};
use covet_core::lifecycle::{Lifecycle, Phase};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::Router;
use crate::access::Access;
use crate::routing::get;

/// What the endpoints need to know.
#[derive(Clone)]
pub struct Health {
    /// The checks.
    pub registry: Registry,
    /// Whether the process is starting or stopping.
    pub lifecycle: Lifecycle,
    /// The time.
    pub clock: Clock,
    /// When the process started.
    pub started: Instant,
    /// The service's version.
    pub version: &'static str,
}

/// The body of every health endpoint.
#[derive(Debug, Serialize)]
struct Body {
    status: Status,
    uptime_seconds: f64,
    checks: Map<String, Value>,
    timestamp: String,
    version: &'static str,
    /// Why it is not ready, when that is not a check's doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Health {
    /// The routes of the four endpoints.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/health", get(whole))
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .route("/health/startup", get(startup))
            .access(Access::Public)
            .with_state(self)
    }

    /// The same endpoints for the operator's port, which has no pipeline.
    pub fn operator_routes(self) -> axum::Router {
        use axum::routing::get;
        axum::Router::new()
            .route("/health", get(whole))
            .route("/health/live", get(live))
            .route("/health/ready", get(ready))
            .route("/health/startup", get(startup))
            .with_state(self)
    }

    fn answer(
        &self,
        status: Status,
        code: StatusCode,
        report: Option<Report>,
        reason: Option<&'static str>,
    ) -> Response {
        let checks = report.map(|report| report.checks).unwrap_or_default();
        let checks =
            checks.into_iter().map(|(name, outcome)| (name, serde_json::to_value(outcome).unwrap_or_default()));
        let body = Body {
            status,
            uptime_seconds: self.clock.monotonic().duration_since(self.started).as_secs_f64(),
            checks: checks.collect(),
            timestamp: format!("{:.3}", self.clock.now()),
            version: self.version,
            reason,
        };
        let mut response = (code, axum::Json(body)).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

type State = axum::extract::State<Health>;

async fn whole(axum::extract::State(health): State) -> Response {
    let report = health.registry.report().await;
    let status = report.status;
    health.answer(status, code_of(status), Some(report), None)
}

async fn live(axum::extract::State(health): State) -> Response {
    health.answer(Status::Healthy, StatusCode::OK, None, None)
}

async fn ready(axum::extract::State(health): State) -> Response {
    let reason = match health.lifecycle.phase() {
        Phase::Ready => None,
        Phase::Starting => Some("starting"),
        Phase::Draining | Phase::Stopping | Phase::Cut => Some("shutting down"),
    };
    if reason.is_some() {
        return health.answer(Status::Unhealthy, StatusCode::SERVICE_UNAVAILABLE, None, reason);
    }
    let report = health.registry.report().await;
    let status = report.status;
    health.answer(status, code_of(status), Some(report), None)
}

async fn startup(axum::extract::State(health): State) -> Response {
    match health.lifecycle.phase() {
        Phase::Starting => health.answer(Status::Unhealthy, StatusCode::SERVICE_UNAVAILABLE, None, Some("starting")),
        _ => health.answer(Status::Healthy, StatusCode::OK, None, None),
    }
}

fn code_of(status: Status) -> StatusCode {
    match status {
        Status::Healthy | Status::Degraded => StatusCode::OK,
        Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    }
}
