//! Whatever callers, handlers and clients say in the headers that matter to the cache: nothing breaks, and nobody gets what was
//! made for somebody else.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use covet::axum::extract::FromRequestParts;
use covet::cache::Ttl;
use covet::clock::Clock;
use covet::prelude::*;
use covet::testing::TestApp;
use fastrand::Rng;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Requests of one run.
const REQUESTS: usize = 3_000;
/// Few URIs, so that what is kept is met again.
const URIS: usize = 3;
const CALLERS: [&str; 3] = ["anna", "ben", "nobody"];

/// Words that caches read, and what breaks readers of words.
const WORDS: [&str; 34] = [
    "max-age=60",
    "max-age=0",
    "max-age",
    "max-age=\"5\"",
    "max-age=-1",
    "max-age=99999999999999999999",
    "s-maxage=30",
    "no-store",
    "No-Cache",
    "private",
    "private=\"set-cookie, a\"",
    "no-cache=\"x",
    "public",
    "must-revalidate",
    "immutable",
    "stale-while-revalidate=60",
    "stale-if-error=60",
    "only-if-cached",
    "min-fresh=10",
    "max-stale",
    "max-stale=5",
    "*",
    "accept-language",
    "x-a",
    "X-A, accept",
    "\"a\"",
    "W/\"a\"",
    "\"",
    "\"a\", \"b\"",
    ",,,",
    "=",
    "\\",
    "Thu, 01 Jan 2026 00:00:00 GMT",
    "",
];
const OF_RESPONSES: [&str; 9] =
    ["cache-control", "vary", "etag", "age", "date", "expires", "last-modified", "set-cookie", "connection"];
const OF_REQUESTS: [&str; 8] =
    ["cache-control", "pragma", "if-none-match", "if-modified-since", "if-match", "if-range", "accept-language", "x-a"];

fn value(random: &mut Rng) -> Vec<u8> {
    if random.u8(..) < 20 {
        let length = random.usize(..40);
        return (0..length).map(|_| random.u8(0x20..0x7f)).collect();
    }
    let count = random.usize(1..4);
    let words: Vec<&str> = (0..count).map(|_| WORDS[random.usize(..WORDS.len())]).collect();
    words.join(", ").into_bytes()
}

fn headers(random: &mut Rng, names: &'static [&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..random.usize(..4) {
        let name = HeaderName::from_static(names[random.usize(..names.len())]);
        headers.append(name, HeaderValue::from_bytes(&value(random)).unwrap());
    }
    headers
}

/// Who asks, if anybody.
struct Name(String);

impl<S: Sync> FromRequestParts<S> for Name {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let name = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        Ok(Self(name.unwrap_or("nobody").to_owned()))
    }
}

/// What the handler answers next.
type Script = Arc<Mutex<(StatusCode, HeaderMap)>>;

async fn start(script: &Script) -> (TestApp, covet::clock::ManualClock) {
    let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let script = Arc::clone(script);
    let app = App::new("random").without_database().routes(move |context| {
        let script = Arc::clone(&script);
        let handler = move |Name(name): Name| {
            let (status, headers) = script.lock().unwrap().clone();
            let mut response = (status, name).into_response();
            response.headers_mut().extend(headers);
            async move { response }
        };
        let cache = || {
            let cache = context.response_cache(Ttl::Response).stale_while_revalidate(Duration::from_secs(10));
            cache.stale_if_error(Duration::from_secs(10)).vary("x-a").tag("{uri}")
        };
        let own = cache().per_caller((), |name: &Name| name.0.clone());
        Router::new()
            .route("/open/{uri}", get(handler.clone()).post(handler.clone()).cached(cache()))
            .route("/own/{uri}", get(handler.clone()).post(handler.clone()).cached(own))
            .route("/same/{uri}", get(handler.clone()).post(handler).cached(cache().without_credentials()))
    });
    (TestApp::builder(app).clock(clock).set("LOG_LEVEL", "off").start().await.unwrap(), hand)
}

#[tokio::test]
async fn whatever_the_headers_say_nothing_breaks_and_nobody_gets_what_is_another_callers() {
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let script = Script::default();
    let (app, hand) = start(&script).await;
    let (mut hits, mut others) = (0, 0);
    for number in 0..REQUESTS {
        hand.advance(Duration::from_millis(random.u64(..8_000)));
        let statuses = [200, 200, 200, 200, 204, 301, 304, 404, 206, 503];
        let status = StatusCode::from_u16(statuses[random.usize(..statuses.len())]).unwrap();
        *script.lock().unwrap() = (status, headers(&mut random, &OF_RESPONSES));
        let caller = CALLERS[random.usize(..CALLERS.len())];
        let kind = ["open", "own", "same"][random.usize(..3)];
        let method = [Method::GET, Method::GET, Method::GET, Method::HEAD, Method::POST][random.usize(..5)].clone();
        let mut request = app.request(method.clone(), &format!("/{kind}/{}", random.usize(..URIS)));
        if caller != "nobody" {
            request = request.header("authorization", caller);
        }
        for (name, value) in &headers(&mut random, &OF_REQUESTS) {
            request = request.header(name.as_str(), value.to_str().unwrap());
        }
        let asked = format!("seed {seed}, request {number}: {request:?}");
        let reply = request.send().await;
        assert_ne!(reply.status(), 500, "{asked}\n{reply:?}");
        let own_words = matches!(reply.status(), 504 | 412) || reply.status() == 204 || reply.status() == 304;
        let expected = if kind == "same" && method != Method::POST { "nobody" } else { caller };
        if method != Method::HEAD && !own_words {
            assert_eq!(reply.text(), expected, "{asked}\n{reply:?}");
        }
        if reply.header("cache-status").contains("hit") {
            hits += 1;
            assert!(kind != "open" || caller == "nobody", "{asked}\n{reply:?}");
            assert!(!reply.headers().contains_key("set-cookie"), "{asked}\n{reply:?}");
        } else {
            others += 1;
        }
    }
    assert!(hits > REQUESTS / 100 && others > REQUESTS / 10, "seed {seed}: {hits} hits, {others} others");
}
