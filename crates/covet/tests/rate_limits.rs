//! How many requests a client may make, as a client sees it.

use covet::clock::{Clock, ManualClock};
use covet::prelude::*;
use covet::rate_limit::{By, RateLimit, Who, admit};
use covet::testing::{TestApp, TestAppBuilder, TestReply};
use http::Method;
use std::time::Duration;

fn shop() -> App {
    App::new("shop").without_database().routes(|_| {
        Router::new()
            .route("/items", get(async || "items").post(async |body: String| body))
            .route("/login", post(async || "in").rate_limit(RateLimit::per_minute(3).and(RateLimit::per_hour(5))))
            .route("/report/{id}", get(async || "report").rate_limit(RateLimit::cost(40)))
            .route("/status", get(async || "fine").rate_limit(RateLimit::exempt()))
            .route("/progress", get(async || "half").rate_limit(RateLimit::per_second(500).instead()))
            .route("/mine", get(async |_: Customer| "mine"))
            .route("/export", get(async |_: Customer| "all").rate_limit(RateLimit::per_minute(2).by(By::User)))
            .merge(Router::new().route("/layered", get(async || "").layer(covet::axum::Extension(1))))
    })
}

/// Whoever the header says.
struct Customer;

impl<S: Sync> covet::axum::extract::FromRequestParts<S> for Customer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut http::request::Parts, _: &S) -> Result<Self, Error> {
        let name = parts.headers.get("x-customer").and_then(|value| value.to_str().ok());
        let name = name.ok_or_else(|| Error::unauthorized("Who are you?"))?;
        admit(Who::User(name)).await?;
        // A second extractor that asks the same counts nothing.
        admit(Who::User(name)).await?;
        Ok(Self)
    }
}

/// With limits, behind a proxy on this machine, and a clock that stands.
fn limited(app: App) -> (TestAppBuilder, ManualClock) {
    let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let builder = TestApp::builder(app)
        .clock(clock)
        .set("COVET_RATE_LIMIT__ENABLED", "true")
        .set("COVET_HTTP__TRUSTED_PROXIES", "127.0.0.1/32");
    (builder, hand)
}

async fn get_from(app: &TestApp, address: &str, path: &str) -> TestReply {
    app.get(path).header("x-forwarded-for", address).send().await
}

/// How many of these requests pass.
async fn passing(app: &TestApp, address: &str, path: &str, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        passed += usize::from(get_from(app, address, path).await.status() != 429);
    }
    passed
}

fn fields(reply: &TestReply) -> [&str; 4] {
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"].map(|name| reply.header(name))
}

#[tokio::test]
async fn a_hundred_pass_in_a_minute_and_the_hundred_and_first_hears_when_it_is_over() {
    let (builder, hand) = limited(shop());
    let app = builder.start().await.unwrap();
    let before = app.metrics();
    for n in 0..100 {
        let reply = get_from(&app, "203.0.113.9", "/items").await;
        assert_eq!(reply.status(), 200);
        assert_eq!(fields(&reply)[..2], ["100".to_owned(), (99 - n).to_string()]);
        hand.advance(Duration::from_millis(100));
    }
    let refused = get_from(&app, "203.0.113.9", "/items").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(fields(&refused), ["100", "0", "50", "50"]);
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let problem: serde_json::Value = refused.json();
    assert_eq!(problem["type"], "/problems/rate-limit-exceeded");
    assert_eq!(problem["detail"], "More than 100 requests in 60 seconds from your address. Try again in 50 seconds.");
    assert_eq!(problem["request_id"], refused.request_id());
    assert_eq!(get_from(&app, "203.0.113.10", "/items").await.status(), 200, "another address is another client");

    hand.advance(Duration::from_secs(49));
    assert_eq!(get_from(&app, "203.0.113.9", "/items").await.status(), 429);
    hand.advance(Duration::from_secs(1));
    assert_eq!(get_from(&app, "203.0.113.9", "/items").await.status(), 200);

    let change = app.metrics().since(&before);
    assert_eq!(change.sum("app_rate_limit_exceeded", &[("endpoint", "/items")]), 2.0);
    assert_eq!(change.sum("http_requests_total", &[("endpoint", "/items"), ("status", "429")]), 2.0);
    assert_eq!(change.sum("http_requests_in_progress", &[]), 0.0);
    let access = app.logs_of(&refused).pop().unwrap();
    assert_eq!((&access["route"], &access["status_code"]), (&"/items".into(), &429.into()));
}

#[tokio::test]
async fn a_flood_is_told_of_once_a_second() {
    let (builder, hand) = limited(shop());
    let app = builder.start().await.unwrap();
    let lines = || app.logs().into_iter().filter(|line| line["event"] == "excess_rate_limit_exceeded").count();
    assert_eq!(passing(&app, "203.0.113.9", "/items", 120).await, 100);
    assert_eq!(lines(), 1);
    hand.advance(Duration::from_secs(1));
    assert_eq!(passing(&app, "203.0.113.9", "/items", 20).await, 0);
    assert_eq!(lines(), 2);
    let line = app.logs().into_iter().find(|line| line["event"] == "excess_rate_limit_exceeded").unwrap();
    assert_eq!((&line["logger"], &line["outcome"]), (&"covet.security".into(), &"failure".into()));
    assert_eq!((&line["target"], &line["ip_address"]), (&"limit:address".into(), &"203.0.113.9".into()));
}

#[tokio::test]
async fn an_ipv6_network_is_one_client() {
    let (builder, _hand) = limited(shop());
    let app = builder.set("COVET_RATE_LIMIT__PER_MINUTE", "3").start().await.unwrap();
    for address in ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3"] {
        assert_eq!(get_from(&app, address, "/items").await.status(), 200);
    }
    assert_eq!(get_from(&app, "2001:db8:0:1::4", "/items").await.status(), 429);
    assert_eq!(get_from(&app, "2001:db8:0:2::1", "/items").await.status(), 200);
    assert_eq!(passing(&app, "203.0.113.9", "/items", 3).await, 3);
    assert_eq!(passing(&app, "::ffff:203.0.113.9", "/items", 1).await, 0, "the same address");
}

#[tokio::test]
async fn an_address_is_believed_of_trusted_proxies_only() {
    let (clock, _hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let builder = TestApp::builder(shop()).clock(clock).set("COVET_RATE_LIMIT__ENABLED", "true");
    let app = builder.set("COVET_RATE_LIMIT__PER_MINUTE", "5").start().await.unwrap();
    let mut passed = 0;
    for n in 0..10 {
        passed += usize::from(get_from(&app, &format!("203.0.113.{n}"), "/items").await.status() == 200);
    }
    assert_eq!(passed, 5, "whatever the client claims");
}

#[tokio::test]
async fn health_checks_preflights_the_operators_port_and_trusted_callers_are_never_refused() {
    let app = shop().trust_callers(|asking| asking.headers.contains_key("x-internal"));
    let (builder, _hand) = limited(app);
    let app = builder
        .set("COVET_RATE_LIMIT__PER_MINUTE", "1")
        .set("COVET_RATE_LIMIT__TRUSTED", "10.0.0.0/8")
        .set("COVET_CORS__ALLOWED_ORIGINS", "https://app.example")
        .start()
        .await
        .unwrap();
    let address = "203.0.113.9";
    assert_eq!(passing(&app, address, "/items", 2).await, 1);
    assert_eq!(passing(&app, address, "/health", 3).await, 3);
    assert_eq!(passing(&app, address, "/health/ready", 3).await, 3);
    assert_eq!(passing(&app, address, "/status", 3).await, 3);
    assert_eq!(passing(&app, "10.1.2.3", "/items", 3).await, 3);
    assert_eq!(get_from(&app, "10.1.2.3", "/items").await.header("ratelimit-limit"), "");
    for _ in 0..3 {
        let internal = app.get("/items").header("x-forwarded-for", address).header("x-internal", "yes");
        assert_eq!(internal.send().await.status(), 200);
        let preflight = app.request(Method::OPTIONS, "/items").header("x-forwarded-for", address);
        let preflight = preflight.header("origin", "https://app.example");
        let reply = preflight.header("access-control-request-method", "POST").send().await;
        assert_eq!((reply.status(), reply.header("access-control-allow-origin")), (200, "https://app.example"));
        assert_eq!(app.operator_request(Method::GET, "/metrics").send().await.status(), 200);
    }
    let refused = app.get("/items").header("x-forwarded-for", address).header("origin", "https://app.example");
    let refused = refused.send().await;
    assert_eq!((refused.status(), refused.header("access-control-allow-origin")), (429, "https://app.example"));
    assert!(refused.header("access-control-expose-headers").contains("ratelimit-remaining"));
    assert_eq!(get_from(&app, address, "/healthy-recipes").await.status(), 429, "is no health check");
}

#[tokio::test]
async fn a_routes_own_limit_counts_beside_that_of_all_and_the_strictest_speaks() {
    let (builder, hand) = limited(shop());
    let app = builder.start().await.unwrap();
    let log_in = async || app.post("/login").header("x-forwarded-for", "203.0.113.9").send().await;
    let first = log_in().await;
    assert_eq!(fields(&first)[..2], ["3", "2"]);
    assert_eq!((log_in().await.status(), log_in().await.status()), (200, 200));
    let refused = log_in().await;
    assert_eq!((refused.status(), fields(&refused)), (429, ["3", "0", "60", "60"]));
    let others = get_from(&app, "203.0.113.9", "/items").await;
    assert_eq!(fields(&others)[..2], ["100", "96"], "a refused request counts for none");
    hand.advance(Duration::from_secs(60));
    assert_eq!(log_in().await.status(), 200);
    hand.advance(Duration::from_secs(20));
    assert_eq!(log_in().await.status(), 200);
    hand.advance(Duration::from_secs(20));
    let refused = log_in().await;
    assert_eq!(fields(&refused), ["5", "0", "3500", "3500"], "five an hour");
    assert_eq!(app.post("/login").header("x-forwarded-for", "203.0.113.10").send().await.status(), 200);
}

#[tokio::test]
async fn a_cost_an_exemption_and_a_limit_instead_are_the_routes_own() {
    let (builder, _hand) = limited(shop());
    let app = builder.start().await.unwrap();
    let address = "203.0.113.9";
    assert_eq!(passing(&app, address, "/report/1", 3).await, 2, "40 of 100 each");
    assert_eq!(fields(&get_from(&app, address, "/report/1").await)[..2], ["100", "20"]);
    assert_eq!(passing(&app, address, "/items", 30).await, 20);
    assert_eq!(passing(&app, address, "/nowhere", 1).await, 0, "a path that no route has counts too");
    assert_eq!(passing(&app, address, "/layered", 1).await, 0);
    let own = get_from(&app, address, "/progress").await;
    assert_eq!((own.status(), &fields(&own)[..2]), (200, &["500", "499"][..]));
    assert_eq!(app.request(Method::HEAD, "/progress").header("x-forwarded-for", address).send().await.status(), 200);
    assert_eq!(passing(&app, address, "/status", 3).await, 3);
}

#[tokio::test]
async fn a_user_is_counted_wherever_they_come_from_once_a_request() {
    let (builder, hand) = limited(shop());
    let app = builder.set("COVET_RATE_LIMIT__USER_PER_MINUTE", "4").start().await.unwrap();
    let ask = async |user: &str, path: &str, n: u8| {
        let request = app.get(path).header("x-forwarded-for", &format!("203.0.113.{n}"));
        request.header("x-customer", user).send().await
    };
    for n in 0..4 {
        let reply = ask("ada", "/mine", n).await;
        assert_eq!(fields(&reply)[..2], ["4".to_owned(), (3 - n).to_string()]);
    }
    let refused = ask("ada", "/mine", 5).await;
    assert_eq!((refused.status(), fields(&refused)), (429, ["4", "0", "60", "60"]));
    assert!(refused.text().contains("More than 4 requests in 60 seconds of this user"), "{}", refused.text());
    assert_eq!(ask("bob", "/mine", 5).await.status(), 200);
    hand.advance(Duration::from_secs(120));
    assert_eq!((ask("ada", "/export", 1).await.status(), ask("ada", "/export", 2).await.status()), (200, 200));
    assert_eq!(ask("ada", "/export", 3).await.status(), 429, "two a minute of this route");
    assert_eq!(ask("ada", "/mine", 3).await.status(), 200);
    assert_eq!(get_from(&app, "203.0.113.1", "/mine").await.status(), 401);
}

#[tokio::test]
async fn a_refused_client_that_sends_a_body_hears_why() {
    let (builder, _hand) = limited(shop());
    let app = builder.set("COVET_RATE_LIMIT__PER_MINUTE", "1").start().await.unwrap();
    let send =
        async || app.post("/items").header("x-forwarded-for", "203.0.113.9").body(vec![b'x'; 3_000_000]).send().await;
    assert_eq!(send().await.status(), 200);
    assert_eq!(send().await.status(), 429);
}

#[tokio::test]
async fn how_clients_are_told_is_a_setting_and_so_is_whether_there_are_limits() {
    let (builder, _hand) = limited(shop());
    let combined = builder.set("COVET_RATE_LIMIT__HEADERS", "combined").start().await.unwrap();
    let reply = get_from(&combined, "203.0.113.9", "/items").await;
    assert_eq!(reply.header("ratelimit"), "\"address\";r=99;t=60");
    assert_eq!(reply.header("ratelimit-policy"), "\"address\";q=100;w=60");
    assert_eq!(reply.header("ratelimit-limit"), "");

    let (builder, _hand) = limited(shop());
    let silent = builder.set("COVET_RATE_LIMIT__HEADERS", "off").set("COVET_RATE_LIMIT__BURST", "2");
    let silent = silent.start().await.unwrap();
    assert_eq!(passing(&silent, "203.0.113.9", "/items", 3).await, 2);
    let refused = get_from(&silent, "203.0.113.9", "/items").await;
    assert_eq!(fields(&refused), ["", "", "", "2"], "two in 1.2 seconds");

    let unlimited = TestApp::start(shop()).await.unwrap();
    assert_eq!(passing(&unlimited, "203.0.113.9", "/items", 150).await, 150);
    assert_eq!(fields(&get_from(&unlimited, "203.0.113.9", "/items").await), [""; 4]);
}
