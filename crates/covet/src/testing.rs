//! A service inside a test: everything real but the process, and everything it tells at hand.
//!
//! [`TestApp`] runs an [`App`] on a thread of its own, on a free port of 127.0.0.1, with an empty SQLite file in a
//! directory that goes with it. Requests pass the whole pipeline. Log lines, metrics and spans of this service, and of no
//! other in the process, are there to be looked at: tests may run at the same time.
//!
//! ```
//! use covet::prelude::*;
//! use covet::testing::TestApp;
//!
//! fn shop() -> App {
//!     App::new("shop").without_database().routes(|_| Router::new().route("/items/{id}", get(item)))
//! }
//!
//! async fn item(Path(id): Path<u32>) -> Result<String, Error> {
//!     tracing::warn!(id, "sold out");
//!     Err(Error::not_found())
//! }
//!
//! // In a test: #[tokio::test]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let app = TestApp::start(shop()).await.unwrap();
//! let before = app.metrics();
//!
//! let reply = app.get("/items/7").send().await;
//!
//! assert_eq!(reply.status(), 404);
//! let lines = app.logs_of(&reply);
//! assert_eq!((lines[0].message(), &lines[0]["id"]), ("sold out", &7.into()));
//! assert_eq!(lines.last().unwrap()["route"], "/items/{id}");
//!
//! assert_eq!(app.spans_of(&reply).last().unwrap().name, "GET /items/{id}");
//!
//! let change = app.metrics().since(&before);
//! assert_eq!(change.sum("http_requests_total", &[("endpoint", "/items/{id}"), ("status", "404")]), 1.0);
//! # }
//! ```
//!
//! What is logged, counted or recorded on a thread that the service's code starts by itself belongs to nobody, unless the thread
//! says [`inherit`](crate::telemetry::local::inherit). Tasks and `spawn_blocking` need nothing.
//!
//! Not for what only a process has: signals, exit codes, the command line, log files. `covet-testkit` starts processes.

mod call;
mod logs;
mod metrics;
mod thread;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use covet_core::clock::Clock;
use covet_core::settings::Sources;
use covet_telemetry::traces::Span;
use http::Method;
use tempfile::TempDir;

pub use call::{TestReply, TestRequest};
pub use logs::LogLine;
pub use metrics::MetricValues;

use crate::{App, Context};
use thread::{Parts, Running};

/// A running service of a test. It ends when dropped.
pub struct TestApp {
    running: Running,
    // Last: the service ends before its directory goes.
    directory: TempDir,
}

/// What a [`TestApp`] is started with.
#[must_use]
pub struct TestAppBuilder {
    app: App,
    clock: Clock,
    variables: Vec<(String, String)>,
}

/// Why a service under test could not start. Its `Debug` is the reason in words, as that is what `unwrap` shows.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct TestAppError(String);

impl fmt::Debug for TestAppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TestApp {
    /// Starts a service with the defaults of development but without rate limits, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot start, as `App::run` would say it.
    pub async fn start(app: App) -> Result<Self, TestAppError> {
        Self::builder(app).start().await
    }

    /// To give it settings or a clock.
    pub fn builder(app: App) -> TestAppBuilder {
        TestAppBuilder { app, clock: Clock::system(), variables: Vec::new() }
    }

    /// What its handlers reach.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.running.context
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.running.api
    }

    /// Where the operator's port is.
    #[must_use]
    pub fn operator_address(&self) -> SocketAddr {
        self.running.operator
    }

    /// The address of `path`, which begins with `/`, for another client; for a WebSocket write `ws` for `http`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.api)
    }

    /// Its directory, which goes with it: the database and whatever else it writes.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A request, to be completed and sent.
    pub fn request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::new(self.running.api, method, path)
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> TestRequest {
        self.request(Method::GET, path)
    }

    /// `POST path`.
    pub fn post(&self, path: &str) -> TestRequest {
        self.request(Method::POST, path)
    }

    /// `PUT path`.
    pub fn put(&self, path: &str) -> TestRequest {
        self.request(Method::PUT, path)
    }

    /// `PATCH path`.
    pub fn patch(&self, path: &str) -> TestRequest {
        self.request(Method::PATCH, path)
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> TestRequest {
        self.request(Method::DELETE, path)
    }

    /// A request to the operator's port.
    pub fn operator_request(&self, method: Method, path: &str) -> TestRequest {
        TestRequest::new(self.running.operator, method, path)
    }

    /// Every line logged so far, in order. `LOG_LEVEL` decides which there are; it is `info` as everywhere.
    #[must_use]
    pub fn logs(&self) -> Vec<LogLine> {
        self.running.captured.lines.text().lines().map(LogLine::parse).collect()
    }

    /// The lines of one request so far, in order. The last is its access line, unless the handler has left work behind
    /// that has logged since.
    #[must_use]
    pub fn logs_of(&self, reply: &TestReply) -> Vec<LogLine> {
        let of_request = |line: &LogLine| line["request_id"] == reply.request_id();
        self.logs().into_iter().filter(of_request).collect()
    }

    /// Every span that has ended so far, in that order. `OTEL_TRACES_SAMPLER` decides which are recorded: all of them, as
    /// everywhere in development. None is sent anywhere.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.running.captured.spans.spans()
    }

    /// The spans of one request's trace so far, in the order in which they ended: the request's own comes last, unless it
    /// has left work behind.
    #[must_use]
    pub fn spans_of(&self, reply: &TestReply) -> Vec<Span> {
        let lines = self.logs_of(reply);
        let Some(trace_id) = lines.iter().find_map(|line| line["trace_id"].as_str()) else { return Vec::new() };
        let of_trace = |span: &Span| span.context.trace_id.to_string() == trace_id;
        self.spans().into_iter().filter(of_trace).collect()
    }

    /// The metrics of this moment, as a scrape shows them.
    #[must_use]
    pub fn metrics(&self) -> MetricValues {
        MetricValues::parse(&self.context().metrics().render())
    }
}

impl fmt::Debug for TestApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestApp").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl TestAppBuilder {
    /// Sets a variable, such as `COVET_HTTP__BODY_LIMIT`. The environment of the test is not looked at.
    pub fn set(mut self, variable: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.push((variable.into(), value.into()));
        self
    }

    /// Gives it another clock: [`Clock::manual`] stands until it is moved. Timeouts and pauses of tasks go by real time
    /// all the same.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot start, as `App::run` would say it.
    pub async fn start(self) -> Result<TestApp, TestAppError> {
        let Self { app, clock, variables } = self;
        let directory = tempfile::tempdir().map_err(|error| TestAppError(format!("no directory: {error}")))?;
        let own = |name: &str| directory.path().join(name).display().to_string();
        let defaults = [
            ("DATABASE_URL", format!("sqlite://{}", own("test.db"))),
            ("COVET_DATA_DIR", own("data")),
            ("PORT", "0".to_owned()),
            ("METRICS_PORT", "0".to_owned()),
            ("COVET_HTTP__WORKERS", "1".to_owned()),
            // All requests of a test come from one address.
            ("COVET_RATE_LIMIT__ENABLED", "false".to_owned()),
        ];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value));
        let loaded = app
            .load(Sources::of(defaults.into_iter().chain(variables)))
            .map_err(|problems| TestAppError(problems.to_string()))?;
        let running = Running::start(Parts { app, loaded, clock }).await.map_err(TestAppError)?;
        Ok(TestApp { running, directory })
    }
}

impl fmt::Debug for TestAppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAppBuilder").field("app", &self.app).finish_non_exhaustive()
    }
}
