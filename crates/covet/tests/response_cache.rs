//! Kept responses, over real sockets and the whole pipeline.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use covet::ResponseCache;
use covet::axum::extract::{FromRequestParts, Request};
use covet::axum::middleware::{Next, from_fn};
use covet::cache::Ttl;
use covet::clock::{Clock, ManualClock};
use covet::prelude::*;
use covet::testing::{TestApp, TestReply};
use covet_testkit::eventually;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;

/// Counts how often a handler was asked.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn once_more(&self) -> usize {
        self.0.fetch_add(1, SeqCst) + 1
    }

    fn times(&self) -> usize {
        self.0.load(SeqCst)
    }
}

fn headers<const N: usize>(of: [(&'static str, &'static str); N]) -> HeaderMap {
    of.into_iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// A service with the clock of a test, which stands until it is moved.
async fn start(routes: impl Fn(&Context) -> Router + Send + Sync + 'static) -> (TestApp, ManualClock) {
    start_with(routes, &[]).await
}

async fn start_with(
    routes: impl Fn(&Context) -> Router + Send + Sync + 'static,
    settings: &[(&str, &str)],
) -> (TestApp, ManualClock) {
    let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let app = App::new("kept").without_database().routes(routes);
    let builder =
        settings.iter().fold(TestApp::builder(app).clock(clock), |builder, (name, value)| builder.set(*name, *value));
    (builder.start().await.unwrap(), hand)
}

/// `GET /n` answers with how often it was asked.
async fn counting(cache: impl Fn(&Context) -> ResponseCache + Send + Sync + 'static) -> (TestApp, ManualClock, Asked) {
    let asked = Asked::default();
    let counted = asked.clone();
    let (app, hand) = start(move |context| {
        let asked = counted.clone();
        Router::new().route("/n", get(async move || asked.once_more().to_string()).cached(cache(context)))
    })
    .await;
    (app, hand, asked)
}

fn five_minutes(context: &Context) -> ResponseCache {
    context.response_cache(Ttl::Response)
}

fn status(reply: &TestReply) -> &str {
    reply.header("cache-status")
}

#[tokio::test]
async fn a_response_is_made_once_in_the_time_of_its_class() {
    let (app, hand, asked) = counting(five_minutes).await;
    let first = app.get("/n").send().await;
    assert_eq!((first.text().as_str(), status(&first)), ("1", "covet; fwd=uri-miss; stored"));
    assert_eq!(first.header("age"), "", "it was made just now");
    hand.advance(Duration::from_secs(299));
    let second = app.get("/n").send().await;
    assert_eq!((second.text().as_str(), status(&second), second.header("age")), ("1", "covet; hit; ttl=1", "299"));
    assert_eq!(second.header("date"), first.header("date"));
    assert_eq!(second.header("cache-control"), "no-cache", "clients ask each time");
    assert_eq!(second.header("content-type"), "text/plain; charset=utf-8");
    assert_ne!(second.request_id(), first.request_id());
    hand.advance(Duration::from_secs(1));
    let third = app.get("/n").send().await;
    assert_eq!((third.text().as_str(), status(&third)), ("2", "covet; fwd=uri-miss; stored"));
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn a_hit_is_counted_and_logged_as_a_request_of_its_route() {
    let (app, _, _) = counting(five_minutes).await;
    app.get("/n").send().await;
    let before = app.metrics();
    let hit = app.get("/n").send().await;
    let change = app.metrics().since(&before);
    assert_eq!(change.sum("http_requests_total", &[("endpoint", "/n"), ("status", "200")]), 1.0);
    assert_eq!(change.sum("cache_hits_total", &[("key_prefix", "responses")]), 1.0);
    let line = app.logs_of(&hit).pop().unwrap();
    assert_eq!((&line["route"], &line["status_code"]), (&"/n".into(), &200.into()));
}

#[tokio::test]
async fn head_is_answered_from_what_get_has_left_and_leaves_it_for_get() {
    let (app, _, asked) = counting(five_minutes).await;
    let head = app.request(Method::HEAD, "/n").send().await;
    assert_eq!((head.status(), head.text().as_str(), head.header("content-length")), (200, "", "1"));
    let whole = app.get("/n").send().await;
    assert_eq!((whole.text().as_str(), status(&whole)), ("1", "covet; hit; ttl=300"));
    let head = app.request(Method::HEAD, "/n").send().await;
    assert_eq!(
        (head.text().as_str(), head.header("content-length"), head.header("etag")),
        ("", "1", whole.header("etag"))
    );
    assert_eq!(asked.times(), 1);
}

#[tokio::test]
async fn a_client_that_has_it_hears_304_without_the_handler() {
    let (app, hand, asked) = counting(five_minutes).await;
    let etag = app.get("/n").send().await.header("etag").to_owned();
    let again = app.get("/n").header("if-none-match", &etag).send().await;
    assert_eq!((again.status(), again.header("etag"), again.header("cache-control")), (304, &*etag, "no-cache"));
    assert_eq!((status(&again), again.header("age"), again.text().as_str()), ("covet; hit; ttl=300", "0", ""));
    assert_eq!(asked.times(), 1);
    hand.advance(Duration::from_secs(301));
    let other = app.get("/n").header("if-none-match", &etag).send().await;
    assert_eq!((other.status(), other.text().as_str()), (200, "2"), "the handler sees no conditions");
}

#[tokio::test]
async fn requests_with_credentials_go_past_and_leave_nothing() {
    let (app, _, _) = counting(five_minutes).await;
    for (name, value) in [("authorization", "Bearer a"), ("cookie", "session=a")] {
        let reply = app.get("/n").header(name, value).send().await;
        assert_eq!(status(&reply), format!("covet; fwd=bypass; detail={name}"));
    }
    assert_eq!(app.get("/n").send().await.text(), "3", "nothing was kept");
    assert_eq!(app.get("/n").send().await.text(), "3");
    assert_eq!(app.get("/n").header("cookie", "session=a").send().await.text(), "4", "nor given out");
}

#[tokio::test]
async fn a_route_without_credentials_never_sees_them() {
    let (app, _) = start(|context| {
        let secret = async |headers: HeaderMap| {
            let seen =
                |name| headers.get(name).map_or("none", |value: &HeaderValue| value.to_str().unwrap()).to_owned();
            format!("{} {}", seen("cookie"), seen("authorization"))
        };
        Router::new().route("/", get(secret).cached(five_minutes(context).without_credentials()))
    })
    .await;
    let first = app.get("/").header("cookie", "session=anna").bearer("annas").send().await;
    assert_eq!(first.text(), "none none");
    let second = app.get("/").header("cookie", "session=ben").send().await;
    assert_eq!((second.text().as_str(), status(&second)), ("none none", "covet; hit; ttl=300"));
    let past = app.get("/").header("cookie", "session=ben").header("cache-control", "no-store").send().await;
    assert_eq!(past.text(), "none none", "nor when it goes past the cache");
}

/// The caller, from a header.
struct Name(String);

impl<S: Sync> FromRequestParts<S> for Name {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let name = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
        name.map(|name| Self(name.to_owned())).ok_or_else(|| Error::unauthorized("Say who you are."))
    }
}

#[tokio::test]
async fn each_caller_has_responses_of_their_own_and_nobody_elses() {
    let asked = Asked::default();
    let counted = asked.clone();
    let (app, _) = start(move |context| {
        let asked = counted.clone();
        let mine = async move |Name(name): Name| {
            asked.once_more();
            ([("cache-control", "private, max-age=60")], format!("of {name}"))
        };
        let cache = five_minutes(context).per_caller((), |name: &Name| name.0.clone());
        Router::new().route("/mine/{id}", get(mine).cached(cache))
    })
    .await;
    let ask = async |name: &str| app.get("/mine/1").header("authorization", name).send().await;
    assert_eq!(app.get("/mine/1").send().await.status(), 401, "whoever is nobody hears what the extractor says");
    for round in 0..2 {
        for name in ["anna", "ben"] {
            let reply = ask(name).await;
            assert_eq!((reply.text(), status(&reply).contains("hit")), (format!("of {name}"), round == 1), "{reply:?}");
        }
    }
    assert_eq!(app.get("/mine/1").send().await.status(), 401, "also when something is kept");
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn what_is_made_for_a_user_that_the_handler_has_found_by_other_means_is_not_kept() {
    let (app, _) = start(|context| {
        let handler = async |headers: HeaderMap| {
            let user = headers.get("x-api-key").map_or("nobody", |key| key.to_str().unwrap()).to_owned();
            if user != "nobody" {
                covet::telemetry::request::current(|scope| scope.set_user(&user));
            }
            user
        };
        Router::new().route("/", get(handler).cached(five_minutes(context)))
    })
    .await;
    let by_key = app.get("/").header("x-api-key", "anna").send().await;
    assert_eq!((by_key.text().as_str(), status(&by_key)), ("anna", "covet; fwd=uri-miss; detail=caller"));
    assert_eq!(app.get("/").send().await.text(), "nobody");
}

#[tokio::test]
async fn what_sets_a_cookie_or_wants_not_to_be_kept_is_not() {
    let (app, _) = start(|context| {
        let cache = five_minutes(context);
        let answer = |of: HeaderMap| async move || (of, "x");
        Router::new()
            .route("/cookie", get(answer(headers([("set-cookie", "a=1"), ("cache-control", "public, max-age=60")]))))
            .route("/no-store", get(answer(headers([("cache-control", "No-Store")]))))
            .route("/private", get(answer(headers([("cache-control", "max-age=60, private")]))))
            .route("/star", get(answer(headers([("vary", "accept, *")]))))
            .route("/missing", get(async || Error::not_found()))
            .route("/broken", get(async || Error::status(StatusCode::BAD_GATEWAY)))
            .route("/stale", get(answer(headers([("cache-control", "max-age=0"), ("etag", "\"a\"")]))))
            .cached(&cache)
    })
    .await;
    let cases = [
        ("/cookie", "set-cookie"),
        ("/no-store", "no-store"),
        ("/private", "private"),
        ("/star", "vary-any"),
        ("/missing", "status"),
        ("/broken", "status"),
    ];
    for (path, detail) in cases {
        for _ in 0..2 {
            let reply = app.get(path).send().await;
            assert_eq!(status(&reply), format!("covet; fwd=uri-miss; detail={detail}"), "{path}");
        }
    }
    app.get("/stale").send().await;
    let again = app.get("/stale").send().await;
    assert_eq!(status(&again), "covet; fwd=stale; stored", "it is kept to be confirmed, not to be given out");
}

#[tokio::test]
async fn variants_are_told_apart_by_what_the_response_says_or_the_route() {
    let asked = Asked::default();
    let counted = asked.clone();
    let (app, _) = start(move |context| {
        let told = |asked: Asked, said: HeaderMap| {
            async move |headers: HeaderMap| {
                asked.once_more();
                let language =
                    headers.get("accept-language").map_or("none", |value| value.to_str().unwrap()).to_owned();
                (said, language)
            }
        };
        let by_response = told(counted.clone(), headers([("vary", "Accept-Language")]));
        let by_route = told(counted.clone(), HeaderMap::new());
        Router::new()
            .route("/response", get(by_response).cached(five_minutes(context)))
            .route("/route", get(by_route).cached(five_minutes(context).vary("accept-language")))
    })
    .await;
    for path in ["/response", "/route"] {
        let before = asked.times();
        for round in 0..2 {
            for language in ["de", "en, de;q=0.5"] {
                let reply = app.get(path).header("accept-language", language).send().await;
                assert_eq!((reply.text().as_str(), status(&reply).contains("hit")), (language, round == 1), "{path}");
                assert!(reply.header("vary").eq_ignore_ascii_case("accept-language"), "{path}: {reply:?}");
            }
            let without = app.get(path).send().await;
            assert_eq!((without.text().as_str(), status(&without).contains("hit")), ("none", round == 1), "{path}");
        }
        let same = app.get(path).header("accept-language", "DE").send().await;
        assert_eq!((same.text().as_str(), status(&same)), ("de", "covet; hit; ttl=300"), "case means nothing");
        assert_eq!(asked.times() - before, 3, "{path}");
    }
}

#[tokio::test]
async fn variants_of_one_uri_are_bounded() {
    let routes = |context: &Context| {
        let handler = async |headers: HeaderMap| ([("vary", "x-any")], format!("{:?}", headers.get("x-any")));
        Router::new().route("/", get(handler).cached(five_minutes(context)))
    };
    let (app, _) = start_with(routes, &[("COVET_RESPONSE_CACHE__MAX_VARIANTS", "2")]).await;
    for value in ["a", "b", "c", "d"] {
        app.get("/").header("x-any", value).send().await;
    }
    let said = async |value: &str| status(&app.get("/").header("x-any", value).send().await).to_owned();
    assert_eq!(said("a").await, "covet; hit; ttl=300");
    assert_eq!(said("b").await, "covet; hit; ttl=300");
    assert_eq!(said("d").await, "covet; fwd=vary-miss; detail=too-many-variants");
}

#[tokio::test]
async fn a_tag_ends_what_bears_it_and_nothing_else() {
    let asked = Asked::default();
    let counted = asked.clone();
    let (app, _) = start(move |context| {
        let asked = counted.clone();
        let handler = async move |Path(id): Path<String>| format!("{id} {}", asked.once_more());
        Router::new().route("/items/{id}", get(handler).cached(five_minutes(context).tags(["items", "item:{id}"])))
    })
    .await;
    let ask = async |path: &str| app.get(path).send().await.text();
    assert_eq!((ask("/items/1").await, ask("/items/a%20b").await), ("1 1".to_owned(), "a b 2".to_owned()));
    app.context().cache().invalidate(["item:a b"]).await.unwrap();
    assert_eq!((ask("/items/1").await, ask("/items/a%20b").await), ("1 1".to_owned(), "a b 3".to_owned()));
    // `HEAD` goes another way to the handler, and finds the same.
    assert_eq!(status(&app.request(Method::HEAD, "/items/a%20b").send().await), "covet; hit; ttl=300");
    app.context().cache().invalidate(["items"]).await.unwrap();
    assert_eq!((ask("/items/1").await, ask("/items/a%20b").await), ("1 4".to_owned(), "a b 5".to_owned()));
}

#[tokio::test]
async fn a_tag_of_a_parameter_that_the_path_has_not_is_refused_at_start() {
    let routes = |context: &Context| {
        let handler = async |_: Path<u32>| "";
        Router::new().route("/items/{number}", get(handler).cached(five_minutes(context).tag("item:{id}")))
    };
    let app = App::new("kept").without_database().routes(routes);
    let refused = TestApp::start(app).await.unwrap_err().to_string();
    assert!(refused.contains("/items/{number}") && refused.contains("{id}"), "{refused}");
}

#[tokio::test]
async fn what_was_being_made_when_its_tag_ended_is_not_given_out_afterwards() {
    let (asked, gate) = (Asked::default(), Arc::new(Semaphore::new(0)));
    let (counted, opened) = (asked.clone(), Arc::clone(&gate));
    let (app, _) = start(move |context| {
        let (asked, gate) = (counted.clone(), Arc::clone(&opened));
        let handler = async move || {
            let number = asked.once_more();
            gate.acquire().await.unwrap().forget();
            number.to_string()
        };
        Router::new().route("/n", get(handler).cached(five_minutes(context).tag("n")))
    })
    .await;
    let first = tokio::spawn(app.get("/n").send());
    until(|| asked.times() == 1).await;
    app.context().cache().invalidate(["n"]).await.unwrap();
    let second = tokio::spawn(app.get("/n").send());
    until(|| asked.times() == 2).await;
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().text(), "1");
    assert_eq!(second.await.unwrap().text(), "2", "it came after the write, and does not wait for what began before");
    assert_eq!(app.get("/n").send().await.text(), "2");
}

#[tokio::test]
async fn a_change_of_the_same_uri_ends_what_is_kept_of_it_whoever_declares_it() {
    let asked = Asked::default();
    let counted = asked.clone();
    let (app, _) = start(move |context| {
        let asked = counted.clone();
        let read = async move |Path(id): Path<u32>| format!("{id} {}", asked.once_more());
        let change = async |Path(id): Path<u32>| match id {
            3 => Err(Error::status(StatusCode::CONFLICT)),
            _ => Ok([("location", "/items/2")]),
        };
        Router::new().route("/items/{id}", get(read).cached(five_minutes(context))).route("/items/{id}", post(change))
    })
    .await;
    let ask = async |id: u32| app.get(&format!("/items/{id}")).send().await.text();
    for id in 1..=3 {
        ask(id).await;
    }
    assert_eq!(app.post("/items/1").send().await.status(), 200);
    assert_eq!(app.post("/items/3").send().await.status(), 409);
    assert_eq!(ask(1).await, "1 4");
    assert_eq!(ask(2).await, "2 5", "Location names it");
    assert_eq!(ask(3).await, "3 3", "nothing has changed");
}

async fn until(condition: impl Fn() -> bool) {
    eventually("what the handler was asked", async || condition()).await;
}

/// `GET /n` answers with how often it was asked, and only when the gate lets it.
async fn gated(
    cache: impl Fn(&Context) -> ResponseCache + Send + Sync + 'static,
    settings: &[(&str, &str)],
) -> (TestApp, ManualClock, Asked, Arc<Semaphore>) {
    let (asked, gate) = (Asked::default(), Arc::new(Semaphore::new(0)));
    let (counted, opened) = (asked.clone(), Arc::clone(&gate));
    let routes = move |context: &Context| {
        let (asked, gate) = (counted.clone(), Arc::clone(&opened));
        let handler = async move || {
            let number = asked.once_more();
            gate.acquire().await.unwrap().forget();
            number.to_string()
        };
        Router::new().route("/n", get(handler).cached(cache(context)))
    };
    let (app, hand) = start_with(routes, settings).await;
    (app, hand, asked, gate)
}

#[tokio::test]
async fn of_many_that_want_the_same_one_asks() {
    let (app, _, asked, gate) = gated(five_minutes, &[]).await;
    let many: Vec<_> = (0..50).map(|_| tokio::spawn(app.get("/n").send())).collect();
    until(|| app.metrics().sum("http_requests_in_progress", &[("endpoint", "/n")]) == 50.0).await;
    gate.add_permits(1);
    let mut collapsed = 0;
    for one in many {
        let reply = one.await.unwrap();
        assert_eq!(reply.text(), "1");
        collapsed += usize::from(status(&reply).contains("collapsed"));
    }
    assert_eq!((asked.times(), collapsed), (1, 49));
}

#[tokio::test]
async fn when_the_client_of_the_one_that_asks_leaves_another_takes_over() {
    let (app, _, asked, gate) = gated(five_minutes, &[]).await;
    let first = tokio::spawn(app.get("/n").send());
    until(|| asked.times() == 1).await;
    let second = tokio::spawn(app.get("/n").send());
    until(|| app.metrics().sum("http_requests_in_progress", &[("endpoint", "/n")]) == 2.0).await;
    first.abort();
    until(|| asked.times() == 2).await;
    gate.add_permits(2);
    assert_eq!(second.await.unwrap().text(), "2");
}

#[tokio::test]
async fn nobody_waits_longer_than_the_setting_says() {
    let (app, _, asked, gate) = gated(five_minutes, &[("COVET_RESPONSE_CACHE__WAIT", "50ms")]).await;
    let both = [tokio::spawn(app.get("/n").send()), tokio::spawn(app.get("/n").send())];
    until(|| asked.times() == 2).await;
    gate.add_permits(2);
    for one in both {
        assert_eq!(one.await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_stale_response_goes_out_at_once_and_is_made_anew_in_the_background() {
    let cache = |context: &Context| five_minutes(context).stale_while_revalidate(Duration::from_secs(60));
    let (app, hand, asked, gate) = gated(cache, &[]).await;
    gate.add_permits(1);
    app.get("/n").send().await;
    hand.advance(Duration::from_secs(310));
    for _ in 0..5 {
        let stale = app.get("/n").send().await;
        assert_eq!(stale.text(), "1");
        assert_eq!(status(&stale), "covet; hit; ttl=-10; detail=stale-while-revalidate");
    }
    until(|| asked.times() == 2).await;
    assert_eq!(app.context().lifecycle().still_running(), ["refresh of a cached response"]);
    gate.add_permits(1);
    until(|| app.context().lifecycle().still_running().is_empty()).await;
    let fresh = app.get("/n").send().await;
    assert_eq!((fresh.text().as_str(), status(&fresh), asked.times()), ("2", "covet; hit; ttl=300", 2));
    hand.advance(Duration::from_secs(361));
    gate.add_permits(1);
    assert_eq!(app.get("/n").send().await.text(), "3", "the window has an end");
}

#[tokio::test]
async fn a_stale_response_goes_out_instead_of_an_error_for_a_while() {
    let asked = Asked::default();
    let counted = asked.clone();
    let (app, hand) = start(move |context| {
        let asked = counted.clone();
        let handler = async move || match asked.once_more() {
            1 => Ok("good"),
            2 => Err(Error::status(StatusCode::BAD_GATEWAY)),
            3 => panic!("no stone left on another"),
            _ => Err(Error::status(StatusCode::SERVICE_UNAVAILABLE)),
        };
        let cache = context.response_cache(Ttl::Of(Duration::from_secs(10))).stale_if_error(Duration::from_secs(60));
        Router::new().route("/", get(handler).cached(cache))
    })
    .await;
    app.get("/").send().await;
    hand.advance(Duration::from_secs(20));
    for code in [502, 500] {
        let stale = app.get("/").send().await;
        assert_eq!((stale.status(), stale.text().as_str(), stale.header("age")), (200, "good", "20"));
        assert_eq!(status(&stale), format!("covet; fwd=stale; fwd-status={code}; detail=stale-if-error"));
    }
    hand.advance(Duration::from_secs(50));
    assert_eq!(app.get("/").send().await.status(), 503);
    assert_eq!(asked.times(), 4);
}

#[tokio::test]
async fn the_handler_can_confirm_what_is_stale_by_its_own_tag() {
    let (app, hand) = start(|context| {
        let handler = async |headers: HeaderMap| {
            let known = headers.get("if-none-match").is_some_and(|tags| tags == "\"own\"");
            let etag = [("etag", "\"own\"")];
            if known { (StatusCode::NOT_MODIFIED, etag).into_response() } else { (etag, "made").into_response() }
        };
        Router::new().route("/", get(handler).cached(five_minutes(context)))
    })
    .await;
    app.get("/").send().await;
    hand.advance(Duration::from_secs(400));
    let confirmed = app.get("/").send().await;
    assert_eq!((confirmed.status(), confirmed.text().as_str()), (200, "made"));
    assert_eq!(status(&confirmed), "covet; fwd=stale; fwd-status=304; stored");
    hand.advance(Duration::from_secs(200));
    assert_eq!(status(&app.get("/").send().await), "covet; hit; ttl=100", "it is as good as new");
}

#[tokio::test]
async fn a_confirmation_that_sets_a_cookie_is_for_its_client_alone() {
    let (app, hand) = start(|context| {
        let handler = async |headers: HeaderMap| {
            let etag = [("etag", "\"own\"")];
            match headers.contains_key("if-none-match") {
                true => (StatusCode::NOT_MODIFIED, etag, [("set-cookie", "a=1")]).into_response(),
                false => (etag, "made").into_response(),
            }
        };
        Router::new().route("/", get(handler).cached(five_minutes(context)))
    })
    .await;
    app.get("/").send().await;
    hand.advance(Duration::from_secs(400));
    for _ in 0..2 {
        let reply = app.get("/").send().await;
        assert_eq!((reply.status(), reply.text().as_str(), reply.header("set-cookie")), (200, "made", "a=1"));
        assert_eq!(status(&reply), "covet; fwd=stale; detail=set-cookie");
    }
}

#[tokio::test]
async fn clients_may_ask_for_a_fresh_one_unless_the_operator_says_no() {
    let (app, _, _) = counting(five_minutes).await;
    app.get("/n").send().await;
    let anew = app.get("/n").header("cache-control", "no-cache").send().await;
    assert_eq!((anew.text().as_str(), status(&anew)), ("2", "covet; fwd=request; stored"));
    assert_eq!(app.get("/n").send().await.text(), "2", "others have the new one too");
    let only = app.get("/other").header("cache-control", "only-if-cached").send().await;
    assert_eq!(only.status(), 404, "not a cached route");

    let routes = |context: &Context| Router::new().route("/", get(async || "").cached(five_minutes(context)));
    let (app, _) = start_with(routes, &[("COVET_RESPONSE_CACHE__OBEY_CLIENTS", "false")]).await;
    app.get("/").send().await;
    for wish in ["no-cache", "no-store", "max-age=0"] {
        let reply = app.get("/").header("cache-control", wish).send().await;
        assert_eq!(status(&reply), "covet; hit; ttl=300", "{wish}");
    }
}

#[tokio::test]
async fn the_operator_can_switch_it_off_and_the_header_alone() {
    let routes = |context: &Context| Router::new().route("/", get(async || "").cached(five_minutes(context)));
    let (app, _) = start_with(routes, &[("COVET_RESPONSE_CACHE__STATUS_HEADER", "false")]).await;
    assert_eq!(status(&app.get("/").send().await), "");
    assert_eq!(app.get("/").send().await.header("age"), "0");
    let (app, _) = start_with(routes, &[("COVET_RESPONSE_CACHE__ENABLED", "false")]).await;
    for _ in 0..2 {
        let reply = app.get("/").send().await;
        assert_eq!((status(&reply), reply.header("age"), reply.header("etag")), ("", "", ""));
    }
}

#[tokio::test]
async fn a_layer_added_after_the_cache_sees_every_request_and_one_before_only_those_for_the_handler() {
    let (outer, inner) = (Asked::default(), Asked::default());
    let (counted_outer, counted_inner) = (outer.clone(), inner.clone());
    let counting = |asked: Asked| {
        from_fn(move |request: Request, next: Next| {
            let asked = asked.clone();
            async move {
                asked.once_more();
                next.run(request).await
            }
        })
    };
    let (app, _) = start(move |context| {
        let handler = get(async || "").layer(counting(counted_inner.clone())).cached(five_minutes(context));
        Router::new().route("/", handler.layer(counting(counted_outer.clone())))
    })
    .await;
    for _ in 0..3 {
        assert_eq!(app.get("/").send().await.status(), 200);
    }
    assert_eq!((outer.times(), inner.times()), (3, 1));
}

#[tokio::test]
async fn an_etag_is_made_for_routes_that_ask_for_it_and_differs_for_compressed_bytes() {
    let (app, _) = start(|_| Router::new().route("/", get(async || "x".repeat(5_000)).etag())).await;
    let plain = app.get("/").send().await;
    assert_eq!(plain.header("vary"), "accept-encoding", "also on what is not compressed");
    let zipped = app.get("/").header("accept-encoding", "gzip").send().await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    let (tag, zipped_tag) = (plain.header("etag"), zipped.header("etag"));
    assert_eq!(zipped_tag, format!("{}--gzip\"", &tag[..tag.len() - 1]));
    let again = app.get("/").header("accept-encoding", "gzip").header("if-none-match", zipped_tag).send().await;
    assert_eq!((again.status(), again.header("etag"), again.header("vary")), (304, zipped_tag, "accept-encoding"));
    let other = app.get("/").header("if-none-match", zipped_tag).send().await;
    assert_eq!(other.status(), 200, "these are other bytes");
    let same = app.get("/").header("if-none-match", tag).send().await;
    assert_eq!((same.status(), same.header("etag"), same.header("vary")), (304, tag, "accept-encoding"));
}

#[tokio::test]
async fn whoever_may_read_what_was_kept_for_another_origin_is_told_so_by_the_pipeline_each_time() {
    let routes = |context: &Context| Router::new().route("/", get(async || "x").cached(five_minutes(context)));
    let (app, _) = start_with(routes, &[("COVET_CORS__ALLOWED_ORIGINS", "https://app.example")]).await;
    app.get("/").header("origin", "https://app.example").send().await;
    let other = app.get("/").header("origin", "https://evil.example").send().await;
    assert_eq!((status(&other), other.header("access-control-allow-origin")), ("covet; hit; ttl=300", ""));
    assert_eq!(other.header("vary"), "origin");
    let allowed = app.get("/").header("origin", "https://app.example").send().await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example");
}
