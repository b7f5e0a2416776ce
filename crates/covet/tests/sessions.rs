//! Sessions in a whole service, as browsers meet them. Here they lie in memory; `covet-identity` has the rules of both
//! stores, and the system tests have several instances on Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use covet::clock::{Clock, ManualClock};
use covet::identity::caller::Caller;
use covet::identity::session::{Session, SessionKey, SessionOrNew};
use covet::prelude::*;
use covet::testing::{TestApp, TestReply, TestRequest};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

static VISITS: SessionKey<u32> = SessionKey::new("visits");
static CART: SessionKey<Vec<String>> = SessionKey::new("cart");

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Holds a request between its reading the session and its answer.
#[derive(Clone, Default)]
struct Gate {
    reached: Arc<Notify>,
    open: Arc<Notify>,
}

fn shop(gate: Gate) -> App {
    App::new("shop").without_database().sessions().routes(move |context| {
        let gate = gate.clone();
        let slow = async move |session: Session| {
            session.update(&VISITS, |visits| *visits += 1)?;
            gate.reached.notify_one();
            gate.open.notified().await;
            Ok::<_, Error>(())
        };
        Router::new()
            .route("/plain", get(async || "plain"))
            .route("/log-in/{user}", post(log_in))
            .route("/log-out", post(log_out))
            .route("/regenerate", post(regenerate))
            .route("/me", get(me))
            .route("/caller", get(caller).post(caller))
            .route("/maybe", get(maybe).post(maybe))
            .route("/visit", post(visit))
            .route("/cart/{item}", post(put_in_cart))
            .route("/fail", post(fail))
            .route("/big", post(big))
            .route("/slow", post(slow))
            .with_state(context.clone())
    })
}

async fn log_in(SessionOrNew(session): SessionOrNew, Path(user): Path<u128>) -> Result<(), Error> {
    session.log_in(Uuid::from_u128(user)).await?;
    Ok(())
}

async fn log_out(session: Session) -> Result<(), Error> {
    session.end().await?;
    Ok(())
}

async fn regenerate(session: Session) -> Result<(), Error> {
    Ok(session.regenerate().await?)
}

fn seen(session: &Session) -> Json<Value> {
    Json(json!({
        "id": session.id(),
        "user": session.user().map(|user| user.as_u128() as u64),
        "visits": session.get(&VISITS),
        "cart": session.get(&CART),
        "expires_at": session.expires_at(),
    }))
}

async fn me(session: Session) -> Json<Value> {
    seen(&session)
}

async fn caller(caller: Caller) -> String {
    caller.user_id.as_u128().to_string()
}

async fn maybe(session: Option<Session>) -> String {
    session.map_or("nobody".to_owned(), |session| format!("{:?}", session.user().map(|user| user.as_u128())))
}

async fn visit(session: Session) -> Result<String, Error> {
    session.update(&VISITS, |visits| *visits += 1)?;
    Ok(session.get(&VISITS).unwrap_or_default().to_string())
}

async fn put_in_cart(session: SessionOrNew, Path(item): Path<String>) -> Result<(), Error> {
    session.update(&CART, move |cart| cart.push(item.clone()))?;
    Ok(())
}

async fn fail(session: Session) -> Result<(), Error> {
    session.set(&VISITS, &1000)?;
    Err(Error::status(StatusCode::BAD_GATEWAY))
}

async fn big(session: Session) -> Result<(), Error> {
    session.set(&CART, &vec!["x".repeat(20_000)])?;
    Ok(())
}

async fn start() -> TestApp {
    TestApp::start(shop(Gate::default())).await.unwrap()
}

async fn start_at(start: &str) -> (TestApp, ManualClock) {
    let (clock, hand) = Clock::manual(start.parse().unwrap());
    (TestApp::builder(shop(Gate::default())).clock(clock).start().await.unwrap(), hand)
}

/// The one `Set-Cookie` of a reply.
fn set_cookie(reply: &TestReply) -> Option<String> {
    let mut all = reply.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap().to_owned());
    let first = all.next();
    assert!(all.next().is_none(), "{:?}", reply.headers());
    first
}

/// `name=value`, as a browser sends it back.
#[track_caller]
fn cookie(reply: &TestReply) -> String {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    set_cookie(reply).expect("a cookie").split(';').next().unwrap().to_owned()
}

fn ask(app: &TestApp, method: Method, path: &str, cookie: &str) -> TestRequest {
    app.request(method, path).header("cookie", cookie)
}

async fn read(app: &TestApp, cookie: &str) -> Value {
    let reply = ask(app, Method::GET, "/me", cookie).send().await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

async fn status(app: &TestApp, cookie: &str) -> u16 {
    ask(app, Method::GET, "/me", cookie).send().await.status()
}

async fn logged_in(app: &TestApp, user: u128) -> String {
    cookie(&app.post(&format!("/log-in/{user}")).send().await)
}

fn active(app: &TestApp) -> f64 {
    app.metrics().sum("app_active_sessions", &[])
}

#[tokio::test]
async fn a_cookie_is_set_at_login_and_not_again() {
    let app = start().await;
    let reply = app.post("/log-in/7").send().await;
    let set = set_cookie(&reply).unwrap();
    let attributes: BTreeSet<_> = set.split("; ").skip(1).collect();
    assert!(set.starts_with("session="), "{set}");
    assert_eq!(attributes, BTreeSet::from(["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax"]));
    assert_eq!(reply.header("cache-control"), "no-store");

    let ours = cookie(&reply);
    for (method, path) in
        [(Method::GET, "/me"), (Method::GET, "/caller"), (Method::POST, "/visit"), (Method::GET, "/maybe")]
    {
        let reply = ask(&app, method, path, &ours).send().await;
        assert_eq!((reply.status(), set_cookie(&reply)), (200, None), "{path}");
        assert_eq!((reply.header("cache-control"), reply.header("vary")), ("private", "cookie"), "{path}");
    }
    assert_eq!(read(&app, &ours).await["user"], 7);
}

#[tokio::test]
async fn a_route_without_a_session_is_left_alone() {
    let app = start().await;
    let reply = ask(&app, Method::GET, "/plain", &logged_in(&app, 7).await).send().await;
    assert_eq!((set_cookie(&reply), reply.header("cache-control"), reply.header("vary")), (None, "", ""));
}

#[tokio::test]
async fn where_browsers_come_by_tls_the_cookie_is_bound_to_the_host() {
    let key = "3f0c1d9a7be24a6f8c5d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d";
    let app = TestApp::builder(shop(Gate::default())).set("COVET_ENV", "production").set("SECRET_KEY", key);
    let app = app.set("HOST", "127.0.0.1").set("METRICS_HOST", "127.0.0.1").start().await.unwrap();
    let set = set_cookie(&app.post("/log-in/7").send().await).unwrap();
    assert!(set.starts_with("__Host-session=") && set.ends_with("; Secure") && set.contains("; Path=/;"), "{set}");
    assert!(!set.to_lowercase().contains("domain"), "{set}");
    let plain = set.replacen("__Host-", "", 1);
    assert_eq!(status(&app, &plain).await, 401, "without its prefix it could be a neighbour's");
}

#[tokio::test]
async fn without_a_session_each_extractor_says_what_it_does() {
    let app = start().await;
    let required = app.get("/me").send().await;
    assert_eq!((required.status(), required.header("www-authenticate")), (401, "Cookie"));
    assert_eq!(app.get("/maybe").send().await.text(), "nobody");
    assert_eq!(app.get("/caller").send().await.status(), 401);
    let new = app.post("/cart/tea").send().await;
    assert_eq!(read(&app, &cookie(&new)).await["user"], Value::Null);
    assert_eq!(ask(&app, Method::GET, "/caller", &cookie(&new)).send().await.status(), 401);
}

#[tokio::test]
async fn an_id_known_before_the_login_is_worth_nothing_after_it() {
    let app = start().await;
    // Somebody gives their victim a session of their own making, and waits for the login.
    let planted = cookie(&app.post("/cart/bait").send().await);
    let after = cookie(&ask(&app, Method::POST, "/log-in/7", &planted).send().await);
    assert_ne!(planted, after);
    assert_eq!(status(&app, &planted).await, 401);
    let session = read(&app, &after).await;
    assert_eq!((&session["user"], &session["cart"]), (&json!(7), &json!(["bait"])));
    // Nor is an id taken over that we have not given out.
    let invented = format!("session={}.{}", "A".repeat(86), "A".repeat(43));
    let fresh = cookie(&ask(&app, Method::POST, "/log-in/8", &invented).send().await);
    assert_ne!(fresh, invented);
    assert_eq!(status(&app, &invented).await, 401);
}

#[tokio::test]
async fn another_login_ends_the_session_before_and_another_user_gets_none_of_it() {
    let app = start().await;
    let first = logged_in(&app, 7).await;
    ask(&app, Method::POST, "/cart/tea", &first).send().await;
    let again = cookie(&ask(&app, Method::POST, "/log-in/7", &first).send().await);
    assert_eq!(read(&app, &again).await["cart"], json!(["tea"]));
    let other = cookie(&ask(&app, Method::POST, "/log-in/8", &again).send().await);
    assert_eq!(read(&app, &other).await["cart"], Value::Null);
    assert_eq!((status(&app, &first).await, status(&app, &again).await), (401, 401));
    assert_eq!(active(&app), 1.0);
}

#[tokio::test]
async fn a_forged_cookie_is_refused_without_a_look_at_the_store_and_counted() {
    let app = start().await;
    let good = logged_in(&app, 7).await;
    let before = app.metrics();
    let (value, signature) = good.split_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    for (forged, reason) in [
        (format!("{value}.{flipped}{}", &signature[1..]), "wrong_signature"),
        (format!("session={}.{signature}", "A".repeat(86)), "wrong_signature"),
        ("session=1234".to_owned(), "malformed"),
        ("session=".to_owned(), "malformed"),
    ] {
        let change = app.metrics();
        assert_eq!(status(&app, &forged).await, 401, "{forged}");
        let change = app.metrics().since(&change);
        let labels = [("method", "session"), ("reason", reason)];
        assert_eq!(change.sum("app_auth_failures_total", &labels), 1.0, "{forged}");
    }
    assert_eq!(status(&app, &good).await, 200);
    let change = app.metrics().since(&before);
    let attempts = |status| change.sum("app_auth_attempts_total", &[("method", "session"), ("status", status)]);
    assert_eq!((attempts("success"), attempts("failure")), (1.0, 4.0));
    assert!(!app.logs().iter().any(|line| format!("{line:?}").contains(signature)), "no cookie is ever logged");
}

#[tokio::test]
async fn a_regenerated_session_keeps_everything_but_its_old_id() {
    let app = start().await;
    let old = logged_in(&app, 7).await;
    ask(&app, Method::POST, "/visit", &old).send().await;
    let before = read(&app, &old).await;
    let new = cookie(&ask(&app, Method::POST, "/regenerate", &old).send().await);
    assert_ne!(old, new);
    assert_eq!(status(&app, &old).await, 401);
    let after = read(&app, &new).await;
    assert_eq!((&after["id"], &after["user"], &after["visits"]), (&before["id"], &json!(7), &json!(1)));
    assert_eq!(active(&app), 1.0);
}

#[tokio::test]
async fn logging_out_takes_the_cookie_and_ends_every_copy_of_it() {
    let app = start().await;
    let ours = logged_in(&app, 7).await;
    let reply = ask(&app, Method::POST, "/log-out", &ours).send().await;
    assert_eq!(set_cookie(&reply).unwrap(), "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!((status(&app, &ours).await, active(&app)), (401, 0.0));
    // A late answer to the old cookie must not take away the one of a login since.
    let late = ask(&app, Method::GET, "/maybe", &ours).send().await;
    assert_eq!((late.text().as_str(), set_cookie(&late)), ("nobody", None));
}

#[tokio::test]
async fn changes_made_at_the_same_time_all_count() {
    let gate = Gate::default();
    let app = TestApp::start(shop(gate.clone())).await.unwrap();
    let ours = logged_in(&app, 7).await;
    let slow = tokio::spawn(ask(&app, Method::POST, "/slow", &ours).send());
    gate.reached.notified().await;
    ask(&app, Method::POST, "/visit", &ours).send().await;
    ask(&app, Method::POST, "/cart/tea", &ours).send().await;
    gate.open.notify_one();
    assert_eq!(slow.await.unwrap().status(), 200);
    let session = read(&app, &ours).await;
    assert_eq!((&session["visits"], &session["cart"]), (&json!(2), &json!(["tea"])));

    let visits = (0..40).map(|_| tokio::spawn(ask(&app, Method::POST, "/visit", &ours).send())).collect::<Vec<_>>();
    for visit in visits {
        assert_eq!(visit.await.unwrap().status(), 200);
    }
    assert_eq!(read(&app, &ours).await["visits"], 42);
}

#[tokio::test]
async fn a_session_that_ends_while_a_request_runs_stays_ended_and_the_request_says_so() {
    let gate = Gate::default();
    let app = TestApp::start(shop(gate.clone())).await.unwrap();
    let ours = logged_in(&app, 7).await;
    let slow = tokio::spawn(ask(&app, Method::POST, "/slow", &ours).send());
    gate.reached.notified().await;
    ask(&app, Method::POST, "/log-out", &ours).send().await;
    gate.open.notify_one();
    let reply = slow.await.unwrap();
    assert_eq!(reply.status(), 409, "{}", reply.text());
    assert_eq!(reply.json::<Value>()["type"], "/problems/session-ended");
    assert_eq!(set_cookie(&reply), None);
    assert_eq!((status(&app, &ours).await, active(&app)), (401, 0.0));
}

#[tokio::test]
async fn a_change_survives_a_new_id_given_meanwhile() {
    let gate = Gate::default();
    let app = TestApp::start(shop(gate.clone())).await.unwrap();
    let ours = logged_in(&app, 7).await;
    let slow = tokio::spawn(ask(&app, Method::POST, "/slow", &ours).send());
    gate.reached.notified().await;
    let new = cookie(&ask(&app, Method::POST, "/regenerate", &ours).send().await);
    gate.open.notify_one();
    let reply = slow.await.unwrap();
    assert_eq!((reply.status(), set_cookie(&reply)), (200, None), "it must not put the old cookie back");
    assert_eq!(read(&app, &new).await["visits"], 1);
}

#[tokio::test]
async fn what_a_failed_request_has_changed_is_not_kept() {
    let app = start().await;
    let ours = logged_in(&app, 7).await;
    assert_eq!(ask(&app, Method::POST, "/fail", &ours).send().await.status(), 502);
    assert_eq!(ask(&app, Method::POST, "/big", &ours).send().await.status(), 500);
    let session = read(&app, &ours).await;
    assert_eq!((&session["visits"], &session["cart"]), (&Value::Null, &Value::Null));
    assert!(app.logs().iter().any(|line| format!("{line:?}").contains("COVET_SESSION__DATA_LIMIT")));
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_use_prolongs_it_to_its_limit() {
    let (app, hand) = start_at("2026-01-01T00:00:00Z").await;
    let (used, unused) = (logged_in(&app, 7).await, logged_in(&app, 8).await);
    hand.advance(DAY - Duration::from_secs(1));
    assert_eq!((status(&app, &used).await, active(&app)), (200, 2.0));
    hand.advance(Duration::from_secs(1));
    assert_eq!((status(&app, &unused).await, active(&app)), (401, 1.0));
    for _ in 0..30 {
        assert_eq!(status(&app, &used).await, 200);
        hand.advance(DAY - HOUR);
    }
    assert_eq!(read(&app, &used).await["expires_at"], "2026-01-31T00:00:00Z");
    hand.advance(DAY * 2);
    assert_eq!((status(&app, &used).await, active(&app)), (401, 0.0));
}

#[tokio::test]
async fn a_session_is_prolonged_once_an_hour_and_not_at_every_request() {
    let (app, hand) = start_at("2026-01-01T00:00:00Z").await;
    let ours = logged_in(&app, 7).await;
    for (minutes, expires) in [(0, "2026-01-02T00:00:00Z"), (59, "2026-01-02T00:00:00Z"), (1, "2026-01-02T01:00:00Z")] {
        hand.advance(Duration::from_secs(minutes * 60));
        assert_eq!(read(&app, &ours).await["expires_at"], expires, "{minutes}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let app = start().await;
    let ours = logged_in(&app, 7).await;
    let host = app.address().to_string();
    let evil = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let with = |request: TestRequest, headers: &[(&str, &str)]| {
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    for path in ["/visit", "/log-out", "/caller", "/log-in/666", "/cart/bait"] {
        let reply = with(ask(&app, Method::POST, path, &ours), &evil).send().await;
        assert_eq!((reply.status(), set_cookie(&reply)), (403, None), "{path}: {}", reply.text());
    }
    let optional = with(ask(&app, Method::POST, "/maybe", &ours), &evil).send().await;
    assert_eq!(optional.text(), "nobody");
    assert_eq!(with(ask(&app, Method::GET, "/me", &ours), &evil).send().await.status(), 200);
    let own = [("origin", &*format!("http://{host}")), ("sec-fetch-site", "same-origin")];
    assert_eq!(with(ask(&app, Method::POST, "/visit", &ours), &own).send().await.text(), "1");
    let line = app.logs().into_iter().find(|line| line["event"] == "malicious_cors").unwrap();
    assert_eq!((&line["reason"], &line["logger"]), (&json!("other_origin"), &json!("covet.security")));
}

#[tokio::test]
async fn requests_of_a_session_carry_its_user_into_the_log() {
    let app = start().await;
    let ours = logged_in(&app, 7).await;
    let reply = ask(&app, Method::GET, "/me", &ours).send().await;
    assert_eq!(app.logs_of(&reply).last().unwrap()["user_id"], Uuid::from_u128(7).to_string());
}
