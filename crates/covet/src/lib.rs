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
//! | who may reach a route | [`access`], [`identity::access`] |
//! | how many requests a client may make | [`rate_limit`] |
//! | rows | [`data`] |
//! | work that is done later, by the clock, or by another process | [`jobs`], [`App::job`], [`App::schedule`] |
//! | values that are kept for a while, messages between instances | [`cache`], [`Context::cache`] |
//! | to call other services | [`client`], [`Context::client`] |
//! | settings of your own | [`settings`] |
//! | metrics of your own | [`metrics!`], [`mod@metrics`] |
//! | passwords, tokens, sessions by cookie | [`identity`], [`App::sessions`] |
//! | WebSockets | [`ws`] |
//! | to test a service, its log lines and metrics | [`testing`] |
//!
//! `App::run` is also the service's command line: `serve`, `worker`, `migrate`, `database`, `audit`, `jobs`, `routes`, `config`,
//! `metrics`, `openapi`, `healthcheck`.

#[cfg(feature = "jemalloc")]
mod allocator;
mod app;
mod banner;
mod command;
mod context;
mod init;
mod instruments;
pub mod metrics;
mod operator_pages;
mod periodic;
pub mod reload;
mod run;
pub mod settings;
mod table_news;
pub mod testing;

use std::process::ExitCode;

pub use app::App;
pub use context::Context;
pub use covet_cache as cache;
pub use covet_client as client;
pub use covet_core::{clock, environment, health, ids, lifecycle, problem, secret};
pub use covet_data as data;
pub use covet_data::{Db, migrations};
pub use covet_http::axum;
pub use covet_http::{
    ClientAddress, Error, Json, Path, Query, ResponseCache, Router, access, assets, conditional, embedded_files,
    extract, rate_limit, response_cache, routes, routing, ws,
};
pub use covet_identity as identity;
pub use covet_jobs as jobs;
pub use covet_telemetry as telemetry;
pub use periodic::PeriodicTask;

/// Declares metrics of your own: a struct whose methods are the metrics and whose doc comments are their HELP texts.
///
/// ```
/// use covet::metrics::{Label, Registry, Text};
///
/// covet::metrics! {
///     /// Shop.
///     pub struct ShopMetrics {
///         /// Orders paid.
///         counter shop_orders_paid_total(plan: Plan);
///         /// Carts that hold something.
///         gauge shop_open_carts();
///         /// Time that a payment provider takes, in seconds.
///         ///
///         /// Moved by every call, also one that fails.
///         histogram shop_payment_seconds(provider: Text<20>, outcome: Outcome) [0.1, 0.5, 1.0, 5.0];
///     }
/// }
///
/// #[derive(Label)]
/// pub enum Plan {
///     Free,
///     Business,
/// }
///
/// #[derive(Label)]
/// pub enum Outcome {
///     Done,
///     #[label("failed")]
///     Failure,
/// }
///
/// // In a service: `ShopMetrics::new(context.metrics())`, kept in the state of its handlers.
/// let registry = Registry::new();
/// let metrics = ShopMetrics::new(&registry);
/// metrics.shop_orders_paid_total(Plan::Business).increment(1);
/// metrics.shop_open_carts().set(3);
/// metrics.shop_payment_seconds("acme", Outcome::Failure).record(std::time::Duration::from_millis(700));
///
/// let text = registry.render();
/// assert!(text.contains("# HELP shop_orders_paid_total Orders paid.\n# TYPE shop_orders_paid_total counter\n"));
/// assert!(text.contains("\nshop_orders_paid_total{plan=\"business\"} 1.0\n"));
/// assert!(text.contains("\nshop_orders_paid_total{plan=\"free\"} 0.0\n"), "there from the start");
/// assert!(text.contains("\nshop_payment_seconds_bucket{provider=\"acme\",outcome=\"failed\",le=\"1.0\"} 1.0\n"));
/// ```
///
/// - A **label** is an enum that derives [`metrics::Label`], or [`metrics::Text<N>`](metrics::Text): the first `N` texts are
///   kept, what comes after is counted as `other`. So the number of series is known when the service is compiled; more than
///   1000 for one metric do not compile.
/// - **Counters and histograms** with enums for labels show all their series from the start, at zero: a counter that appears
///   with its first event cannot be seen to rise. A gauge appears when it is first set.
/// - A use costs a few nanoseconds, no lock and no allocation. A `Text` label has to be looked up each time: keep the handle
///   (`.clone()`) where that matters.
/// - A **histogram** without buckets has those of request durations, 5 ms to 10 s.
/// - `gauge(largest) …`: of several processes on a host the largest value is shown, not the sum; also `smallest` and `own`. See
///   [`telemetry::metrics::Merge`].
/// - The text after a blank line of a doc comment is for the reference page: `your-service metrics --reference`.
/// - They are on the operator's port at `/metrics` with all others, and alone at `/metrics/business`.
pub use covet_macros::metrics;

/// What handlers return, and, without a type, what `main` does.
pub type Result<T = ExitCode, E = Error> = std::result::Result<T, E>;

/// What most files of a service need.
pub mod prelude {
    pub use crate::axum::extract::State;
    pub use crate::axum::response::{IntoResponse, Response};
    pub use crate::routing::{any, delete, get, patch, post, put};
    pub use crate::{App, Context, Db, Error, Json, Path, Query, Router, migrations, routes};
}
