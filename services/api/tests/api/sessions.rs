//! Logging in by cookie, and my logins.

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Api, Call, PASSWORD, Reply, User, text};

/// Logs in by cookie; `name=value`, as a browser sends it back.
async fn log_in(api: &Api, user: &User, password: &str) -> String {
    let body = json!({"email": user.email, "password": password});
    let reply = api.post("/api/auth/sessions").header("user-agent", "Firefox").json(&body).send().await.expect(204);
    given(&reply)
}

fn given(reply: &Reply) -> String {
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

trait ByCookie {
    fn with(self, cookie: &str) -> Self;
}

impl ByCookie for Call {
    fn with(self, cookie: &str) -> Self {
        self.header("cookie", cookie)
    }
}

async fn list(api: &Api, cookie: &str) -> Vec<Value> {
    let reply = api.get("/api/auth/sessions").with(cookie).send().await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    reply.body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_browser_logs_in_works_and_logs_out_by_cookie_alone() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let cookie = log_in(&api, &ada, PASSWORD).await;
    let me = api.get("/api/users/me").with(&cookie).send().await.expect(200);
    assert_eq!((me.id(), me.header("cache-control").as_str()), (ada.id.clone(), "private, no-cache"));
    let note = api.post("/api/notes").with(&cookie).json(&json!({"title": "By cookie"})).send().await.expect(201);
    api.get(&format!("/api/notes/{}", note.id())).by(&ada).send().await.expect(200);

    let out = api.delete("/api/auth/sessions/current").with(&cookie).send().await.expect(204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let refused = api.get("/api/users/me").with(&cookie).send().await.problem(401);
    assert!(text(&refused.body["detail"]).contains("Log in"), "{}", refused.body);
    api.get("/api/users/me").by(&ada).send().await.expect(200);
}

#[tokio::test]
async fn a_wrong_password_opens_nothing() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    for (email, password) in [(ada.email.as_str(), "not the password at all"), ("bob@example.com", PASSWORD)] {
        let body = json!({"email": email, "password": password});
        let refused = api.post("/api/auth/sessions").json(&body).send().await.problem(401);
        assert_eq!(refused.body["type"], "/problems/wrong-credentials");
        assert!(refused.headers.get("set-cookie").is_none());
    }
}

#[tokio::test]
async fn my_logins_are_listed_whichever_way_they_were_opened() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let (first, second) = (log_in(&api, &ada, PASSWORD).await, log_in(&api, &ada, PASSWORD).await);
    log_in(&api, &bob, PASSWORD).await;
    let items = list(&api, &second).await;
    let kinds: Vec<_> = items.iter().map(|item| text(&item["kind"])).collect();
    assert_eq!((kinds.iter().filter(|kind| *kind == "cookie").count(), kinds.len()), (2, 3), "{items:?}");
    let current: Vec<_> = items.iter().filter(|item| item["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!((&current[0]["user_agent"], &current[0]["address"]), (&json!("Firefox"), &json!("127.0.0.1")));
    let shown = Value::from(items).to_string();
    for cookie in [&first, &second] {
        assert!(!shown.contains(&cookie[cookie.len() - 43..]), "a list gives nobody a cookie");
    }
    let by_token = api.get("/api/auth/sessions").by(&ada).send().await.expect(200);
    let current = by_token.body["items"].as_array().unwrap().iter().find(|item| item["current"] == true);
    assert_eq!(current.unwrap()["kind"], "token");
}

#[tokio::test]
async fn i_end_one_of_my_logins_or_all_others_and_nobody_elses() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let (mine, stolen) = (log_in(&api, &ada, PASSWORD).await, log_in(&api, &ada, PASSWORD).await);
    let bobs = log_in(&api, &bob, PASSWORD).await;
    let id_of =
        async |cookie: &str| text(&list(&api, cookie).await.iter().find(|item| item["current"] == true).unwrap()["id"]);
    let (stolen_id, bobs_id) = (id_of(&stolen).await, id_of(&bobs).await);
    for id in [bobs_id.as_str(), "018f3f5e-0000-7000-8000-000000000000", "nonsense"] {
        api.delete(&format!("/api/auth/sessions/{id}")).with(&mine).send().await.problem(404);
    }
    api.delete(&format!("/api/auth/sessions/{stolen_id}")).with(&mine).send().await.expect(204);
    api.get("/api/users/me").with(&stolen).send().await.problem(401);
    api.delete(&format!("/api/auth/sessions/{stolen_id}")).with(&mine).send().await.problem(404);

    let other = log_in(&api, &ada, PASSWORD).await;
    api.delete("/api/auth/sessions").with(&mine).send().await.expect(204);
    api.get("/api/users/me").with(&other).send().await.problem(401);
    api.refresh(&ada.refresh).await.problem(401);
    assert_eq!(list(&api, &mine).await.len(), 1);
    api.get("/api/users/me").with(&bobs).send().await.expect(200);
}

#[tokio::test]
async fn a_login_by_token_ends_itself_and_others_too() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let cookie = log_in(&api, &ada, PASSWORD).await;
    api.delete("/api/auth/sessions").by(&ada).send().await.expect(204);
    api.get("/api/users/me").with(&cookie).send().await.problem(401);
    api.delete("/api/auth/sessions/current").by(&ada).send().await.expect(204);
    api.refresh(&ada.refresh).await.problem(401);
}

#[tokio::test]
async fn a_new_password_ends_the_other_logins_and_gives_this_one_another_id() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let (mine, other) = (log_in(&api, &ada, PASSWORD).await, log_in(&api, &ada, PASSWORD).await);
    let path = format!("/api/users/{}/password", ada.id);
    let change = json!({"current_password": PASSWORD, "new_password": "nine green otters swim"});
    let wrong = json!({"current_password": "wrong", "new_password": "nine green otters swim"});
    let refused = api.put(&path).with(&mine).json(&wrong).send().await.problem(422);
    assert!(refused.headers.get("set-cookie").is_none());
    let changed = api.put(&path).with(&mine).json(&change).send().await.expect(204);
    for dead in [&mine, &other] {
        api.get("/api/users/me").with(dead).send().await.problem(401);
    }
    api.refresh(&ada.refresh).await.problem(401);
    assert_eq!(list(&api, &given(&changed)).await.len(), 1);
    log_in(&api, &ada, "nine green otters swim").await;
}

#[tokio::test]
async fn with_a_user_their_sessions_go() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let cookie = log_in(&api, &ada, PASSWORD).await;
    api.delete(&format!("/api/users/{}", ada.id)).with(&cookie).send().await.expect(204);
    api.get("/api/users/me").with(&cookie).send().await.problem(401);
}

#[tokio::test]
async fn pages_of_other_origins_neither_write_nor_log_in_nor_listen_by_cookie() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let cookie = log_in(&api, &ada, PASSWORD).await;
    let evil = |call: Call| call.header("origin", "https://evil.example").header("sec-fetch-site", "cross-site");
    let note = json!({"title": "Not mine"});
    let refused = evil(api.post("/api/notes").with(&cookie)).json(&note).send().await.problem(403);
    assert_eq!(refused.body["type"], "/problems/other-origin");
    let credentials = json!({"email": ada.email, "password": PASSWORD});
    evil(api.post("/api/auth/sessions")).json(&credentials).send().await.problem(403);
    evil(api.delete("/api/auth/sessions/current").with(&cookie)).send().await.problem(403);
    // A token is nothing that a browser adds by itself.
    evil(api.post("/api/notes").by(&ada)).json(&note).send().await.expect(201);
    evil(api.get("/api/notes").with(&cookie)).send().await.expect(200);

    let own = format!("http://127.0.0.1:{}", api.service.port());
    for (origin, status) in [("https://evil.example", 403), (own.as_str(), 101)] {
        let mut request = api.service.url("/ws/events").replace("http", "ws").into_client_request().unwrap();
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
        request.headers_mut().insert("origin", origin.parse().unwrap());
        request.headers_mut().insert("sec-websocket-protocol", "covet.events.v1".parse().unwrap());
        match tokio_tungstenite::connect_async(request).await {
            Ok((mut socket, response)) => {
                assert_eq!(response.status(), status, "{origin}");
                api.post("/api/notes").with(&cookie).json(&note).send().await.expect(201);
                let message = socket.next().await.unwrap().unwrap().into_text().unwrap();
                assert!(message.contains("note.created"), "{message}");
            }
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                assert_eq!(response.status(), status, "{origin}");
            }
            Err(error) => panic!("{origin}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_token_counts_before_a_cookie() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let bobs = log_in(&api, &bob, PASSWORD).await;
    let both = api.get("/api/users/me").by(&ada).with(&bobs).send().await.expect(200);
    assert_eq!(both.id(), ada.id);
    api.get("/api/users/me").bearer("stale").with(&bobs).send().await.problem(401);
    // What a proxy has asked the browser for is not for us.
    let basic = api.get("/api/users/me").header("authorization", "Basic dTpw").with(&bobs).send().await.expect(200);
    assert_eq!(basic.id(), bob.id);
}
