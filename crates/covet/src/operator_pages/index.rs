//! `/`: the page for the person who looks. It loads nothing from elsewhere and works without scripts.

use std::fmt::Write as _;

use axum::extract::State;
use axum::response::Html;
use covet_core::health::Status;
use covet_core::settings::{EffectiveSetting, Provenance};
use covet_http::axum;
use covet_http::settings::OperatorSettings;
use covet_telemetry::system::RUST_VERSION;

use super::log_level::{InEffect, LevelControl};
use crate::Context;

pub(super) async fn page(State(context): State<Context>, State(levels): State<LevelControl>) -> Html<String> {
    let in_effect = levels.in_effect();
    let asked = in_effect.level.clone();
    render(&context, &in_effect, &asked, "").await
}

/// The page after a form that could not be followed: what was asked for, and what is wrong with it.
pub(super) async fn with_problem(context: &Context, levels: &LevelControl, asked: &str, problem: &str) -> Html<String> {
    render(context, &levels.in_effect(), asked, problem).await
}

async fn render(context: &Context, levels: &InEffect, asked: &str, problem: &str) -> Html<String> {
    let uptime = context.clock().monotonic().duration_since(context.started()).as_secs();
    let phase = format!("{:?}", context.lifecycle().phase()).to_lowercase();
    let problem = match problem {
        "" => String::new(),
        text => format!("<p class=\"problem\" role=\"alert\">{}</p>", escape(text)),
    };
    let until = levels.until.map_or_else(
        || "until the next change or restart".to_owned(),
        |until| format!("until {until}, then they go back by themselves"),
    );
    let effective = context.effective_settings();
    let is_set = |setting: &EffectiveSetting| setting.provenance != Provenance::Default;
    Html(format!(
        include_str!("index.html"),
        name = escape(context.name()),
        version = escape(context.version()),
        environment = context.environment(),
        phase = phase,
        uptime = duration(uptime),
        checks = checks(context).await,
        build = build(context),
        problem = problem,
        level = escape(&levels.level),
        asked = escape(asked),
        configured = escape(&levels.configured),
        until = until,
        port = context.settings::<OperatorSettings>().port,
        set_settings = rows(effective.settings.iter().filter(|setting| is_set(setting))),
        count = effective.settings.len(),
        settings = rows(effective.settings.iter()),
    ))
}

/// One row a health check.
async fn checks(context: &Context) -> String {
    let report = context.health().report().await;
    let mut rows = String::new();
    for (name, outcome) in &report.checks {
        let (class, word) = match outcome.status {
            Status::Healthy => ("good", "healthy"),
            Status::Degraded => ("fair", "degraded"),
            Status::Unhealthy => ("bad", "unhealthy"),
        };
        let reason = outcome.reason.as_deref().unwrap_or_default();
        // Writing to a String does not fail.
        let _ =
            write!(rows, "<dt>{}</dt><dd><span class=\"{class}\">{word}</span> {}</dd>", escape(name), escape(reason));
    }
    rows
}

/// What this program was built from and with.
fn build(context: &Context) -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let allocator = if cfg!(feature = "jemalloc") { "jemalloc" } else { "the system's, or the service's own" };
    let target = format!("{} {}", std::env::consts::ARCH, std::env::consts::OS);
    let facts = [
        ("version", context.version()),
        ("commit", context.commit().unwrap_or("not told (App::commit)")),
        ("Covet", env!("CARGO_PKG_VERSION")),
        ("Rust", RUST_VERSION),
        ("profile", profile),
        ("target", &target),
        ("allocator", allocator),
    ];
    facts.iter().fold(String::new(), |mut rows, (name, value)| {
        let _ = write!(rows, "<dt>{name}</dt><dd>{}</dd>", escape(value));
        rows
    })
}

/// The rows of these settings, section by section, as `config` shows them: secrets masked, and where each value came
/// from.
fn rows<'a>(settings: impl Iterator<Item = &'a EffectiveSetting>) -> String {
    let mut text = String::from("<tbody>");
    let mut section = "";
    for setting in settings {
        if setting.section != section {
            section = setting.section;
            let _ = write!(text, "</tbody><tbody><tr><th colspan=\"3\" scope=\"rowgroup\">{section}</th></tr>");
        }
        let value = match setting.value.as_deref() {
            None => "<i>not set</i>".to_owned(),
            Some("") => "<i>empty</i>".to_owned(),
            Some(value) => escape(value),
        };
        let (variable, from) = (escape(&setting.variable), escape(&setting.provenance.to_string()));
        let _ = write!(text, "<tr><td>{variable}</td><td>{value}</td><td>{from}</td></tr>");
    }
    text.push_str("</tbody>");
    text
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s`, `6 s`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        for (seconds, text) in [(59, "59 s"), (61, "1 min 1 s"), (3_700, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn text_from_elsewhere_stays_text() {
        assert_eq!(escape("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;>");
    }
}
