//! Admins: who becomes one, what they do, and that one stays.

use covet::clock::Clock;
use covet::data::settings::DatabaseSettings;
use covet::data::{Db, params};
use covet_testkit::eventually;
use serde_json::json;

use crate::database::Database;
use crate::support::{Api, PASSWORD, User, service, text};

async fn open(database: &Database) -> Db {
    Db::connect(&DatabaseSettings::at(&database.url()), Clock::system()).await.unwrap()
}

/// Makes a user admin, past everything.
pub(crate) async fn appoint(database: &Database, user: &User) {
    let db = open(database).await;
    let sql = "INSERT INTO user_roles (user_id, role, given_at) VALUES ($1, 'admin', $2)";
    let id: uuid::Uuid = user.id.parse().unwrap();
    db.write().execute(sql, params![id, Clock::system().now()]).await.unwrap();
    db.close().await;
}

/// Takes the role away, past everything.
pub(crate) async fn depose(database: &Database, user: &User) {
    let db = open(database).await;
    let id: uuid::Uuid = user.id.parse().unwrap();
    db.write().execute("DELETE FROM user_roles WHERE user_id = $1", params![id]).await.unwrap();
    db.close().await;
}

/// A service with Ada, who is admin, and Bob, who is not.
async fn start() -> (Api, Database, User, User) {
    let database = Database::create().await;
    let api = Api::start_on(&database, service()).await;
    let (mut ada, bob) = (api.register("ada").await, api.register("bob").await);
    appoint(&database, &ada).await;
    api.log_in(&mut ada).await;
    (api, database, ada, bob)
}

fn role_of(user: &User) -> String {
    format!("/api/admin/users/{}/roles/admin", user.id)
}

#[tokio::test]
async fn the_user_whom_the_operator_names_becomes_the_first_admin_and_nobody_the_second() {
    let database = Database::create().await;
    let mut before = Api::start_on(&database, service()).await;
    let (mut ada, mut bob) = (before.register("ada").await, before.register("bob").await);
    before.get("/api/admin/users").by(&ada).send().await.problem(403);
    before.service.stop().await.unwrap();

    let mut named = Api::start_on(&database, service().env("COVET_ADMIN__FIRST_ADMIN", &ada.id)).await;
    eventually("Ada is admin", async || {
        named.log_in(&mut ada).await;
        named.get("/api/admin/users").by(&ada).send().await.status == 200
    })
    .await;
    named.service.stop().await.unwrap();

    let other = Api::start_on(&database, service().env("COVET_ADMIN__FIRST_ADMIN", &bob.id)).await;
    eventually("the periodic task has run", async || {
        let metrics = other.service.metrics().await.unwrap();
        let ran = r#"app_background_task_duration_seconds_count{task_type="appoint_first_admin",status="success"}"#;
        metrics.lines().any(|line| line.starts_with(ran) && !line.ends_with(" 0"))
    })
    .await;
    other.log_in(&mut bob).await;
    other.get("/api/admin/users").by(&bob).send().await.problem(403);
}

#[tokio::test]
async fn an_admin_sees_addresses_and_roles_and_a_user_does_not() {
    let (api, _database, ada, bob) = start().await;
    let list = api.get("/api/admin/users").by(&ada).send().await.expect(200);
    let seen: Vec<_> =
        list.body["items"].as_array().unwrap().iter().map(|user| (&user["email"], &user["roles"])).collect();
    assert_eq!(seen, [(&json!("bob@example.com"), &json!([])), (&json!("ada@example.com"), &json!(["admin"]))]);
    let first = api.get("/api/admin/users?limit=1").by(&ada).send().await.expect(200);
    assert_eq!(first.body["items"].as_array().unwrap().len(), 1);
    let refused = api.get("/api/admin/users").by(&bob).send().await.problem(403);
    assert_eq!(refused.body["type"], "/problems/not-permitted");
    assert!(text(&refused.body["detail"]).contains("users:admin"), "{}", refused.body);
}

#[tokio::test]
async fn a_role_that_is_given_counts_from_the_next_refresh_and_one_that_is_taken_at_once() {
    let (api, _database, ada, mut bob) = start().await;
    api.put(&role_of(&bob)).by(&ada).send().await.expect(204);
    api.put(&role_of(&bob)).by(&ada).send().await.expect(204);
    api.get("/api/admin/users").by(&bob).send().await.problem(403);
    let next = api.refresh(&bob.refresh).await.expect(200);
    (bob.access, bob.refresh) = (text(&next.body["access_token"]), text(&next.body["refresh_token"]));
    api.get("/api/admin/users").by(&bob).send().await.expect(200);

    api.delete(&role_of(&bob)).by(&ada).send().await.expect(204);
    api.delete(&role_of(&bob)).by(&ada).send().await.expect(204);
    let refused = api.get("/api/admin/users").by(&bob).send().await.problem(403);
    assert_eq!(refused.body["type"], "/problems/not-permitted");
    // What everybody may is theirs as before.
    api.get("/api/notes").by(&bob).send().await.expect(200);
}

#[tokio::test]
async fn the_last_admin_can_be_neither_deposed_nor_deleted() {
    let (api, _database, ada, bob) = start().await;
    let refused = api.delete(&role_of(&ada)).by(&ada).send().await.problem(409);
    assert!(text(&refused.body["detail"]).contains("last admin"), "{}", refused.body);
    let me = format!("/api/users/{}", ada.id);
    api.delete(&me).by(&ada).send().await.problem(409);
    api.get("/api/admin/users").by(&ada).send().await.expect(200);

    api.put(&role_of(&bob)).by(&ada).send().await.expect(204);
    api.delete(&me).by(&ada).send().await.expect(204);
    let mut bob = bob;
    api.log_in(&mut bob).await;
    api.delete(&role_of(&bob)).by(&bob).send().await.problem(409);
    // The access token of an admin who is gone opens nothing.
    api.get("/api/admin/users").by(&ada).send().await.problem(401);
}

#[tokio::test]
async fn the_last_admin_who_tries_to_go_stays_logged_in() {
    let (api, _database, ada, _bob) = start().await;
    let body = json!({"email": ada.email, "password": PASSWORD});
    let opened = api.post("/api/auth/sessions").json(&body).send().await.expect(204);
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    api.delete(&format!("/api/users/{}", ada.id)).header("cookie", &cookie).send().await.problem(409);
    api.get("/api/admin/users").header("cookie", &cookie).send().await.expect(200);
}

#[tokio::test]
async fn what_is_no_role_and_who_is_no_user_is_not_found() {
    let (api, _database, ada, bob) = start().await;
    for role in ["user", "owner", "ADMIN", "%20"] {
        let path = format!("/api/admin/users/{}/roles/{role}", bob.id);
        api.put(&path).by(&ada).send().await.problem(404);
        api.delete(&path).by(&ada).send().await.problem(404);
    }
    let nobody = "/api/admin/users/018f3f5e-0000-7000-8000-000000000000/roles/admin";
    api.put(nobody).by(&ada).send().await.problem(404);
}
