//! The first lines: what was chosen, and why.
//!
//! In development they are for the person at the terminal; elsewhere one log line says the same.

use std::fmt::Write as _;
use std::net::SocketAddr;

use covet_core::settings::Provenance;
use covet_data::DatabaseSettings;
use covet_http::settings::HttpSettings;
use covet_telemetry::settings::{LogFormat, LogSettings};

use crate::Context;
use crate::command::say;

/// Says that the service is ready.
pub(crate) fn show(context: &Context, api: Option<SocketAddr>, operator: SocketAddr) {
    let started_in = context.clock().monotonic().duration_since(context.started());
    tracing::info!(
        version = context.version(),
        environment = context.environment().as_str(),
        api = api.map(|address| address.to_string()),
        operator = %operator,
        started_in_ms = u64::try_from(started_in.as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    let for_people = context.settings::<LogSettings>().format == LogFormat::Human;
    if context.environment().is_development() && for_people {
        say(&text(context, api, operator));
    }
}

fn text(context: &Context, api: Option<SocketAddr>, operator: SocketAddr) -> String {
    let mut lines = Vec::new();
    if let Some(address) = api {
        let scheme = if context.settings::<HttpSettings>().tls_certificate.is_some() { "https" } else { "http" };
        lines.push(("api", format!("{scheme}://{address}"), why(context, "PORT", "PORT is not set")));
    }
    lines.push(("operator", format!("http://{operator}"), why(context, "METRICS_PORT", "METRICS_PORT is not set")));
    if context.database().is_some() {
        let url = context.settings::<DatabaseSettings>().url.to_string();
        lines.push(("database", url, why(context, "DATABASE_URL", "DATABASE_URL is not set: SQLite, a file")));
    } else {
        lines.push(("database", "none".to_owned(), "this service uses none".to_owned()));
    }
    lines.push(("cache", "none".to_owned(), "this service uses none".to_owned()));
    lines.push(("storage", "none".to_owned(), "this service takes no uploads".to_owned()));
    for setting in context.loaded().effective().settings {
        if let Provenance::Generated { .. } = setting.provenance {
            lines.push(("secret", setting.variable, setting.provenance.to_string()));
        }
    }
    let environment = context.environment().as_str();
    lines.push(("environment", environment.to_owned(), why(context, "COVET_ENV", "COVET_ENV is not set")));

    let mut text = format!("\n  {} {}\n\n", context.name(), context.version());
    let width = lines.iter().map(|(_, value, _)| value.len()).max().unwrap_or(0);
    for (what, value, why) in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {what:<12} {value:<width$}  {why}");
    }
    text
}

fn why(context: &Context, variable: &str, by_default: &str) -> String {
    match context.loaded().provenance(variable) {
        None | Some(Provenance::Default) => by_default.to_owned(),
        Some(said) => format!("{variable} from {said}"),
    }
}
