//! `routes`: the table of routes.

use std::process::ExitCode;

use covet_core::settings::Loaded;
use covet_http::routing::RouteInfo;
use serde::Serialize;

use super::{could_not, print, print_json};
use crate::{App, run};

#[derive(Serialize)]
struct Table {
    schema: &'static str,
    routes: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    methods: Vec<String>,
    path: String,
    summary: Option<String>,
    limit: Option<String>,
    access: Option<String>,
}

pub(super) async fn run(app: App, loaded: Loaded, json: bool) -> ExitCode {
    let router = match run::router_only(&app, loaded).await {
        Ok(router) => router,
        Err(error) => return could_not("cannot build the routes", &*error),
    };
    let mut lines: Vec<Line> = router.table().into_iter().map(line).collect();
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    if json {
        return print_json(&Table { schema: "covet.routes/1", routes: lines });
    }
    let width = |text: fn(&Line) -> usize| lines.iter().map(text).max().unwrap_or(0);
    let methods_width = width(|line| line.methods.join(" ").len());
    let path_width = width(|line| line.path.len());
    let access_width = width(|line| line.access.as_deref().map_or(0, str::len));
    for line in &lines {
        let methods = line.methods.join(" ");
        let summary = line.summary.as_deref().unwrap_or_default();
        let limit = line.limit.as_ref().map(|limit| format!("  [rate limit: {limit}]")).unwrap_or_default();
        // A service without access control has no column of it.
        let access = match access_width {
            0 => String::new(),
            width => format!("{:<width$}  ", line.access.as_deref().unwrap_or_default()),
        };
        print(format!("{methods:<methods_width$}  {:<path_width$}  {access}{summary}{limit}", line.path).trim_end());
        print("\n");
    }
    ExitCode::SUCCESS
}

fn line(route: RouteInfo) -> Line {
    let methods = match route.methods.is_empty() {
        true => vec!["ANY".to_owned()],
        false => route.methods.iter().map(ToString::to_string).collect(),
    };
    let access = route.access.map(|access| access.to_string());
    Line { methods, path: route.path, summary: route.summary, limit: route.limit, access }
}
