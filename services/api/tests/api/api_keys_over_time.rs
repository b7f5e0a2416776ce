//! What time does to API keys, and what they leave in the log and the metrics. In this process, with a clock of its own.

use std::time::Duration;

use covet::clock::{Clock, ManualClock};
use covet::testing::{LogLine, TestApp};
use serde_json::{Value, json};

use crate::support::PASSWORD;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A service, Ada's access token, and the hand of the clock.
struct Test {
    app: TestApp,
    clock: ManualClock,
}

impl Test {
    async fn start() -> Self {
        let (manual, clock) = Clock::manual("2026-01-01T12:00:00Z".parse().unwrap());
        let app = TestApp::builder(covet_api::app()).clock(manual).start().await.unwrap();
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
        assert_eq!(app.post("/api/auth/register").json(&body).send().await.status(), 201);
        Self { app, clock }
    }

    async fn access(&self) -> String {
        let body = json!({"email": "ada@example.com", "password": PASSWORD});
        let tokens: Value = self.app.post("/api/auth/login").json(&body).send().await.json();
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    async fn make(&self, mut body: Value) -> String {
        body["name"] = "backup".into();
        body["scopes"] = json!(["notes:read"]);
        let made = self.app.post("/api/keys").bearer(&self.access().await).json(&body).send().await;
        assert_eq!(made.status(), 201, "{}", made.text());
        made.json::<Value>()["key"].as_str().unwrap().to_owned()
    }

    /// Reads the notes with a key; the status, and the lines that tell of its age.
    async fn read(&self, key: &str) -> (u16, usize) {
        let reply = self.app.get("/api/notes").bearer(key).send().await;
        let old = |line: &&LogLine| line.message().contains("API_KEY_REPLACE_AFTER");
        (reply.status(), self.app.logs_of(&reply).iter().filter(old).count())
    }

    async fn listed(&self) -> Value {
        let list = self.app.get("/api/keys").bearer(&self.access().await).send().await;
        list.json::<Value>()["items"][0].clone()
    }
}

#[tokio::test]
async fn a_key_is_good_until_it_expires() {
    let test = Test::start().await;
    let key = test.make(json!({"expires_at": "2026-01-02T12:00:00Z"})).await;
    test.clock.advance(DAY - Duration::from_secs(1));
    assert_eq!(test.read(&key).await.0, 200);
    test.clock.advance(Duration::from_secs(1));
    let reply = test.app.get("/api/notes").bearer(&key).send().await;
    assert_eq!((reply.status(), reply.text().contains("has expired")), (401, true), "{}", reply.text());
}

#[tokio::test]
async fn a_key_of_ninety_days_goes_on_and_is_told_of_once_a_day() {
    let test = Test::start().await;
    let key = test.make(json!({})).await;
    test.clock.advance(90 * DAY - Duration::from_secs(1));
    assert_eq!(test.read(&key).await, (200, 0));
    assert_eq!(test.listed().await["replace"], false);
    test.clock.advance(DAY);
    assert_eq!(test.read(&key).await, (200, 1));
    assert_eq!(test.listed().await["replace"], true);
    for _ in 0..3 {
        test.clock.advance(Duration::from_secs(600));
        assert_eq!(test.read(&key).await, (200, 0));
    }
    test.clock.advance(DAY);
    assert_eq!(test.read(&key).await, (200, 1));
}

#[tokio::test]
async fn the_last_use_is_exact_to_a_minute_and_written_no_more_often() {
    let test = Test::start().await;
    let key = test.make(json!({})).await;
    assert_eq!(test.listed().await["last_used_at"], Value::Null);
    for (after, noted) in [(0, "12:00:00Z"), (59, "12:00:00Z"), (1, "12:01:00Z"), (30, "12:01:00Z"), (31, "12:02:01Z")]
    {
        test.clock.advance(Duration::from_secs(after));
        test.read(&key).await;
        assert_eq!(test.listed().await["last_used_at"], format!("2026-01-01T{noted}"));
    }
}

#[tokio::test]
async fn good_and_bad_keys_and_what_they_may_not_do_are_counted_and_told_of() {
    let test = Test::start().await;
    let key = test.make(json!({})).await;
    let user = test.app.get("/api/users/me").bearer(&test.access().await).send().await.json::<Value>()["id"].clone();
    let user = user.as_str().unwrap();
    let records = |lines: Vec<LogLine>| -> Vec<String> {
        let text = |line: &LogLine, field: &str| line[field].as_str().unwrap_or("-").to_owned();
        let record = |line: &LogLine| ["event", "actor", "target", "reason"].map(|field| text(line, field)).join(" ");
        lines.iter().filter(|line| line.logger() == "covet.security").map(record).collect()
    };
    let before = test.app.metrics();

    assert_eq!(test.read(&key).await.0, 200);
    let refused = test.app.post("/api/notes").bearer(&key).json(&json!({"title": "x"})).send().await;
    assert_eq!(records(test.app.logs_of(&refused)), [format!("authz_fail user:{user} permission:notes:write scope")]);
    let login = test.app.get("/api/keys").bearer(&key).send().await;
    assert_eq!(records(test.app.logs_of(&login)), [format!("authz_fail user:{user} - login_needed")]);
    let bad = test.app.get("/api/notes").bearer("cvt_0").send().await;
    assert_eq!(records(test.app.logs_of(&bad)), ["authz_fail anonymous - bad_credentials"]);
    // A stranger has one line in a second.
    let nobody = test.app.get("/api/notes").send().await;
    assert_eq!((nobody.status(), records(test.app.logs_of(&nobody)).len()), (401, 0));
    test.clock.advance(Duration::from_secs(1));
    let nobody = test.app.get("/api/notes").send().await;
    assert_eq!(records(test.app.logs_of(&nobody)), ["authz_fail anonymous - no_credentials"]);

    let change = test.app.metrics().since(&before);
    let attempts = |status| change.sum("app_auth_attempts_total", &[("method", "api_key"), ("status", status)]);
    assert_eq!((attempts("success"), attempts("failure")), (3.0, 1.0));
    assert_eq!(change.sum("app_auth_failures_total", &[("method", "api_key"), ("reason", "malformed")]), 1.0);
    let denied = |reason| change.sum("app_access_denied_total", &[("reason", reason)]);
    assert_eq!(
        (denied("scope"), denied("login_needed"), denied("bad_credentials"), denied("no_credentials")),
        (1.0, 1.0, 1.0, 2.0)
    );
    // The secret is in none of all lines.
    assert!(test.app.logs().iter().all(|line| !format!("{:?}", line.fields()).contains(&key[37..69])));
}
