//! Covet: write handlers; Covet gives the service, everything production asks of it, and the proof that it works.
//!
//! ```no_run
//! use covet::prelude::*;
//!
//! #[tokio::main]
//! async fn main() -> covet::Result {
//!     App::new("shop").version(env!("CARGO_PKG_VERSION")).routes(routes).run().await
//! }
//!
//! fn routes(_: &Context) -> Router {
//!     Router::new().route("/", get(async || "hello"))
//! }
//! ```
//!
//! | you want | look in |
//! |---|---|
//! | to put a service together | [`App`] |
//! | what handlers reach | [`Context`] |
//! | routes, extractors, errors | [`Router`], [`routing`], [`Json`], [`Error`] |
//! | rows | [`data`] |
//! | settings of your own | [`settings`] |
//! | passwords and tokens | [`identity`] |
//! | WebSockets | [`ws`] |
//! | to test a service, its log lines and metrics | [`testing`] |
//!
//! `App::run` is also the service's command line: `serve`, `worker`, `migrate`, `routes`, `config`, `openapi`,
//! `healthcheck`.

mod app;
mod banner;
mod command;
mod context;
mod init;
mod instruments;
mod operator_pages;
mod periodic;
mod run;
pub mod settings;
pub mod testing;

use std::process::ExitCode;

pub use app::App;
pub use context::Context;
pub use covet_core::{clock, environment, health, ids, lifecycle, problem, secret};
pub use covet_data as data;
pub use covet_data::{Db, migrations};
pub use covet_http::axum;
pub use covet_http::{ClientAddress, Error, Json, Path, Query, Router, extract, routes, routing, ws};
pub use covet_identity as identity;
pub use covet_telemetry as telemetry;
pub use periodic::PeriodicTask;

/// What handlers return, and, without a type, what `main` does.
pub type Result<T = ExitCode, E = Error> = std::result::Result<T, E>;

/// What most files of a service need.
pub mod prelude {
    pub use crate::axum::extract::State;
    pub use crate::axum::response::{IntoResponse, Response};
    pub use crate::routing::{any, delete, get, patch, post, put};
    pub use crate::{App, Context, Db, Error, Json, Path, Query, Router, migrations, routes};
}

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
