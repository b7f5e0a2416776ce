//! The pages of the operator's port.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page for people: state, build, log levels, settings (`operator_pages/index.rs`) |
//! | `/metrics` | the metrics, for Prometheus |
//! | `/log-level` | the log levels: read, change, change for a while (`operator_pages/log_level.rs`) |
//!
//! The health endpoints are added where the port is opened. Everything that changes something passes `same_origin.rs`.

mod index;
mod log_level;
mod same_origin;

use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use covet_http::axum::{self, Router};
use covet_http::settings::OperatorSettings;
use covet_telemetry::logging::LogLevels;
use covet_telemetry::metrics::{Format, Selection};
use http::{HeaderMap, header};

use crate::Context;
use log_level::LevelControl;

/// What the pages work with.
#[derive(Clone)]
struct Operator {
    context: Context,
    levels: LevelControl,
}

impl FromRef<Operator> for Context {
    fn from_ref(operator: &Operator) -> Self {
        operator.context.clone()
    }
}

impl FromRef<Operator> for LevelControl {
    fn from_ref(operator: &Operator) -> Self {
        operator.levels.clone()
    }
}

/// All pages but the health endpoints.
pub(crate) fn pages(context: Context, levels: LogLevels) -> Router {
    let names = context.settings::<OperatorSettings>().names.clone();
    let levels = LevelControl::new(levels, context.clock().clone());
    Router::new()
        .route("/", get(index::page))
        .route("/metrics", get(|context, headers| metrics(context, headers, Selection::All)))
        .route("/metrics/platform", get(|context, headers| metrics(context, headers, Selection::Platform)))
        .route("/metrics/business", get(|context, headers| metrics(context, headers, Selection::Business)))
        .route(
            "/log-level",
            get(log_level::show).put(log_level::put).delete(log_level::reset).post(log_level::from_form),
        )
        .fallback(async || (http::StatusCode::NOT_FOUND, "No such page. / lists them.\n"))
        .layer(axum::middleware::from_fn_with_state(names.into(), same_origin::guard))
        .with_state(Operator { context, levels })
}

async fn metrics(State(context): State<Context>, headers: HeaderMap, selection: Selection) -> Response {
    // Several Accept headers are one list.
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>();
    let format = Format::negotiate(&accept.join(","));
    // A scrape reads /proc and sorts thousands of lines: not on a thread that others wait for.
    let rendered = tokio::task::spawn_blocking(move || context.metrics().render_as(format, selection)).await;
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept")], text).into_response(),
        Err(_) => (http::StatusCode::INTERNAL_SERVER_ERROR, "the scrape failed; the log says why\n").into_response(),
    }
}
