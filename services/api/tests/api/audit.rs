//! The audit trail of the service: what is in it, what is not, and the command that proves it.

use covet::data::{Db, params};
use covet_testkit::{Finished, eventually};
use serde_json::{Value, json};

use crate::database::Database;
use crate::support::{Api, PASSWORD, dump, guide_script, open, run_script, service};

async fn events(db: &Db) -> Vec<String> {
    let sql = "SELECT event || coalesce(' ' || reason, '') FROM audit_entries ORDER BY sequence";
    db.write().all(sql, params![]).await.unwrap()
}

/// Exit code and report.
async fn verify(api: &Api, arguments: &[&str]) -> (i32, Value) {
    let finished = api.service.command(&[&["audit", "verify", "--json"], arguments].concat()).await.unwrap();
    (code(&finished), serde_json::from_str(&finished.stdout).unwrap_or_default())
}

fn code(finished: &Finished) -> i32 {
    finished.code().unwrap()
}

#[tokio::test]
async fn what_users_do_is_recorded_and_nothing_they_have_typed() {
    let database = Database::create().await;
    let api = Api::start_on(&database, service()).await;
    let mut ada = api.register("ada").await;
    let login = |email: &str, password: &str| json!({"email": email, "password": password});
    api.post("/api/auth/login").json(&login(&ada.email, "planted-wrong-password")).send().await.problem(401);
    api.post("/api/auth/login").json(&login("planted@example.com", PASSWORD)).send().await.problem(401);
    api.post("/api/auth/sessions").json(&login(&ada.email, PASSWORD)).send().await.expect(204);
    api.delete("/api/auth/sessions").by(&ada).send().await.expect(204);
    api.post("/api/auth/logout").json(&json!({"refresh_token": ada.refresh})).send().await.expect(204);
    api.log_in(&mut ada).await;

    let me = api.get("/api/users/me").by(&ada).send().await.expect(200);
    let path = format!("/api/users/{}", ada.id);
    let change = json!({"email": "planted-new@example.com", "current_password": PASSWORD});
    api.patch(&path).by(&ada).header("if-match", &me.etag()).json(&change).send().await.expect(200);
    let change = json!({"current_password": PASSWORD, "new_password": "planted-password-of-ada"});
    api.put(&format!("{path}/password")).by(&ada).json(&change).send().await.expect(204);

    let note = api.post("/api/notes").by(&ada).json(&json!({"title": "planted-note"})).send().await.expect(201);
    api.delete(&format!("/api/notes/{}", note.id())).by(&ada).send().await.expect(204);
    let item = json!({"description": "planted-item", "quantity": 1, "unit_price_minor": 250});
    let order = json!({"currency": "EUR", "items": [item]});
    let order = api.post("/api/orders").by(&ada).json(&order).send().await.expect(201);
    let payment = json!({"currency": "EUR", "amount_minor": 250});
    for _ in 0..2 {
        api.post(&format!("/api/orders/{}/pay", order.id())).by(&ada).json(&payment).send().await.expect(200);
    }

    let db = open(&database).await;
    assert_eq!(
        events(&db).await,
        [
            "user_created",
            "authn_login_success",
            "authn_login_fail wrong_password",
            "authn_login_fail unknown_user",
            "authn_login_success",
            "authn_token_revoked",
            "authn_token_revoked",
            "authn_login_success",
            "user_updated",
            "authn_password_change",
            "note_deleted",
            "order_created",
            "order_paid",
        ]
    );
    let dumped = dump(&db).await;
    let trail: Vec<&str> = dumped.lines().filter(|line| line.starts_with("audit_entries")).collect();
    let trail = trail.join("\n");
    assert!(dumped.contains("planted-new@example.com") && trail.contains("127.0.0.1"), "{dumped}");
    for word in ["planted", PASSWORD, &ada.email, &ada.id] {
        assert!(!trail.contains(word), "{word} is in\n{trail}");
    }
    let (code, report) = verify(&api, &[]).await;
    assert_eq!((code, &report["entries"], &report["proven"]), (0, &json!(13), &json!(true)));
}

#[tokio::test]
async fn the_command_proves_the_trail_with_the_log_and_tells_what_is_wrong() {
    let database = Database::create().await;
    let api = Api::start_on(&database, service().env("COVET_LOG__AUDIT_FILE", "logs/audit.log")).await;
    api.register("ada").await;
    api.register("bob").await;
    let log = api.service.directory().path().join("logs/audit.log");
    eventually("four entries in the log", async || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.matches("entry_hash").count() == 4)
    })
    .await;
    let (code_, report) = verify(&api, &["--log", "logs/audit.log"]).await;
    assert_eq!((code_, &report["schema"]), (0, &json!("covet.audit-verification/1")), "{report}");
    assert_eq!((&report["entries"], &report["anchors"]), (&json!(4), &json!(4)));

    let db = open(&database).await;
    let triggers: &[&str] = if db.postgres().await.is_ok() {
        &["ALTER TABLE audit_entries DISABLE TRIGGER USER"]
    } else {
        &["DROP TRIGGER audit_entries_unchanged", "DROP TRIGGER audit_entries_unremoved"]
    };
    let tampering =
        ["UPDATE audit_entries SET event = 'x' WHERE sequence = 2", "DELETE FROM audit_entries WHERE sequence = 4"];
    for sql in triggers.iter().chain(&tampering) {
        db.write().execute(sql, params![]).await.unwrap();
    }
    let (code_, report) = verify(&api, &["--log", "logs/audit.log"]).await;
    let ids: Vec<&Value> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["id"]).collect();
    assert_eq!((code_, ids), (1, vec![&json!("CVT-AUDIT-001"), &json!("CVT-AUDIT-006")]), "{report}");

    let told = api.service.command(&["audit", "verify"]).await.unwrap();
    assert_eq!(code(&told), 1);
    assert!(told.stdout.starts_with("CVT-AUDIT-001 entry 2: "), "{}", told.output());
    let missing = api.service.command(&["audit", "verify", "--log", "logs/missing.log"]).await.unwrap();
    assert_eq!(code(&missing), 2, "{}", missing.output());
}

#[tokio::test]
async fn the_commands_of_the_guide_do_what_it_says() {
    let database = Database::create().await;
    let api = Api::start_on(&database, service().env("COVET_LOG__AUDIT_FILE", "logs/audit.log")).await;
    api.register("ada").await;
    let log = api.service.directory().path().join("logs/audit.log");
    eventually("two entries in the log", async || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.matches("entry_hash").count() == 2)
    })
    .await;
    let binary = format!("DATABASE_URL='{}' {} ", database.url(), env!("CARGO_BIN_EXE_covet-api"));
    let script = guide_script("audit").replace("covet-api ", &binary);
    let told = run_script(&api, &script).await;
    assert!(told.contains("proven: 2 entries, 1 to 2, the last with hash "), "{told}");
    assert!(told.contains("compared with 2 lines of the log"), "{told}");
}
