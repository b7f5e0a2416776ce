//! Access control, over real sockets: what it stands before, and what does not start without it.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use covet::access::{Access, AccessControl, Checking, Permission};
use covet::axum::extract::Request;
use covet::axum::middleware::{Next, from_fn};
use covet::cache::Ttl;
use covet::prelude::*;
use covet::testing::TestApp;
use http::request::Parts;

const READ: Permission = Permission::new("notes:read");
const WRITE: Permission = Permission::new("notes:write");

/// Goes by what a header says: `x-may: notes:read`.
struct ByHeader;

impl AccessControl for ByHeader {
    fn check<'a>(&'a self, access: Access, parts: &'a mut Parts) -> Checking<'a> {
        Box::pin(async move {
            match parts.headers.get("x-may") {
                None => Err(Error::unauthorized("Say who you are.")),
                Some(may) if *may == *access.to_string() => Ok(()),
                Some(_) => Err(Error::forbidden()),
            }
        })
    }

    fn grants(&self, _: Permission) -> bool {
        true
    }

    fn schemes(&self, _: Access) -> Vec<&'static str> {
        vec!["bearer"]
    }
}

async fn start(routes: impl Fn(&Context) -> Router + Send + Sync + 'static) -> TestApp {
    TestApp::start(App::new("guarded").without_database().routes(routes)).await.unwrap()
}

async fn ask(app: &TestApp, path: &str, may: Option<&str>) -> u16 {
    let request = app.get(path);
    may.into_iter().fold(request, |request, may| request.header("x-may", may)).send().await.status()
}

#[tokio::test]
async fn nobody_gets_past_the_check_to_a_handler_a_layer_or_a_kept_response() {
    let reached = Arc::new(AtomicUsize::new(0));
    let (by_handler, by_layer) = (Arc::clone(&reached), Arc::clone(&reached));
    let app = start(move |context| {
        let (by_handler, by_layer) = (Arc::clone(&by_handler), Arc::clone(&by_layer));
        let count = async move || by_handler.fetch_add(1, SeqCst).to_string();
        let layer = from_fn(move |request: Request, next: Next| {
            by_layer.fetch_add(1, SeqCst);
            next.run(request)
        });
        // Kept for everybody, and added after the access control: the worst order there is.
        let kept = context.response_cache(Ttl::Response).without_credentials();
        Router::new()
            .route("/plain", get(count.clone()))
            .route("/layered", get(count.clone()).layer(layer))
            .route("/kept/{id}", get(count))
            .access(READ)
            .access_control(ByHeader)
            .cached(&kept)
    })
    .await;
    let paths = ["/plain", "/layered", "/kept/7"];
    for path in paths {
        assert_eq!((ask(&app, path, None).await, ask(&app, path, Some("notes:write")).await), (401, 403), "{path}");
    }
    assert_eq!(reached.load(SeqCst), 0);
    for path in paths {
        // Now its response is kept.
        assert_eq!(ask(&app, path, Some("notes:read")).await, 200, "{path}");
        assert_eq!((ask(&app, path, None).await, ask(&app, path, Some("notes:write")).await), (401, 403), "{path}");
        let head = app.request(http::Method::HEAD, path).send().await;
        assert_eq!(head.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn each_method_of_a_path_is_checked_for_what_it_says() {
    let app = start(|_| {
        Router::new()
            .route("/notes", get(async || "read").access(READ))
            .route("/notes", post(async || "written").access(WRITE))
            .route("/about", get(async || "about").access(Access::Public))
            .access_control(ByHeader)
    })
    .await;
    assert_eq!(ask(&app, "/notes", Some("notes:read")).await, 200);
    assert_eq!(app.post("/notes").header("x-may", "notes:read").send().await.status(), 403);
    assert_eq!(app.post("/notes").header("x-may", "notes:write").send().await.status(), 200);
    assert_eq!(app.post("/notes").send().await.status(), 401);
    for path in ["/about", "/health", "/health/ready"] {
        assert_eq!(ask(&app, path, None).await, 200, "{path}");
    }
    let before = app.metrics();
    ask(&app, "/notes", None).await;
    let refused = app.metrics().since(&before);
    assert_eq!(refused.sum("http_requests_total", &[("endpoint", "/notes"), ("status", "401")]), 1.0);
}

#[tokio::test]
async fn a_service_with_a_route_that_says_nothing_does_not_start_and_names_it() {
    let routes = |_: &Context| {
        Router::new()
            .route("/notes", get(async || "").access(READ))
            .route("/forgotten/{id}", get(async || "").delete(async || ""))
            .access_control(ByHeader)
    };
    let error = TestApp::start(App::new("open").without_database().routes(routes)).await.unwrap_err().to_string();
    assert!(error.contains("GET DELETE /forgotten/{id}") && !error.contains("/notes"), "{error}");
    let unchecked = |_: &Context| Router::new().route("/notes", get(async || "").access(READ));
    let error = TestApp::start(App::new("open").without_database().routes(unchecked)).await.unwrap_err().to_string();
    assert!(error.contains("GET /notes is for notes:read only"), "{error}");
}
