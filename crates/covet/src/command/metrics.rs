//! `metrics`: every metric that the service can show, from the declarations.

use std::process::ExitCode;

use covet_core::settings::Loaded;
use covet_telemetry::metrics::{Group, Metric, Origin, reference};
use serde::Serialize;

use super::{could_not, print, print_json};
use crate::{App, run};

#[derive(Serialize)]
struct List {
    schema: &'static str,
    metrics: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    r#type: String,
    labels: &'static [&'static str],
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    buckets: &'static [f64],
    help: String,
    details: String,
    /// Whether it is at `/metrics/business`.
    business: bool,
}

pub(super) async fn run(app: App, loaded: Loaded, json: bool, as_reference: bool) -> ExitCode {
    let groups = match run::metrics_only(&app, loaded).await {
        Ok(groups) => groups,
        Err(error) => return could_not("cannot build the routes", &*error),
    };
    if as_reference {
        print(&reference::markdown(&groups));
        return ExitCode::SUCCESS;
    }
    let lines: Vec<Line> = groups.iter().flat_map(|group| group.metrics).map(|metric| line(metric)).collect();
    if json {
        return print_json(&List { schema: "covet.metrics/1", metrics: lines });
    }
    show(&groups);
    ExitCode::SUCCESS
}

fn line(metric: &'static Metric) -> Line {
    Line {
        name: metric.name,
        r#type: metric.kind.to_string(),
        labels: metric.labels,
        buckets: metric.kind.buckets(),
        help: metric.help(),
        details: metric.details(),
        business: metric.origin == Origin::Business,
    }
}

fn show(groups: &[&'static Group]) {
    for group in groups {
        print(&format!("\n{}\n", group.title()));
        for metric in group.metrics {
            let labels = match metric.labels {
                [] => String::new(),
                labels => format!("{{{}}}", labels.join(",")),
            };
            print(&format!("  {}{labels}  {}\n      {}\n", metric.name, metric.kind, metric.help()));
        }
    }
}
