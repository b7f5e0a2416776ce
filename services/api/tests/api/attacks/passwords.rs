//! Somebody who knows the password until now, at the moment when its owner changes it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, PASSWORD, Reply, service, text};

const NEW: &str = "nine green otters swim";

/// One hash at a time, each slow enough that logins wait while the password changes.
async fn slow() -> Arc<Api> {
    let service = service().env("COVET_AUTH__PASSWORD_CONCURRENCY", "1").env("COVET_AUTH__PASSWORD_ITERATIONS", "4");
    Arc::new(Api::start_with(service).await)
}

#[tokio::test]
async fn a_login_with_the_old_password_does_not_outlive_its_change() {
    let api = slow().await;
    let ada = api.register("ada").await;
    let change = tokio::spawn({
        let (api, ada) = (Arc::clone(&api), ada.clone());
        async move {
            let body = json!({"current_password": PASSWORD, "new_password": NEW});
            api.put(&format!("/api/users/{}/password", ada.id)).by(&ada).json(&body).send().await.expect(204)
        }
    });
    let mut logins = Vec::new();
    // Until it is done: those that wait behind it have read the old hash, and are checked when the new one is stored.
    while !change.is_finished() {
        let (api, email) = (Arc::clone(&api), ada.email.clone());
        let path = ["/api/auth/login", "/api/auth/sessions"][logins.len() % 2];
        logins.push(tokio::spawn(async move {
            api.post(path).json(&json!({"email": email, "password": PASSWORD})).send().await
        }));
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    change.await.unwrap();
    let mut refused = 0;
    for login in logins {
        let reply = login.await.unwrap();
        match reply.status {
            200 => {
                api.refresh(&text(&reply.body["refresh_token"])).await.problem(401);
                api.get("/api/users/me").bearer(&text(&reply.body["access_token"])).send().await.problem(401);
            }
            204 => {
                let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
                api.get("/api/users/me").header("cookie", &cookie).send().await.problem(401);
            }
            _ => {
                reply.problem(401);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "some came after the change");
    let left = api.get("/api/auth/sessions").by(&ada).send().await.expect(200);
    assert_eq!(left.body["items"].as_array().map(Vec::len), Some(1), "{}", left.body);
}

#[tokio::test]
async fn of_two_changes_of_one_password_at_once_one_counts() {
    let api = slow().await;
    let ada = api.register("ada").await;
    let (mut one, mut other) = (ada.clone(), ada.clone());
    api.log_in(&mut one).await;
    api.log_in(&mut other).await;
    let path = format!("/api/users/{}/password", ada.id);
    let change = |token: String, new: &str| {
        let body = json!({"current_password": PASSWORD, "new_password": new});
        api.put(&path).bearer(&token).json(&body).send()
    };
    let thiefs = "seven stolen horses run";
    let (mine, thief): (Reply, Reply) = tokio::join!(change(one.access, NEW), change(other.access, thiefs));
    let mut statuses = [mine.status, thief.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 204, "{} {}", mine.body, thief.body);
    assert!([401, 422].contains(&statuses[1]), "{} {}", mine.body, thief.body);
    let right = if mine.status == 204 { NEW } else { thiefs };
    let login: Value = json!({"email": ada.email, "password": right});
    api.post("/api/auth/login").json(&login).send().await.expect(200);
}
