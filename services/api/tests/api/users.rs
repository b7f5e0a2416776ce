//! Users.

use serde_json::json;

use crate::support::{Api, PASSWORD, ids};

#[tokio::test]
async fn an_address_is_shown_to_its_owner_only() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let own = api.get(&format!("/api/users/{}", ada.id)).by(&ada).send().await.expect(200);
    assert_eq!(own.body["email"], "ada@example.com");
    let seen = api.get(&format!("/api/users/{}", ada.id)).by(&bob).send().await.expect(200);
    assert!(seen.body.get("email").is_none(), "{}", seen.body);
    let list = api.get("/api/users").by(&bob).send().await.expect(200);
    assert_eq!(ids(list.body["items"].as_array().unwrap()), [bob.id.clone(), ada.id.clone()]);
    assert!(!list.body.to_string().contains("ada@example.com"));
    let missing = api.get("/api/users/018f3f5e-0000-7000-8000-000000000000").by(&bob).send().await.problem(404);
    assert_eq!(missing.body["detail"], "There is no such user.");
    api.get("/api/users/17").by(&bob).send().await.problem(404);
}

#[tokio::test]
async fn pages_neither_repeat_nor_lose_a_user_while_others_register() {
    let api = Api::start().await;
    let mut users = Vec::new();
    for number in 0..5 {
        users.push(api.register(&format!("user{number}")).await);
    }
    let first = api.get("/api/users?limit=2").by(&users[0]).send().await.expect(200);
    api.register("late").await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let rest = api.get(&format!("/api/users?limit=100&cursor={cursor}")).by(&users[0]).send().await.expect(200);
    assert!(rest.body["next_cursor"].is_null());
    let mut seen = ids(first.body["items"].as_array().unwrap());
    seen.extend(ids(rest.body["items"].as_array().unwrap()));
    let expected: Vec<_> = users.iter().rev().map(|user| user.id.clone()).collect();
    assert_eq!(seen, expected);

    for query in ["limit=0", "limit=101", "limit=x", "limit=-1", "cursor=abc", "cursor="] {
        let refused = api.get(&format!("/api/users?{query}")).by(&users[0]).send().await.problem(400);
        assert!(refused.body["detail"].as_str().unwrap().len() > 10, "{query}: {}", refused.body);
    }
}

#[tokio::test]
async fn a_user_changes_themselves_with_the_version_they_have_read() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let path = format!("/api/users/{}", ada.id);
    let read = api.get("/api/users/me").by(&ada).send().await.expect(200);
    let change = json!({"name": "Countess"});

    api.patch(&path).by(&ada).json(&change).send().await.problem(428);
    api.patch(&path).by(&ada).header("if-match", "nonsense").json(&change).send().await.problem(400);
    let changed = api.patch(&path).by(&ada).header("if-match", &read.etag()).json(&change).send().await.expect(200);
    assert_eq!((&changed.body["name"], &changed.body["email"]), (&json!("Countess"), &json!("ada@example.com")));
    assert_ne!(changed.etag(), read.etag());

    let stale = api.patch(&path).by(&ada).header("if-match", &read.etag()).json(&change).send().await.problem(412);
    assert_eq!(stale.etag(), changed.etag());
    let known = api.get(&path).by(&ada).header("if-none-match", &changed.etag()).send().await.expect(304);
    assert!(known.body.is_null());
    let refused =
        api.patch(&path).by(&ada).header("if-match", "*").json(&json!({"name": "", "email": "x"})).send().await;
    assert_eq!(refused.refused_fields(), ["name", "email"]);
    let refused = api.patch(&path).by(&ada).header("if-match", "*").json(&json!({"id": "x"})).send().await;
    refused.problem(422);
}

#[tokio::test]
async fn a_new_address_needs_the_password_and_must_be_free() {
    let api = Api::start().await;
    let (ada, _bob) = (api.register("ada").await, api.register("bob").await);
    let path = format!("/api/users/{}", ada.id);
    let change = async |body| api.patch(&path).by(&ada).header("if-match", "*").json(&body).send().await;
    assert_eq!(change(json!({"email": "new@example.com"})).await.refused_fields(), ["current_password"]);
    let wrong = json!({"email": "new@example.com", "current_password": "not my password"});
    assert_eq!(change(wrong).await.refused_fields(), ["current_password"]);
    let taken = change(json!({"email": "Bob@example.com", "current_password": PASSWORD})).await.problem(409);
    assert_eq!(taken.body["errors"][0]["field"], "email");
    change(json!({"email": "new@example.com", "current_password": PASSWORD})).await.expect(200);
    let login = |email| api.post("/api/auth/login").json(&json!({"email": email, "password": PASSWORD})).send();
    login("ada@example.com").await.problem(401);
    login("new@example.com").await.expect(200);
}

#[tokio::test]
async fn a_new_password_ends_the_other_logins() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let mut other = ada.clone();
    api.log_in(&mut other).await;
    let path = format!("/api/users/{}/password", ada.id);
    let change = async |current: &str, new: &str| {
        api.put(&path).by(&ada).json(&json!({"current_password": current, "new_password": new})).send().await
    };
    assert_eq!(change(PASSWORD, "short").await.refused_fields(), ["new_password"]);
    assert_eq!(change("not my password", "nine white geese sing").await.refused_fields(), ["current_password"]);
    change(PASSWORD, "nine white geese sing").await.expect(204);
    api.refresh(&ada.refresh).await.expect(200);
    api.refresh(&other.refresh).await.problem(401);
    let login = |password| api.post("/api/auth/login").json(&json!({"email": ada.email, "password": password})).send();
    login(PASSWORD).await.problem(401);
    login("nine white geese sing").await.expect(200);
}

#[tokio::test]
async fn nobody_changes_or_deletes_somebody_else() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let path = format!("/api/users/{}", ada.id);
    api.patch(&path).by(&bob).header("if-match", "*").json(&json!({"name": "Mallory"})).send().await.problem(403);
    let body = json!({"current_password": PASSWORD, "new_password": "nine white geese sing"});
    api.put(&format!("{path}/password")).by(&bob).json(&body).send().await.problem(403);
    api.delete(&path).by(&bob).send().await.problem(403);
    assert_eq!(api.get(&path).by(&ada).send().await.expect(200).body["name"], "ada");
}

#[tokio::test]
async fn a_deleted_user_leaves_orders_and_nothing_else() {
    let mut api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let path = format!("/api/users/{}", ada.id);
    api.post("/api/notes").by(&ada).json(&json!({"title": "mine"})).send().await.expect(201);
    api.delete(&path).by(&ada).header("if-match", "\"v99\"").send().await.problem(412);
    api.delete(&path).by(&ada).send().await.expect(204);

    api.get(&path).by(&bob).send().await.problem(404);
    api.refresh(&ada.refresh).await.problem(401);
    let login = json!({"email": ada.email, "password": PASSWORD});
    api.post("/api/auth/login").json(&login).send().await.problem(401);
    api.get("/api/users/me").by(&ada).send().await.problem(401);
    // Without Redis a restart forgets that the login has ended: the token is good, but there is nothing left to do with it.
    assert!(api.service.restart().await.unwrap().success());
    api.get("/api/users/me").by(&ada).send().await.problem(404);
    assert_eq!(api.get("/api/notes").by(&ada).send().await.expect(200).body["items"], json!([]));
    let refused = api.post("/api/notes").by(&ada).json(&json!({"title": "ghost"})).send().await.problem(401);
    assert_eq!(refused.body["type"], "/problems/user-deleted");
    let order = json!({"currency": "EUR", "items": [{"description": "x", "quantity": 1, "unit_price_minor": 1}]});
    let keyed = api.post("/api/orders").by(&ada).header("idempotency-key", "k").json(&order).send().await;
    keyed.problem(401);
    api.post("/api/orders").by(&ada).json(&order).send().await.problem(401);
}
