//! The pages of the operator's port.

use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use covet_http::axum::{self, Router};
use covet_telemetry::metrics::{Format, Selection};
use http::{HeaderMap, header};

use crate::Context;

/// `/` and `/metrics`, all or a part.
pub(crate) fn pages(context: Context) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(|context, headers| metrics(context, headers, Selection::All)))
        .route("/metrics/platform", get(|context, headers| metrics(context, headers, Selection::Platform)))
        .route("/metrics/business", get(|context, headers| metrics(context, headers, Selection::Business)))
        .fallback(async || (http::StatusCode::NOT_FOUND, "No such page. / lists them.\n"))
        .with_state(context)
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
