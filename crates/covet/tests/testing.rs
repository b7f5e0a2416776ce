//! A service inside a test: what it tells, and that it tells it to nobody else.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

use std::thread;
use std::time::Duration;

use covet::axum::body::Bytes;
use covet::clock::Clock;
use covet::prelude::*;
use covet::telemetry::logging::{security, vocabulary};
use covet::telemetry::traces::Kind;
use covet::testing::TestApp;
use http::Method;
use serde_json::{Value, json};

#[derive(Debug, thiserror::Error)]
#[error("the till is empty")]
struct NoChange(#[from] std::num::ParseIntError);

/// Takes more than a millisecond.
const SLOW: &str = "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 100000) \
                    SELECT max(n) AS n FROM count";

fn shop() -> App {
    App::new("shop").routes(routes)
}

fn routes(context: &Context) -> Router {
    Router::new()
        .route("/items/{id}", get(item))
        .route("/blocking", get(blocking))
        .route("/rows", get(rows))
        .route("/echo", post(async |body: Bytes| body))
        .route("/fail", get(fail))
        .route("/panic", get(panic))
        .with_state(context.clone())
}

async fn item(Path(id): Path<u32>) -> String {
    tracing::info!(id, "an item was looked at");
    metrics::counter!("shop_looks_total").increment(1);
    id.to_string()
}

async fn blocking() -> Result<(), Error> {
    let work = || {
        tracing::info!("from a blocking thread");
        metrics::counter!("shop_blocking_total").increment(2);
        log::warn!("through the log crate");
    };
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)
}

async fn rows(State(context): State<Context>) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Row {
        n: i64,
    }
    let row: Row = context.db().read().one(SLOW, covet::data::params![]).await?;
    security(vocabulary::NOT_ALLOWED).failure("other_user").log("refused");
    Ok(row.n.to_string())
}

async fn fail() -> Result<(), Error> {
    Err(Error::internal(NoChange("x".parse::<i32>().unwrap_err())))
}

async fn panic() {
    panic!("on purpose");
}

/// Two hundred requests to a service of its own, told apart by `kind`; then what it tells must be of them alone.
async fn look_at_items(kind: u32) {
    let app = TestApp::start(shop()).await.unwrap();
    for id in 0..50 {
        let reply = app.get(&format!("/items/{}", kind * 1000 + id)).send().await;
        assert_eq!((reply.status(), reply.text()), (200, (kind * 1000 + id).to_string()));
        let lines = app.logs_of(&reply);
        let messages: Vec<_> = lines.iter().map(covet::testing::LogLine::message).collect();
        assert_eq!(messages, ["an item was looked at", "HTTP request completed"]);
        app.get("/blocking").send().await;
    }
    let logs = app.logs();
    let looks = logs.iter().filter(|line| line.message() == "an item was looked at");
    let ids: Vec<u64> = looks.map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..50).map(|id| u64::from(kind * 1000 + id)).collect::<Vec<_>>());
    assert_eq!(logs.iter().filter(|line| line.message() == "through the log crate").count(), 50);
    let metrics = app.metrics();
    assert!(app.spans().iter().filter(|span| span.name == "GET /items/{id}").count() == 50);
    assert_eq!(metrics.sum("shop_looks_total", &[]), 50.0);
    assert_eq!(metrics.sum("shop_blocking_total", &[]), 100.0);
    assert_eq!(metrics.sum("http_requests_total", &[("status", "200")]), 100.0);
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

#[test]
fn services_that_run_at_the_same_time_see_their_own_lines_and_counts_only() {
    let threads: Vec<_> = (1..=4).map(|kind| thread::spawn(move || block_on(look_at_items(kind)))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[tokio::test]
async fn a_test_asserts_on_its_service_while_another_does_the_same() {
    look_at_items(11).await;
}

#[tokio::test]
async fn another_test_asserts_on_its_service_meanwhile() {
    look_at_items(12).await;
}

#[tokio::test]
async fn a_request_says_what_it_logged_and_counted_wherever_its_work_was_done() {
    let app = TestApp::builder(shop()).set("COVET_DATABASE__SLOW_QUERY", "1ms").start().await.unwrap();
    let before = app.metrics();
    let reply = app.get("/rows").header("x-request-id", "mine").send().await;
    assert_eq!((reply.status(), reply.text(), reply.request_id()), (200, "100000".to_owned(), "mine"));
    let lines = app.logs_of(&reply);
    let refusal = lines.iter().find(|line| line.logger() == "covet.security").unwrap();
    assert_eq!((refusal.level(), &refusal["reason"]), ("WARN", &json!("other_user")));
    assert!(lines.iter().any(|line| line.message() == "slow query"), "of the database's thread: {lines:#?}");
    let access = lines.last().unwrap();
    assert_eq!((&access["route"], &access["db_count"]), (&json!("/rows"), &json!(1)));
    let change = app.metrics().since(&before);
    assert_eq!(change.sum("db_queries_total", &[("status", "success")]), 1.0);
    let spans = app.spans_of(&reply);
    let [statement, request] = &spans[..] else { panic!("two spans: {spans:#?}") };
    assert_eq!((request.name.as_ref(), request.kind, statement.kind), ("GET /rows", Kind::Server, Kind::Client));
    assert_eq!(statement.parent, Some(request.context.span_id));
    assert_eq!(access["span_id"], request.context.span_id.to_string());
}

#[tokio::test]
async fn faults_come_with_causes_and_a_backtrace_of_the_services_own_code() {
    let app = TestApp::start(shop()).await.unwrap();
    let reply = app.get("/fail").send().await;
    assert_eq!((reply.status(), reply.json::<Value>()["request_id"].as_str()), (500, Some(reply.request_id())));
    let lines = app.logs_of(&reply);
    assert_eq!(
        (&lines[0]["error"], &lines[0]["error_chain"][0]),
        (&json!("the till is empty"), &json!("invalid digit found in string"))
    );
    let backtrace = lines[0]["backtrace"].as_str().unwrap();
    assert!(backtrace.contains("testing::fail") && !backtrace.contains("tokio::runtime"), "{backtrace}");

    let reply = app.get("/panic").send().await;
    assert_eq!(reply.status(), 500);
    let line = &app.logs_of(&reply)[0];
    assert_eq!((line.message(), &line["panic_message"]), ("handler panicked", &json!("on purpose")));
    assert!(line["backtrace"].as_str().unwrap().contains("testing::panic"), "{line:?}");
}

#[tokio::test]
async fn settings_and_the_clock_are_the_tests_to_choose() {
    let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let app = TestApp::builder(shop()).set("COVET_HTTP__BODY_LIMIT", "1KiB").clock(clock).start().await.unwrap();
    assert_eq!(app.post("/echo").body(vec![b'x'; 2000]).send().await.status(), 413);
    assert_eq!(app.post("/echo").body("small").send().await.text(), "small");
    hand.advance(Duration::from_secs(60));
    assert_eq!(app.context().clock().now().to_string(), "2026-01-01T00:01:00Z");

    let refused = TestApp::builder(shop()).set("COVET_HTTP__BODY_LIMT", "1KiB").start().await.unwrap_err();
    assert!(format!("{refused:?}").contains("did you mean"), "{refused:?}");
}

#[tokio::test]
async fn log_levels_change_through_the_operators_port_and_the_audit_stream_tells_of_it() {
    let app = TestApp::start(shop()).await.unwrap();
    let level = |method: Method, path: &str| app.operator_request(method, path);
    let state: Value = level(Method::GET, "/log-level").send().await.json();
    assert_eq!(state, json!({"level": "info", "configured": "info"}));

    let changed = level(Method::PUT, "/log-level?for=15m").body("error,shop=debug").send().await;
    assert_eq!((changed.status(), &changed.json::<Value>()["level"]), (200, &json!("error,shop=debug")));
    assert!(changed.json::<Value>()["until"].is_string());
    let reply = app.get("/items/1").send().await;
    assert!(app.logs_of(&reply).is_empty(), "neither the access line nor the handler's");
    assert_eq!(level(Method::DELETE, "/log-level").send().await.json::<Value>(), state);
    let reply = app.get("/items/1").send().await;
    assert_eq!(app.logs_of(&reply).len(), 2);

    let logs = app.logs();
    let changes: Vec<_> = logs.iter().filter(|line| line["event"] == "sys_log_level_change").collect();
    assert_eq!(changes.len(), 2);
    for line in &changes {
        assert_eq!(
            (line.logger(), &line["actor"], &line["ip_address"]),
            ("covet.audit", &json!("operator"), &json!("127.0.0.1"))
        );
    }
    assert_eq!((&changes[1]["from"], &changes[1]["to"]), (&json!("error,shop=debug"), &json!("info")));

    let refused = level(Method::PUT, "/log-level").body("loud").send().await;
    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("expected off, error") && refused.text().contains("curl -X PUT"));
    assert_eq!(level(Method::PUT, "/log-level?form=1m").body("info").send().await.status(), 400);
}

#[tokio::test]
async fn a_page_of_another_origin_changes_nothing_through_an_operators_browser() {
    let app = TestApp::start(shop()).await.unwrap();
    let form = || {
        let request = app.operator_request(Method::POST, "/log-level");
        request.header("content-type", "application/x-www-form-urlencoded").body("level=off&for=")
    };
    for (host, origin) in [("127.0.0.1", "https://evil.example"), ("evil.example", "http://evil.example")] {
        let refused = form().header("host", host).header("origin", origin).send().await;
        assert_eq!(refused.status(), 403, "{}", refused.text());
    }
    let own = form().header("host", "localhost:9090").header("origin", "http://localhost:9090").send().await;
    assert_eq!((own.status(), own.header("location")), (303, "/#log-levels"));
    let logs = app.logs();
    let refusals = logs.iter().filter(|line| line["event"] == "malicious_cors");
    let reasons: Vec<_> = refusals.map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["other_origin", "unknown_name"]);

    let page = app.operator_request(Method::GET, "/").send().await;
    for part in ["shop", "<code>off</code>", "COVET_HTTP__BODY_LIMIT", "href=\"/metrics\"", "healthy"] {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    let wrong = app.operator_request(Method::POST, "/log-level");
    let wrong =
        wrong.header("content-type", "application/x-www-form-urlencoded").body("level=lo%3Cud&for=").send().await;
    assert_eq!(wrong.status(), 400);
    assert!(
        wrong.text().contains("role=\"alert\">Wrong level") && wrong.text().contains("lo&lt;ud"),
        "{}",
        wrong.text()
    );
}
