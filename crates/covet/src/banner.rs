//! The first lines: what was chosen, and why. For the person at the terminal, in development.
//!
//! They come before anything is connected, so that whoever reads the error after them sees what was tried. The log's
//! line "ready" tells everybody else.

use std::fmt::Write as _;
use std::net::SocketAddr;

use covet_cache::settings::CacheSettings;
use covet_core::settings::{Loaded, Provenance};
use covet_data::settings::DatabaseSettings;
use covet_http::settings::{HttpSettings, OperatorSettings};
use covet_telemetry::settings::{LogFormat, LogSettings, TraceSettings};

use crate::App;
use crate::command::say;

/// Says what was chosen.
pub(crate) fn show(app: &App, loaded: &Loaded, api: bool) {
    let for_people = loaded.get::<LogSettings>().format == LogFormat::Human;
    if loaded.environment().is_development() && for_people {
        say(&text(app, loaded, api));
    }
}

struct Line {
    what: &'static str,
    value: String,
    why: String,
}

fn text(app: &App, loaded: &Loaded, api: bool) -> String {
    let lines = lines(app, loaded, api);
    let width = lines.iter().map(|line| line.value.len()).max().unwrap_or(0);
    let mut text = format!("\n  {} {}\n\n", app.name, app.version);
    for Line { what, value, why } in lines {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {what:<12} {value:<width$}  {why}");
    }
    text.push('\n');
    text
}

fn lines(app: &App, loaded: &Loaded, api: bool) -> Vec<Line> {
    let why = |variable: &str, by_default: &str| match loaded.provenance(variable) {
        None | Some(Provenance::Default) => by_default.to_owned(),
        Some(said) => format!("{variable} from {said}"),
    };
    let line = |what, value: String, why| Line { what, value, why };
    let mut lines = Vec::new();
    if api {
        let http = loaded.get::<HttpSettings>();
        let scheme = if http.tls_certificate.is_some() { "https" } else { "http" };
        let address = SocketAddr::new(http.host, http.port);
        lines.push(line("api", format!("{scheme}://{address}"), why("PORT", "PORT is not set")));
    }
    let operator = loaded.get::<OperatorSettings>();
    let address = SocketAddr::new(operator.host, operator.port);
    lines.push(line("operator", format!("http://{address}"), why("METRICS_PORT", "METRICS_PORT is not set")));
    lines.push(match app.database {
        true => {
            let url = loaded.get::<DatabaseSettings>().url.to_string();
            line("database", url, why("DATABASE_URL", "DATABASE_URL is not set: SQLite, a file"))
        }
        false => line("database", "none".to_owned(), "this service uses none".to_owned()),
    });
    lines.push(match &loaded.get::<CacheSettings>().url {
        Some(url) => line("cache", url.to_string(), why("REDIS_URL", "")),
        None => line("cache", "memory".to_owned(), "REDIS_URL is not set: in this process".to_owned()),
    });
    lines.push(line("storage", "none".to_owned(), "this service takes no uploads".to_owned()));
    lines.push(match loaded.get::<TraceSettings>().target() {
        Some(target) => line("traces", target.url.to_string(), "an OTEL_EXPORTER_OTLP endpoint is set".to_owned()),
        None => line("traces", "none".to_owned(), "OTEL_EXPORTER_OTLP_ENDPOINT is not set".to_owned()),
    });
    for setting in loaded.effective().settings {
        if let Provenance::Generated { .. } = setting.provenance {
            lines.push(line("secret", setting.variable, setting.provenance.to_string()));
        }
    }
    let environment = loaded.environment().as_str().to_owned();
    lines.push(line("environment", environment, why("COVET_ENV", "COVET_ENV is not set")));
    lines
}
