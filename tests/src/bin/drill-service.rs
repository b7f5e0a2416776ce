//! A service whose routes misbehave on request: slow, stuck, panicking, forking. See `covet_system_tests::drill`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use covet::axum::body::{Body, Bytes, HttpBody};
use covet::axum::http::{HeaderMap, StatusCode};
use covet::data::params;
use covet::health::Outcome;
use covet::prelude::{App, Context as Service, Error, Path, Query, Response, Router, State, get, post, put};
use covet::telemetry::traces;
use covet::ws::WebSocketUpgrade;
use covet_system_tests::drill;
use covet_system_tests::drill::task::DrillSettings;
use http_body::{Frame, SizeHint};
use serde::Deserialize;
use tokio::time::Sleep;

static CRITICAL: LazyLock<Arc<Dial>> = LazyLock::new(Arc::default);
static OPTIONAL: LazyLock<Arc<Dial>> = LazyLock::new(Arc::default);

#[tokio::main]
async fn main() -> covet::Result {
    App::new("drill-service")
        .version(env!("CARGO_PKG_VERSION"))
        .health_critical("critical", || CRITICAL.ask())
        .health("optional", || OPTIONAL.ask())
        .settings::<DrillSettings>()
        .periodic("drill", Duration::from_millis(500), drill::task::work)
        .routes(routes)
        .routes(drill::database::routes)
        .routes(drill::cache::routes)
        .routes(drill::things::routes)
        .run()
        .await
}

fn routes(service: &Service) -> Router {
    Router::new()
        .route("/relay", get(relay))
        .route("/rows/{count}", get(rows))
        .with_state(service.clone())
        .route("/trace", get(trace))
        .route("/hello", get(async || "hello"))
        .route("/slow", get(slow))
        .route("/trickle", get(trickle))
        .route("/stuck", get(async || std::future::pending::<()>().await))
        .route("/block", get(block))
        .route("/fail", get(async || Err::<(), _>(Error::status(StatusCode::INTERNAL_SERVER_ERROR))))
        .route("/panic", get(panic))
        .route("/careless", post(careless))
        .route("/careless/panic", post(careless_panic))
        .route("/echo", post(async |body: Bytes| body))
        .route("/ws/echo", get(echo))
        .route("/orphan", post(orphan))
        .route("/check/{name}/{state}", put(set_check))
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

async fn slow(Query(slow): Query<Slow>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(slow.ms)).await;
    "at last"
}

/// Two bytes, the second long after the first; the length is known from the beginning.
async fn trickle(Query(slow): Query<Slow>) -> Response {
    let pause = Box::pin(tokio::time::sleep(Duration::from_millis(slow.ms)));
    Response::new(Body::new(Trickle { bytes: b"ab", sent: 0, pause }))
}

struct Trickle {
    bytes: &'static [u8],
    sent: usize,
    pause: Pin<Box<Sleep>>,
}

impl HttpBody for Trickle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.sent > 0 {
            ready!(this.pause.as_mut().poll(context));
        }
        let byte = this.bytes.get(this.sent..=this.sent);
        this.sent += 1;
        Poll::Ready(byte.map(|byte| Ok(Frame::data(Bytes::from_static(byte)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.bytes.len() - self.sent.min(self.bytes.len())) as u64)
    }
}

/// Holds its thread: not even a cut can reach it.
async fn block() {
    loop {
        std::thread::park();
    }
}

#[expect(clippy::panic, reason = "what it is for")]
async fn panic() {
    panic!("on purpose");
}

/// Logs whatever it is given, in every way there is.
async fn careless(headers: HeaderMap, body: String) -> Result<(), Error> {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let credentials: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
    let password = credentials["password"].as_str().unwrap_or_default();
    tracing::warn!(?headers, %body, "careless");
    tracing::warn!(authorization, password, database_url = credentials["database_url"].as_str(), "careless fields");
    tracing::warn!("careless message: {headers:?} {body} {credentials} Authorization: {authorization}");
    tracing::warn!(user.password = password, http.request.headers.cookie = ?headers.get("cookie"), "nested");
    let url = credentials["database_url"].as_str().unwrap_or_default();
    Err(Error::internal(Unreachable(std::io::Error::other(format!("cannot connect to {url}")))))
}

#[derive(Debug, thiserror::Error)]
#[error("the database is not reachable")]
struct Unreachable(#[source] std::io::Error);

#[expect(clippy::panic, reason = "what it is for")]
async fn careless_panic(headers: HeaderMap, body: String) {
    panic!("cannot use {headers:?} and {body}");
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(async |mut socket| {
        while let Some(message) = socket.recv().await {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

#[derive(Deserialize)]
struct Relay {
    to: String,
}

/// Answers with what another service answers.
async fn relay(State(service): State<Service>, Query(relay): Query<Relay>) -> Result<String, Error> {
    Ok(service.client().get(relay.to).template("/drill").send().await?.error_for_status()?.text().await?)
}

/// Reads rows, in a transaction and in a span of its own.
#[tracing::instrument(name = "count rows", skip(service), fields(token = "planted-secret"))]
async fn rows(State(service): State<Service>, Path(count): Path<u32>) -> Result<String, Error> {
    let transaction = service.db().begin().await?;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
               SELECT count(*) FROM n WHERE 'planted-secret' <> ''";
    let rows: i64 = transaction.one(sql, params![i64::from(count)]).await?;
    transaction.commit().await?;
    traces::set_attribute("drill.rows", rows);
    Ok(rows.to_string())
}

/// The trace that its own code runs in.
async fn trace() -> String {
    traces::current().map(|trace| trace.to_string()).unwrap_or_default()
}

/// Starts a shell whose own child outlives it, and waits for the shell.
async fn orphan() -> Result<&'static str, Error> {
    let shell =
        tokio::task::spawn_blocking(|| std::process::Command::new("/bin/sh").args(["-c", "sleep 0.2 &"]).status());
    match shell.await {
        Ok(Ok(status)) if status.success() => Ok("orphaned"),
        other => Err(Error::status(StatusCode::INTERNAL_SERVER_ERROR).detail(format!("{other:?}"))),
    }
}

async fn set_check(Path((name, state)): Path<(String, String)>) -> Result<StatusCode, Error> {
    let dial = match name.as_str() {
        "critical" => &CRITICAL,
        "optional" => &OPTIONAL,
        _ => return Err(Error::status(StatusCode::NOT_FOUND)),
    };
    let Some(position) = STATES.iter().position(|known| *known == state) else {
        return Err(Error::status(StatusCode::NOT_FOUND));
    };
    dial.0.store(u8::try_from(position).unwrap_or(0), Ordering::Relaxed);
    Ok(StatusCode::NO_CONTENT)
}

const STATES: [&str; 4] = ["healthy", "degraded", "unhealthy", "hang"];

/// What a health check answers, as an index into [`STATES`].
#[derive(Default)]
struct Dial(AtomicU8);

impl Dial {
    fn ask(self: &Arc<Self>) -> impl Future<Output = Outcome> + Send + 'static {
        let dial = Arc::clone(self);
        async move {
            match STATES[usize::from(dial.0.load(Ordering::Relaxed))] {
                "degraded" => Outcome::degraded("the dial says so"),
                "unhealthy" => Outcome::unhealthy("the dial says so"),
                "hang" => std::future::pending().await,
                _ => Outcome::healthy(),
            }
        }
    }
}
