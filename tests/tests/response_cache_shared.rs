//! Kept responses of two instances that share a Redis, and what becomes of them without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use anyhow::Result;
use covet::cache::Ttl;
use covet::prelude::*;
use covet::testing::TestApp;
use covet_testkit::{Redis, wait_until};

/// An instance whose `GET /n/{id}` says how often the handlers of all were asked.
async fn instance(redis: &Redis, asked: &Arc<AtomicUsize>) -> Result<TestApp> {
    let asked = Arc::clone(asked);
    let app = App::new("shared").without_database().routes(move |context| {
        let asked = Arc::clone(&asked);
        let handler = async move |headers: covet::axum::http::HeaderMap| {
            let language = headers.get("accept-language").map(|value| format!("{value:?}")).unwrap_or_default();
            let number = asked.fetch_add(1, SeqCst) + 1;
            ([("vary", "accept-language"), ("x-kept", "yes")], format!("{number} {language}"))
        };
        let cache = context.response_cache(Ttl::Response).tag("all");
        Router::new().route("/n", get(handler).post(async || "").cached(cache))
    });
    let app = TestApp::builder(app).set("REDIS_URL", redis.url()).start().await?;
    Ok(app)
}

/// As behind a load balancer: all instances are asked for the same host.
const HOST: &str = "shared.example";

fn status(reply: &covet::testing::TestReply) -> &str {
    reply.header("cache-status")
}

#[tokio::test]
async fn what_one_instance_has_made_another_gives_out_until_either_ends_it() -> Result<()> {
    let redis = Redis::start().await?;
    let asked = Arc::default();
    let (one, other) = (instance(&redis, &asked).await?, instance(&redis, &asked).await?);
    let first = one.get("/n").header("host", HOST).header("accept-language", "de").send().await;
    assert_eq!((first.text().as_str(), status(&first)), ("1 \"de\"", "covet; fwd=uri-miss; stored"));
    let second = other.get("/n").header("host", HOST).header("accept-language", "de").send().await;
    assert_eq!((second.text(), second.header("etag")), (first.text(), first.header("etag")));
    assert!(status(&second).starts_with("covet; hit"), "{second:?}");
    assert_eq!((second.header("x-kept"), second.header("vary")), ("yes", "accept-language"));
    let english = other.get("/n").header("host", HOST).header("accept-language", "en").send().await;
    assert_eq!((english.text().as_str(), status(&english)), ("2 \"en\"", "covet; fwd=vary-miss; stored"));

    other.context().cache().invalidate(["all"]).await?;
    assert_eq!(one.get("/n").header("host", HOST).header("accept-language", "de").send().await.text(), "3 \"de\"");
    one.post("/n").header("host", HOST).send().await;
    assert_eq!(other.get("/n").header("host", HOST).header("accept-language", "de").send().await.text(), "4 \"de\"");
    let longest = "local most = 0 for _, key in ipairs(redis.call('keys', '*responses:*')) do most = math.max(most, \
                   redis.call('pttl', key)) end return most";
    let ttl: i64 = redis.cli(&["--raw", "eval", longest, "0"]).await?.trim().parse()?;
    assert!((1..=300_000).contains(&ttl), "the class is five minutes: {ttl}");
    Ok(())
}

#[tokio::test]
async fn without_redis_each_request_asks_its_handler_and_afterwards_all_is_as_before() -> Result<()> {
    let mut redis = Redis::start().await?;
    let asked = Arc::default();
    let app = instance(&redis, &asked).await?;
    app.get("/n").send().await;
    redis.stop().await?;
    for _ in 0..3 {
        let reply = app.get("/n").send().await;
        assert_eq!((reply.status(), status(&reply)), (200, "covet; fwd=uri-miss; detail=cache-unavailable"));
    }
    assert_eq!(app.post("/n").send().await.status(), 200, "an invalidation that cannot be delivered fails no request");
    redis.start_again().await?;
    wait_until("responses are kept again", Duration::from_secs(20), async || {
        let reply = app.get("/n").send().await;
        if status(&reply).starts_with("covet; hit") { Ok(()) } else { Err(status(&reply).to_owned()) }
    })
    .await?;
    Ok(())
}
