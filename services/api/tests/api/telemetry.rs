//! What requests leave behind in the log and the metrics. In this process, as `covet::testing` has it.

use covet::testing::{LogLine, TestApp, TestReply};
use serde_json::{Value, json};

use crate::support::PASSWORD;

async fn start() -> TestApp {
    TestApp::start(covet_api::app()).await.unwrap()
}

fn credentials(password: &str) -> Value {
    json!({"email": "ada@example.com", "password": password})
}

/// Ada, registered.
async fn register(app: &TestApp) -> TestReply {
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
    let reply = app.post("/api/auth/register").json(&body).send().await;
    assert_eq!(reply.status(), 201, "{}", reply.text());
    reply
}

async fn log_in(app: &TestApp, password: &str) -> TestReply {
    app.post("/api/auth/login").json(&credentials(password)).send().await
}

/// The lines of the security and audit streams, as `event outcome actor target reason`.
fn records(lines: &[LogLine]) -> Vec<String> {
    let text = |line: &LogLine, field: &str| line[field].as_str().unwrap_or("-").to_owned();
    let record =
        |line: &LogLine| ["event", "outcome", "actor", "target", "reason"].map(|field| text(line, field)).join(" ");
    lines.iter().filter(|line| ["covet.security", "covet.audit"].contains(&line.logger())).map(record).collect()
}

#[tokio::test]
async fn logins_are_told_to_the_security_stream_and_counted() {
    let app = start().await;
    let ada = register(&app).await.json::<Value>()["id"].as_str().unwrap().to_owned();
    let before = app.metrics();

    let wrong = log_in(&app, "not the password").await;
    assert_eq!(wrong.status(), 401);
    assert_eq!(
        records(&app.logs_of(&wrong)),
        // One for those who watch, one of the audit trail.
        [(); 2].map(|()| format!("authn_login_fail failure anonymous user:{ada} wrong_password"))
    );

    let unknown = json!({"email": "nobody@example.com", "password": PASSWORD});
    let unknown = app.post("/api/auth/login").json(&unknown).send().await;
    assert_eq!(records(&app.logs_of(&unknown)), ["authn_login_fail failure anonymous - unknown_user"; 2]);

    let right = log_in(&app, PASSWORD).await;
    let told = records(&app.logs_of(&right));
    assert!(told[0].starts_with(&format!("authn_login_success success user:{ada} session:")), "{told:?}");
    assert_eq!(told[1..], [format!("authn_login_success success user:{ada} - -")]);

    let change = app.metrics().since(&before);
    let attempts = |status| change.sum("app_auth_attempts_total", &[("method", "password"), ("status", status)]);
    assert_eq!((attempts("success"), attempts("failure")), (1.0, 2.0));
    assert_eq!(change.sum("app_auth_failures_total", &[("reason", "wrong_password")]), 1.0);
}

#[tokio::test]
async fn a_copied_refresh_token_is_told_of_and_so_is_the_login_it_ends() {
    let app = start().await;
    let ada = register(&app).await.json::<Value>()["id"].as_str().unwrap().to_owned();
    let token = log_in(&app, PASSWORD).await.json::<Value>()["refresh_token"].clone();
    let refresh = async || app.post("/api/auth/refresh").json(&json!({"refresh_token": token})).send().await;

    let renewed = refresh().await;
    assert_eq!(records(&app.logs_of(&renewed)), [format!("session_renewed success user:{ada} - -")]);
    let reused = refresh().await;
    assert_eq!(reused.status(), 401);
    let told = records(&app.logs_of(&reused));
    assert!(told[0].starts_with("authn_token_revoked success service session:"), "{told:?}");
    assert_eq!(told[1], format!("authn_token_reuse failure anonymous user:{ada} reused"));
}

#[tokio::test]
async fn what_happens_to_a_user_is_in_the_audit_stream() {
    let app = start().await;
    let registered = register(&app).await;
    let ada = registered.json::<Value>()["id"].as_str().unwrap().to_owned();
    assert_eq!(records(&app.logs_of(&registered)), [format!("user_created success anonymous user:{ada} -")]);
    let tokens: Value = log_in(&app, PASSWORD).await.json();
    let access = tokens["access_token"].as_str().unwrap();

    let stranger = app.delete("/api/users/00000000-0000-0000-0000-000000000009").bearer(access).send().await;
    assert_eq!(stranger.status(), 403);
    let other = "user:00000000-0000-0000-0000-000000000009";
    assert_eq!(records(&app.logs_of(&stranger)), [format!("authz_fail failure user:{ada} {other} other_user")]);

    let logout = app.post("/api/auth/logout").json(&json!({"refresh_token": tokens["refresh_token"]})).send().await;
    assert!(records(&app.logs_of(&logout))[0].starts_with(&format!("authn_token_revoked success user:{ada} session:")));

    let tokens: Value = log_in(&app, PASSWORD).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    let deleted = app.delete(&format!("/api/users/{ada}")).bearer(access).send().await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(records(&app.logs_of(&deleted)), [format!("user_deleted success user:{ada} user:{ada} -")]);
}

#[tokio::test]
async fn the_access_line_of_a_request_knows_its_user_its_route_and_its_statements() {
    let app = start().await;
    let ada = register(&app).await.json::<Value>()["id"].as_str().unwrap().to_owned();
    let tokens: Value = log_in(&app, PASSWORD).await.json();
    let notes = app.get("/api/notes?limit=5").bearer(tokens["access_token"].as_str().unwrap()).send().await;
    assert_eq!(notes.status(), 200);
    let lines = app.logs_of(&notes);
    let [line] = &lines[..] else { panic!("one line: {lines:?}") };
    assert_eq!((line.logger(), line.message()), ("covet.api", "HTTP request completed"));
    assert_eq!((&line["route"], &line["path"]), (&json!("/api/notes"), &json!("/api/notes")));
    assert_eq!((&line["user_id"], &line["status_code"]), (&json!(ada), &json!(200)));
    assert!(line["db_count"].as_u64().unwrap() >= 1 && line["db_duration_seconds"].as_f64().unwrap() > 0.0, "{line:?}");
}
