//! API keys, as their owners and their programs see them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use covet_testkit::Process;
use serde_json::{Value, json};

use crate::support::{Api, Reply, User, service, text};

async fn make(api: &Api, owner: &User, body: Value) -> Reply {
    api.post("/api/keys").by(owner).json(&body).send().await
}

/// A key for reading notes.
async fn reading(api: &Api, owner: &User, name: &str) -> (String, String) {
    let made = make(api, owner, json!({"name": name, "scopes": ["notes:read"]})).await.expect(201);
    (made.id(), text(&made.body["key"]))
}

#[tokio::test]
async fn a_key_is_shown_once_and_does_what_its_scopes_say() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let note = api.post("/api/notes").by(&ada).json(&json!({"title": "mine"})).send().await.expect(201);
    let made = make(&api, &ada, json!({"name": " backup ", "scopes": ["notes:read", "notes:read"]})).await.expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    assert_eq!((&made.body["name"], &made.body["scopes"]), (&json!("backup"), &json!(["notes:read"])));
    let key = text(&made.body["key"]);
    assert!(key.starts_with(&format!("cvt_{}_", made.id().replace('-', ""))), "its id is the first part");

    let read = api.get("/api/notes").bearer(&key).send().await.expect(200);
    assert_eq!(read.body["items"][0]["id"], note.body["id"]);
    let refused = api.post("/api/notes").bearer(&key).json(&json!({"title": "x"})).send().await.problem(403);
    assert_eq!(refused.body["type"], "/problems/out-of-scope");
    for call in [api.get("/api/keys"), api.delete("/api/auth/sessions"), api.delete(&format!("/api/users/{}", ada.id))]
    {
        assert_eq!(call.bearer(&key).send().await.problem(403).body["type"], "/problems/login-needed");
    }

    let list = api.get("/api/keys").by(&ada).send().await.expect(200);
    let secret = &key[37..];
    assert!(!list.body.to_string().contains(&secret[..32]), "{}", list.body);
    let listed = &list.body["items"][0];
    assert_eq!((&listed["id"], &listed["replace"]), (&made.body["id"], &json!(false)));
    assert!(listed["last_used_at"].is_string(), "{listed}");
}

#[tokio::test]
async fn one_key_replaces_another_of_its_name_without_a_pause() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let (old_id, old) = reading(&api, &ada, "backup").await;
    let (_, new) = reading(&api, &ada, "backup").await;
    let third = make(&api, &ada, json!({"name": "backup", "scopes": ["notes:read"]})).await.problem(409);
    assert_eq!(third.body["errors"][0]["field"], "name");
    for key in [&old, &new] {
        api.get("/api/notes").bearer(key).send().await.expect(200);
    }
    api.delete(&format!("/api/keys/{old_id}")).by(&ada).send().await.expect(204);
    api.get("/api/notes").bearer(&old).send().await.problem(401);
    api.get("/api/notes").bearer(&new).send().await.expect(200);
    reading(&api, &ada, "backup").await;
    api.delete(&format!("/api/keys/{old_id}")).by(&ada).send().await.problem(404);
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_not_told() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let ((_, key), (id, revoked)) = (reading(&api, &ada, "a").await, reading(&api, &ada, "b").await);
    api.delete(&format!("/api/keys/{id}")).by(&ada).send().await.expect(204);
    // Of one key the id, of the other the secret, with a checksum that fits.
    let mixed = format!("{}{}", &revoked[..37], &key[37..101]);
    let mixed = format!("{mixed}{:08x}", crc32(mixed.as_bytes()));
    let swapped = format!("{}{}", &key[..37], &revoked[37..101]);
    let swapped = format!("{swapped}{:08x}", crc32(swapped.as_bytes()));
    let mut details = Vec::new();
    for bad in ["cvt_", &key[..108], &key.to_uppercase().replacen("CVT", "cvt", 1), &revoked, &mixed, &swapped] {
        let refused = api.get("/api/notes").bearer(bad).send().await.problem(401);
        assert!(refused.header("www-authenticate").contains("invalid_token"), "{bad}");
        details.push(text(&refused.body["detail"]));
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    api.get("/api/notes").bearer(&key).send().await.expect(200);
}

/// CRC-32 as of IEEE 802.3, bit by bit: written again, so that the format is fixed by more than the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[tokio::test]
async fn bad_fields_of_a_key_are_named() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    for (body, fields) in [
        (json!({"name": "", "scopes": []}), vec!["name", "scopes"]),
        (json!({"name": "x", "scopes": ["users:admin"]}), vec!["scopes"]),
        (json!({"name": "x", "scopes": ["notes:*"]}), vec!["scopes"]),
        (json!({"name": "x", "scopes": ["notes:read"], "expires_at": "2020-01-01T00:00:00Z"}), vec!["expires_at"]),
    ] {
        assert_eq!(make(&api, &ada, body).await.refused_fields(), fields);
    }
}

#[tokio::test]
async fn keys_go_with_their_owner() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let (_, key) = reading(&api, &ada, "x").await;
    api.delete(&format!("/api/users/{}", ada.id)).by(&ada).send().await.expect(204);
    api.get("/api/notes").bearer(&key).send().await.problem(401);
}

#[tokio::test]
async fn each_key_has_a_limit_of_its_own_and_all_together_that_of_their_owner() {
    let limits = service()
        .env("COVET_RATE_LIMIT__ENABLED", "true")
        .env("COVET_RATE_LIMIT__API_KEY_PER_MINUTE", "3")
        .env("COVET_RATE_LIMIT__USER_PER_MINUTE", "10");
    let api = Api::start_with(limits).await;
    let ada = api.register("ada").await;
    // Two of the ten.
    let ((_, one), (_, other)) = (reading(&api, &ada, "one").await, reading(&api, &ada, "other").await);
    for key in [&one, &other] {
        for _ in 0..3 {
            api.get("/api/notes").bearer(key).send().await.expect(200);
        }
        let refused = api.get("/api/notes").bearer(key).send().await.problem(429);
        assert!(text(&refused.body["detail"]).contains("with this API key"), "{}", refused.body);
    }
    for _ in 0..2 {
        api.get("/api/notes").by(&ada).send().await.expect(200);
    }
    let refused = api.get("/api/notes").by(&ada).send().await.problem(429);
    assert!(text(&refused.body["detail"]).contains("of this user"), "{}", refused.body);
}

#[tokio::test]
async fn the_commands_of_the_guide_do_what_it_says() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/identity.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let blocks = guide.split("<!-- api-keys -->\n```sh\n").skip(1);
    let script: String = blocks.filter_map(|block| block.split_once("```").map(|(script, _)| script)).collect();
    let api = Api::start().await;
    let script = script.replace("http://localhost:8000", &api.service.url(""));
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script]).current_dir(api.service.directory().path());
    let finished = Process::run("the guide's script", &mut bash, Duration::from_secs(60)).await.unwrap();
    let output = finished.success("the guide's script").unwrap().stdout;
    assert!(output.contains(r#""name":"backup","scopes":["notes:read"]"#), "{output}");
    assert!(output.ends_with("403\n403\n200\n204\n401\n"), "{output}");
}
