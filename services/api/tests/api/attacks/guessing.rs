//! Finding out who is registered, and what their password is.

use std::time::Duration;

use covet::clock::Clock;
use serde_json::{Value, json};

use crate::support::{Api, PASSWORD, Reply, service};

/// Samples of each kind in one attempt of the timing test.
const SAMPLES: usize = 30;

/// The answer without what is of this request alone.
fn same_but_for_its_id(mut reply: Reply) -> (u16, Value, Vec<String>) {
    reply.body["request_id"] = Value::Null;
    let mut names: Vec<String> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "x-request-id" && *name != "date")
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    names.sort();
    (reply.status, reply.body, names)
}

#[tokio::test]
async fn no_answer_tells_who_is_registered() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let ended = ada.clone();
    api.post("/api/auth/logout").json(&json!({"refresh_token": ended.refresh})).send().await.expect(204);
    for path in ["/api/auth/login", "/api/auth/sessions"] {
        let mut answers = Vec::new();
        for (email, password) in [
            (ada.email.as_str(), "not the password at all"),
            ("nobody@example.com", "not the password at all"),
            ("nobody@example.com", PASSWORD),
            ("no address", PASSWORD),
            (ada.email.as_str(), ""),
        ] {
            let body = json!({"email": email, "password": password});
            answers.push(same_but_for_its_id(api.post(path).json(&body).send().await));
        }
        assert_eq!(answers[0].0, 401);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:#?}");
    }
    let (ended, unknown) = (api.refresh(&ended.refresh).await, api.refresh(&"A".repeat(43)).await);
    assert_eq!(same_but_for_its_id(ended), same_but_for_its_id(unknown));
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort();
    samples[samples.len() / 2].as_secs_f64()
}

/// Known and unknown by turns, so that whatever else the machine does falls on both.
#[tokio::test]
async fn the_time_of_an_answer_does_not_tell_who_is_registered() {
    let api = Api::start_with(service().env("COVET_AUTH__PASSWORD_CONCURRENCY", "1")).await;
    let ada = api.register("ada").await;
    let clock = Clock::system();
    let ask = async |email: &str| {
        let body = json!({"email": email, "password": "not the password at all"});
        let started = clock.monotonic();
        api.post("/api/auth/login").json(&body).send().await.expect(401);
        clock.monotonic().duration_since(started)
    };
    for _ in 0..5 {
        ask(&ada.email).await;
        ask("nobody@example.com").await;
    }
    let mut differences = Vec::new();
    for _ in 0..5 {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            known.push(ask(&ada.email).await);
            unknown.push(ask("nobody@example.com").await);
        }
        let (known, unknown) = (median(known), median(unknown));
        let difference = (known - unknown).abs() / known;
        if difference < 0.15 {
            return;
        }
        differences.push(format!("known {:.1} ms, unknown {:.1} ms", known * 1e3, unknown * 1e3));
    }
    panic!("the medians differ by more than 15 %: {differences:?}");
}

#[tokio::test]
async fn one_address_has_ten_guesses_a_minute_by_each_way_to_log_in() {
    let api = Api::start_with(service().env("COVET_RATE_LIMIT__ENABLED", "true")).await;
    let mut reached = 0;
    for number in 0..26 {
        let path = ["/api/auth/login", "/api/auth/sessions"][number % 2];
        let body = json!({"email": format!("user{number}@example.com"), "password": PASSWORD});
        let call = api.post(path).header("x-forwarded-for", &format!("10.0.0.{number}"));
        let reply = call.header("x-real-ip", "10.1.1.1").json(&body).send().await;
        match reply.status {
            401 => reached += 1,
            _ => assert!(reply.problem(429).headers.contains_key("retry-after")),
        }
    }
    assert_eq!(reached, 20, "ten by token and ten by cookie, whatever it says of its address");
    let metrics = api.service.metrics().await.unwrap();
    let verified: f64 = metrics
        .lines()
        .filter(|line| {
            line.starts_with("app_auth_attempts_total{") && line.contains("password") && line.contains("fail")
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!((verified - f64::from(reached)).abs() < 0.5, "{verified} for {reached}");
}

#[tokio::test]
async fn a_stolen_login_has_ten_guesses_a_minute_at_its_owners_password() {
    let api = Api::start_with(service().env("COVET_RATE_LIMIT__ENABLED", "true")).await;
    let ada = api.register("ada").await;
    let path = format!("/api/users/{}/password", ada.id);
    let mut statuses = Vec::new();
    for number in 0..14 {
        let guess =
            json!({"current_password": format!("guess number {number}"), "new_password": "nine green otters swim"});
        statuses.push(api.put(&path).by(&ada).json(&guess).send().await.status);
    }
    let verified = statuses.iter().filter(|status| **status == 422).count();
    assert_eq!((verified, statuses[13]), (10, 429), "{statuses:?}");
}
