//! `openapi`: the description of the API.

use std::process::ExitCode;

use covet_core::settings::Loaded;

use super::{could_not, print_json};
use crate::{App, run};

pub(super) async fn run(app: App, loaded: Loaded) -> ExitCode {
    match run::router_only(&app, loaded).await {
        Ok(router) => print_json(&run::ApiDescription::of(&app, &router).document()),
        Err(error) => could_not("cannot build the routes", &*error),
    }
}
