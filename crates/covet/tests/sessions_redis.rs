//! What only time shows of sessions in Redis: instances with a clock of the test's, on one server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

use std::time::Duration;

use covet::clock::Clock;
use covet::identity::session::{Session, SessionOrNew};
use covet::prelude::*;
use covet::testing::TestApp;
use covet_testkit::{Redis, wait_until};
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn shop() -> App {
    App::new("shop").without_database().sessions().routes(|context| {
        Router::new()
            .route("/log-in/{user}", post(log_in))
            .route("/me", get(me))
            .route("/maybe", get(maybe))
            .with_state(context.clone())
    })
}

async fn log_in(session: SessionOrNew, Path(user): Path<u128>) -> Result<(), Error> {
    session.log_in(Uuid::from_u128(user)).await?;
    Ok(())
}

async fn me(session: Session) -> String {
    format!("{:?}", session.user().map(|user| user.as_u128()))
}

async fn maybe(session: Option<Session>) -> String {
    session.map_or("nobody".to_owned(), |session| format!("{:?}", session.user().map(|user| user.as_u128())))
}

async fn start(redis: &Redis, clock: &Clock, key: &str) -> TestApp {
    let app = TestApp::builder(shop()).clock(clock.clone()).set("REDIS_URL", redis.url()).set("SECRET_KEY", key);
    app.set("COVET_CACHE__TIMEOUT", "2s").start().await.unwrap()
}

async fn wait_for_active(app: &TestApp, count: u32) {
    let counted = wait_until(format!("app_active_sessions {count}"), Duration::from_secs(60), async || {
        let metrics = app.context().metrics().render();
        let line = metrics.lines().find(|line| line.starts_with("app_active_sessions ")).unwrap_or("absent");
        if line == format!("app_active_sessions {count}.0") { Ok(()) } else { Err(line.to_owned()) }
    });
    counted.await.unwrap();
}

#[tokio::test]
async fn sessions_that_expire_are_gone_from_every_instance_and_from_the_count() {
    let redis = Redis::start().await.unwrap();
    let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let (one, two) = (start(&redis, &clock, "key").await, start(&redis, &clock, "key").await);
    let mut cookies = Vec::new();
    for user in 1..=4 {
        let reply = one.post(&format!("/log-in/{user}")).send().await;
        cookies.push(reply.header("set-cookie").split(';').next().unwrap().to_owned());
    }
    wait_for_active(&one, 4).await;
    wait_for_active(&two, 4).await;

    hand.advance(DAY / 2);
    assert_eq!(two.get("/me").header("cookie", &cookies[0]).send().await.text(), "Some(1)");
    hand.advance(DAY / 2);
    wait_for_active(&one, 1).await;
    wait_for_active(&two, 1).await;
    assert_eq!(one.get("/me").header("cookie", &cookies[1]).send().await.status(), 401);
    assert_eq!(one.get("/me").header("cookie", &cookies[0]).send().await.status(), 200);
}

#[tokio::test]
async fn a_new_key_takes_over_without_logging_anybody_out() {
    let redis = Redis::start().await.unwrap();
    let clock = Clock::system();
    let before = start(&redis, &clock, "old").await;
    let cookie = |reply: &covet::testing::TestReply| reply.header("set-cookie").split(';').next().unwrap().to_owned();
    let old = cookie(&before.post("/log-in/7").send().await);
    let during = start(&redis, &clock, "new,old").await;
    let renewed = during.get("/me").header("cookie", &old).send().await;
    assert_eq!((renewed.text().as_str(), renewed.header("cache-control")), ("Some(7)", "no-store"));
    let after = start(&redis, &clock, "new").await;
    assert_eq!(after.get("/me").header("cookie", &old).send().await.status(), 401);
    let good = after.get("/me").header("cookie", &cookie(&renewed)).send().await;
    assert_eq!((good.text().as_str(), good.header("set-cookie")), ("Some(7)", ""));
}

#[tokio::test]
async fn without_redis_who_can_do_without_a_session_goes_on_and_keeps_the_cookie() {
    let mut redis = Redis::start().await.unwrap();
    let app = start(&redis, &Clock::system(), "key").await;
    let reply = app.post("/log-in/7").send().await;
    let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
    redis.kill9().await.unwrap();
    let optional = app.get("/maybe").header("cookie", &cookie).send().await;
    assert_eq!((optional.text().as_str(), optional.header("set-cookie")), ("nobody", ""));
    let required = app.get("/me").header("cookie", &cookie).send().await;
    assert_eq!((required.status(), required.header("retry-after"), required.header("set-cookie")), (503, "1", ""));
    let new = app.post("/log-in/8").send().await;
    assert_eq!((new.status(), new.header("set-cookie")), (503, ""));
}
