//! Registering, logging in, refreshing, logging out.

use std::collections::HashSet;
use std::time::Duration;

use covet::clock::Clock;
use covet::data::settings::DatabaseSettings;
use covet::data::{Db, params};
use covet_testkit::wait_until;
use serde_json::{Value, json};

use crate::database::Database;
use crate::support::{Api, PASSWORD, service, text};

#[tokio::test]
async fn a_user_registers_logs_in_and_refreshes() {
    let api = Api::start().await;
    let body = json!({"email": " Ada@Example.com", "password": PASSWORD, "name": " Ada Lovelace "});
    let registered = api.post("/api/auth/register").json(&body).send().await.expect(201);
    assert_eq!(registered.body["email"], "ada@example.com");
    assert_eq!(registered.body["name"], "Ada Lovelace");
    assert!(registered.body.get("password_hash").is_none() && registered.body.get("password").is_none());
    assert_eq!(registered.header("location"), format!("/api/users/{}", registered.id()));

    let body = json!({"email": "ADA@example.com", "password": PASSWORD});
    let login = api.post("/api/auth/login").json(&body).send().await.expect(200);
    assert_eq!(login.header("cache-control"), "no-store");
    let members: HashSet<_> = login.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, HashSet::from(["access_token", "refresh_token", "token_type", "expires_in"]));
    assert_eq!((&login.body["token_type"], &login.body["expires_in"]), (&json!("Bearer"), &json!(900)));

    let next = api.refresh(&text(&login.body["refresh_token"])).await.expect(200);
    assert_ne!(next.body["refresh_token"], login.body["refresh_token"]);
    let me = api.get("/api/users/me").bearer(&text(&next.body["access_token"])).send().await.expect(200);
    assert_eq!(me.id(), registered.id());
}

#[tokio::test]
async fn every_bad_field_of_a_registration_is_named() {
    let api = Api::start().await;
    let register = async |body: Value| api.post("/api/auth/register").json(&body).send().await;
    let all_bad = register(json!({"email": "nobody", "password": "short", "name": " "})).await;
    assert_eq!(all_bad.refused_fields(), ["email", "name", "password"]);
    for (field, value) in [
        ("email", json!("")),
        ("email", json!("a@b@c")),
        ("email", json!(format!("{}@example.com", "a".repeat(65)))),
        ("name", json!("a".repeat(101))),
        ("name", json!("a\u{0}b")),
        ("password", json!("fourteen chars")),
        ("password", json!("passwordpassword")),
        ("password", json!("ada@example.com")),
        ("password", json!("a1!".repeat(400))),
    ] {
        let mut body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
        body[field] = value.clone();
        assert_eq!(register(body).await.refused_fields(), [field], "{value}");
    }
    for (field, value) in
        [("email", json!(7)), ("name", Value::Null), ("password", json!(["x"])), ("admin", json!(true))]
    {
        let mut body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
        body[field] = value;
        let refused = register(body).await.problem(422);
        assert!(refused.body.to_string().contains(field), "{}", refused.body);
    }
    for field in ["email", "password", "name"] {
        let mut body = json!({"email": "ada@example.com", "password": PASSWORD, "name": "Ada"});
        body.as_object_mut().unwrap().remove(field);
        let refused = register(body).await.problem(422);
        assert!(refused.body.to_string().contains(field), "{}", refused.body);
    }
    api.post("/api/auth/register").text("application/json", "{").send().await.problem(400);
    api.post("/api/auth/register").text("text/plain", "{}").send().await.problem(415);
}

#[tokio::test]
async fn one_address_registers_once() {
    let api = Api::start().await;
    api.register("ada").await;
    let body = json!({"email": "ADA@example.com", "password": PASSWORD, "name": "Other"});
    let refused = api.post("/api/auth/register").json(&body).send().await.problem(409);
    assert_eq!(refused.body["errors"][0]["field"], "email");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_one_answer() {
    let api = Api::start().await;
    api.register("ada").await;
    let mut answers = Vec::new();
    for (email, password) in [
        ("ada@example.com", "not the password at all"),
        ("bob@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("ada@example.com", ""),
    ] {
        let body = json!({"email": email, "password": password});
        let mut refused = api.post("/api/auth/login").json(&body).send().await.problem(401);
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        refused.body.as_object_mut().unwrap().remove("request_id");
        refused.body.as_object_mut().unwrap().remove("instance");
        answers.push(refused.body);
    }
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");

    let metrics = api.service.metrics().await.unwrap();
    for line in [
        r#"app_auth_attempts_total{method="password",status="success"} 1"#,
        r#"app_auth_attempts_total{method="password",status="failure"} 4"#,
        r#"app_auth_failures_total{method="password",reason="wrong_password"} 2"#,
        r#"app_auth_failures_total{method="password",reason="unknown_user"} 2"#,
    ] {
        assert!(metrics.lines().any(|found| found.starts_with(line)), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_refresh_token_used_twice_ends_the_whole_login() {
    let api = Api::start().await;
    let mut ada = api.register("ada").await;
    let stolen = ada.refresh.clone();
    let other_login = {
        let mut other = ada.clone();
        api.log_in(&mut other).await;
        other
    };
    let next = api.refresh(&ada.refresh).await.expect(200);
    ada.refresh = text(&next.body["refresh_token"]);

    api.refresh(&stolen).await.problem(401);
    let after = api.refresh(&ada.refresh).await.problem(401);
    assert_eq!(after.body["type"], "/problems/refresh-refused");
    api.refresh(&other_login.refresh).await.expect(200);

    let line = api
        .service
        .process()
        .unwrap()
        .wait_for_line("a refresh token was used twice", Duration::from_secs(10))
        .await
        .unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["logger"], &line["level"]), (&json!("covet.security"), &json!("WARN")));
    assert_eq!(line["target"], format!("user:{}", ada.id));
    assert!(!line.to_string().contains(&stolen));
}

#[tokio::test]
async fn of_fifty_refreshes_at_once_one_wins() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let calls = (0..50).map(|_| api.refresh(&ada.refresh));
    let replies = futures_util::future::join_all(calls).await;
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 401)));
    // Nobody can tell a hasty client from a thief: the login has ended for both.
    api.refresh(&text(&won[0].body["refresh_token"])).await.problem(401);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let other = "A".repeat(43);
    for token in ["", "x", ada.access.as_str(), other.as_str()] {
        let refused = api.refresh(token).await.problem(401);
        assert_eq!(refused.body["type"], "/problems/refresh-refused", "{token}");
    }
    api.post("/api/auth/refresh").json(&json!({})).send().await.problem(422);
}

#[tokio::test]
async fn logging_out_ends_this_login_only() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let mut other = ada.clone();
    api.log_in(&mut other).await;
    let log_out = async |token: &str| api.post("/api/auth/logout").json(&json!({"refresh_token": token})).send().await;
    log_out(&ada.refresh).await.expect(204);
    log_out(&ada.refresh).await.expect(204);
    log_out("nobody's").await.expect(204);
    api.refresh(&ada.refresh).await.problem(401);
    api.refresh(&other.refresh).await.expect(200);
}

#[tokio::test]
async fn an_access_token_ends_with_its_time_and_a_login_survives_a_restart() {
    let service = service().env("COVET_AUTH__ACCESS_TOKEN_TTL", "2s").env("COVET_AUTH__CLOCK_LEEWAY", "0s");
    let mut api = Api::start_with(service).await;
    let ada = api.register("ada").await;
    let ended = wait_until("the token to expire", Duration::from_secs(20), async || {
        let reply = api.get("/api/users/me").by(&ada).send().await;
        if reply.status == 401 { Ok(reply) } else { Err(reply.status.to_string()) }
    });
    let refused = ended.await.unwrap().problem(401);
    assert!(refused.header("www-authenticate").contains("expired"), "{:?}", refused.headers);

    assert!(api.service.restart().await.unwrap().success());
    let next = api.refresh(&ada.refresh).await.expect(200);
    api.get("/api/users/me").bearer(&text(&next.body["access_token"])).send().await.expect(200);
}

#[tokio::test]
async fn every_route_but_those_that_log_in_wants_a_login() {
    let api = Api::start().await;
    let document = api.get("/api/openapi.json").send().await.expect(200).body;
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = operation.get("security").is_none();
            let logs_in = path.starts_with("/api/auth/") && method == "post";
            let for_everybody = ["/health", "/api/stats", "/.well-known/"].iter().any(|start| path.starts_with(start));
            assert_eq!(open, logs_in || for_everybody, "{method} {path}");
            if open {
                continue;
            }
            let url = path.replace("{id}", "018f3f5e-0000-7000-8000-000000000000");
            let method = method.to_uppercase().parse().unwrap();
            let refused = api.call(method, &url).send().await.problem(401);
            assert_eq!(refused.header("www-authenticate"), "Bearer", "{path}");
            asked += 1;
        }
    }
    assert!(asked >= 20, "{asked} routes were asked");
}

#[tokio::test]
async fn a_login_renews_a_hash_made_with_other_parameters() {
    let database = Database::create().await;
    let mut before = Api::start_on(&database, service().env("COVET_AUTH__PASSWORD_ITERATIONS", "3")).await;
    let mut ada = before.register("ada").await;
    before.service.stop().await.unwrap();

    let mut now = Api::start_on(&database, service()).await;
    now.log_in(&mut ada).await;
    now.log_in(&mut ada).await;
    now.service.stop().await.unwrap();
    let db = Db::connect(&DatabaseSettings::at(&database.url()), Clock::system()).await.unwrap();
    let hash: String = db.read().one("SELECT password_hash FROM users", params![]).await.unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    db.close().await;
}
