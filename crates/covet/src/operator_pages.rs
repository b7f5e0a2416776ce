//! The pages of the operator's port.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use covet_http::axum::{self, Router};
use covet_telemetry::metrics::CONTENT_TYPE;
use http::header;

use crate::Context;

/// `/` and `/metrics`.
pub(crate) fn pages(context: Context) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .fallback(async || (http::StatusCode::NOT_FOUND, "No such page. / lists them.\n"))
        .with_state(context)
}

async fn metrics(State(context): State<Context>) -> Response {
    // A scrape reads /proc and sorts thousands of lines: not on a thread that others wait for.
    let rendered = tokio::task::spawn_blocking(move || context.metrics().render()).await;
    match rendered {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (http::StatusCode::INTERNAL_SERVER_ERROR, "the scrape failed; the log says why\n").into_response(),
    }
}

async fn index(State(context): State<Context>) -> Html<String> {
    let uptime = context.clock().monotonic().duration_since(context.started()).as_secs();
    Html(format!(
        include_str!("operator_pages/index.html"),
        name = escape(context.name()),
        version = escape(context.version()),
        environment = context.environment(),
        phase = format!("{:?}", context.lifecycle().phase()).to_lowercase(),
        uptime = uptime,
    ))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
