//! What is kept of a user: they can fetch it, and it goes with them.

use serde_json::json;

use crate::database::Database;
use crate::support::{Api, PASSWORD, User, dump, guide_script, open, run_script, service, text};

/// Leaves something of Ada's everywhere; the cookie of her browser.
async fn leave_traces(api: &Api, ada: &User) -> String {
    let login = json!({"email": ada.email, "password": PASSWORD});
    let opened = api.post("/api/auth/sessions").header("user-agent", "Planted Browser").json(&login).send().await;
    let cookie = opened.expect(204).header("set-cookie").split(';').next().unwrap().to_owned();
    for number in 0..101 {
        let note = json!({"title": format!("Planted title {number}"), "body": "Planted body", "tags": ["planted-tag"]});
        api.post("/api/notes").by(ada).json(&note).send().await.expect(201);
    }
    let item = json!({"description": "Planted item", "quantity": 1, "unit_price_minor": 250});
    let order = json!({"currency": "EUR", "items": [item]});
    let order = api.post("/api/orders").by(ada).header("idempotency-key", "planted-key").json(&order).send().await;
    order.expect(201);
    // Kept in the cache from here on.
    api.get("/api/notes").header("cookie", &cookie).send().await.expect(200);
    cookie
}

#[tokio::test]
async fn a_user_fetches_everything_that_is_kept_of_them_and_of_nobody_else() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let cookie = leave_traces(&api, &ada).await;
    api.post("/api/notes").by(&bob).json(&json!({"title": "Bob's"})).send().await.expect(201);

    let reply = api.get("/api/users/me/export").header("cookie", &cookie).send().await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("content-disposition"), "attachment; filename=\"personal-data.json\"");
    let document = &reply.body;
    assert_eq!(document["schema"], "covet.personal-data/1");
    assert_eq!((text(&document["account"]["id"]), text(&document["account"]["email"])), (ada.id, ada.email));
    let length = |member: &str| document[member].as_array().unwrap().len();
    assert_eq!(["notes", "orders", "logins", "kept_answers"].map(length), [101, 1, 2, 1]);
    let whole = document.to_string();
    for planted in ["Planted Browser", "Planted title 100", "planted-tag", "Planted item", "planted-key", "127.0.0.1"] {
        assert!(whole.contains(planted), "{planted} is not in {whole}");
    }
    assert!(!whole.contains("Bob") && !whole.contains(&bob.id), "{whole}");
    let events: Vec<String> = document["audit"].as_array().unwrap().iter().map(|entry| text(&entry["event"])).collect();
    let expected =
        ["user_created", "authn_login_success", "authn_login_success", "order_created", "personal_data_exported"];
    assert_eq!(events, expected);
    api.get("/api/users/me/export").send().await.problem(401);
}

#[tokio::test]
async fn nothing_of_a_deleted_user_is_left_anywhere() {
    let database = Database::create().await;
    let api = Api::start_on(&database, service()).await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let cookie = leave_traces(&api, &ada).await;
    let db = open(&database).await;
    let traces = [&ada.id, &ada.email, "Planted title", "Planted body", "planted-tag", "planted-key"];
    let before = dump(&db).await;
    for trace in traces {
        assert!(before.contains(trace), "{trace} is not in\n{before}");
    }

    api.delete(&format!("/api/users/{}", ada.id)).by(&ada).send().await.expect(204);

    let after = dump(&db).await;
    for trace in traces {
        assert!(!after.contains(trace), "{trace} is in\n{after}");
    }
    // Orders are accounts.
    assert!(after.contains("Planted item"), "{after}");
    // Bob's own are left: when he registered and when he logged in.
    let origins = after.lines().filter(|line| line.contains("127.0.0.1")).count();
    assert_eq!(origins, 2, "{after}");
    api.get("/api/users/me").header("cookie", &cookie).send().await.problem(401);
    for path in ["/api/users/me", "/api/users/me/export", "/api/notes"] {
        api.get(path).by(&ada).send().await.problem(401);
    }
    api.get("/api/users/me").by(&bob).send().await.expect(200);
    let proof = api.service.command(&["audit", "verify"]).await.unwrap();
    assert_eq!(proof.code(), Some(0), "{}", proof.output());
}

#[tokio::test]
async fn a_deletion_that_somebody_was_quicker_than_erases_nothing() {
    let database = Database::create().await;
    let api = Api::start_on(&database, service()).await;
    let ada = api.register("ada").await;
    let path = format!("/api/users/{}", ada.id);
    api.delete(&path).by(&ada).header("if-match", "\"v7\"").send().await.problem(412);
    api.get("/api/users/me").by(&ada).send().await.expect(200);
    let dumped = dump(&open(&database).await).await;
    assert!(!dumped.contains("user_deleted") && dumped.contains("127.0.0.1"), "{dumped}");
}

#[tokio::test]
async fn the_commands_of_the_guide_do_what_it_says() {
    let api = Api::start().await;
    let script = guide_script("privacy").replace("http://localhost:8000", &api.service.url(""));
    let told = run_script(&api, &script).await;
    for part in ["\"schema\":\"covet.personal-data/1\"", "\"kind\":\"cookie\"", "\"event\":\"user_created\"", "\n401\n"]
    {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}
