//! Access tokens that end before their time, and the keys that sign them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use covet_testkit::{Signal, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Api, PASSWORD, Reply, User, service, text};

const FIRST: &str = "a-first-key-of-thirty-two-bytes-or-more";
const SECOND: &str = "a-second-key-of-thirty-two-bytes-or-more";
/// Of RFC 8037 appendix A.1: public, and so good for tests only.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

/// Checks that the token is refused because its login has ended.
async fn ended(api: &Api, user: &User) {
    let refused = api.get("/api/users/me").by(user).send().await.problem(401);
    assert!(refused.header("www-authenticate").contains("has ended"), "{:?}", refused.headers);
}

#[tokio::test]
async fn the_access_tokens_of_an_ended_login_are_refused_at_once() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let another = async || {
        let mut login = ada.clone();
        api.log_in(&mut login).await;
        login
    };

    let logged_out = another().await;
    api.post("/api/auth/logout").json(&json!({"refresh_token": logged_out.refresh})).send().await.expect(204);
    ended(&api, &logged_out).await;

    let current = another().await;
    api.delete("/api/auth/sessions/current").by(&current).send().await.expect(204);
    ended(&api, &current).await;

    let named = another().await;
    let list = api.get("/api/auth/sessions").by(&named).send().await.expect(200);
    let item = list.body["items"].as_array().unwrap().iter().find(|item| item["current"] == true).unwrap().clone();
    api.delete(&format!("/api/auth/sessions/{}", text(&item["id"]))).by(&ada).send().await.expect(204);
    ended(&api, &named).await;

    let other = another().await;
    api.delete("/api/auth/sessions").by(&ada).send().await.expect(204);
    ended(&api, &other).await;

    let reused = another().await;
    api.refresh(&reused.refresh).await.expect(200);
    api.refresh(&reused.refresh).await.problem(401);
    ended(&api, &reused).await;

    let before = another().await;
    let change = json!({"current_password": PASSWORD, "new_password": "nine green otters swim"});
    api.put(&format!("/api/users/{}/password", ada.id)).by(&ada).json(&change).send().await.expect(204);
    ended(&api, &before).await;

    api.get("/api/users/me").by(&ada).send().await.expect(200);
    api.delete(&format!("/api/users/{}", ada.id)).by(&ada).send().await.expect(204);
    ended(&api, &ada).await;
}

#[tokio::test]
async fn public_keys_are_published_and_shared_secrets_are_not() {
    let ring = format!("{ED25519}{FIRST}");
    let api = Api::start_with(service().env("JWT_SECRET_KEY", ring)).await;
    let ada = api.register("ada").await;
    let set = api.get("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(set.header("content-type"), "application/jwk-set+json");
    assert_eq!(set.header("cache-control"), "public, max-age=300");
    let keys = set.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (&keys[0]["kty"], &keys[0]["crv"], &keys[0]["alg"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"))
    );
    assert!(keys[0].get("d").is_none() && !set.body.to_string().contains(FIRST));
    assert_eq!(keys[0]["kid"], header_of(&ada)["kid"]);
    let again = api.get("/.well-known/jwks.json").header("if-none-match", &set.etag()).send().await;
    assert_eq!(again.status, 304);

    let with_secrets_only = Api::start().await;
    let set = with_secrets_only.get("/.well-known/jwks.json").send().await.expect(200);
    assert_eq!(set.body, json!({"keys": []}));
}

fn header_of(user: &User) -> Value {
    let header = URL_SAFE_NO_PAD.decode(user.access.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&header).unwrap()
}

/// A secret as Kubernetes mounts it: a link to a link to a directory, which is swapped.
struct Mounted {
    directory: TempDir,
    version: AtomicU64,
}

impl Mounted {
    fn new(text: &str) -> Self {
        let mounted = Self { directory: tempfile::tempdir().unwrap(), version: AtomicU64::new(0) };
        mounted.replace(text);
        symlink("..data/key", mounted.path()).unwrap();
        mounted
    }

    fn replace(&self, text: &str) {
        let version = format!("..{}", self.version.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.at(&version)).unwrap();
        fs::write(self.at(&version).join("key"), text).unwrap();
        symlink(&version, self.at("..new")).unwrap();
        fs::rename(self.at("..new"), self.at("..data")).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.at("key")
    }

    fn at(&self, name: &str) -> PathBuf {
        Path::join(self.directory.path(), name)
    }
}

/// Waits for a line of the metrics that begins so.
async fn shows(api: &Api, line: &str) {
    eventually(line, async || {
        let metrics = api.service.metrics().await.unwrap_or_default();
        metrics.lines().any(|found| found.starts_with(line))
    })
    .await;
}

fn reloaded(what: &str, status: &str, times: u32) -> String {
    format!("app_reloads_total{{what=\"{what}\",status=\"{status}\"}} {times}")
}

#[tokio::test]
async fn keys_rotate_in_a_mounted_file_without_a_refused_request() {
    let mounted = Mounted::new(FIRST);
    let service = service().without_env("JWT_SECRET_KEY");
    let api = Arc::new(Api::start_with(service.env("JWT_SECRET_KEY_FILE", mounted.path().display().to_string())).await);
    let old = api.register("ada").await;
    let hang_up = || api.service.process().unwrap().signal(Signal::SIGHUP).unwrap();

    // The new key verifies, then signs; the old one still verifies. Somebody asks all the time.
    let rotated = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn({
        let (api, user, rotated) = (Arc::clone(&api), old.clone(), Arc::clone(&rotated));
        async move {
            let mut asked = 0;
            while !rotated.load(Ordering::Relaxed) {
                let mut fresh = user.clone();
                api.log_in(&mut fresh).await;
                for login in [&user, &fresh] {
                    api.get("/api/users/me").by(login).send().await.expect(200);
                    asked += 1;
                }
            }
            asked
        }
    });
    mounted.replace(&format!("{FIRST}\n{ED25519}"));
    hang_up();
    shows(&api, &reloaded("access_token_keys", "success", 1)).await;
    mounted.replace(&format!("{ED25519}{FIRST}"));
    // Without a signal: the link is seen to be another.
    shows(&api, &reloaded("access_token_keys", "success", 2)).await;
    let mut new = old.clone();
    api.log_in(&mut new).await;
    assert_eq!(header_of(&new)["alg"], "EdDSA");
    api.get("/api/users/me").by(&new).send().await.expect(200);
    rotated.store(true, Ordering::Relaxed);
    assert!(asking.await.unwrap() > 0);

    // What cannot be read changes nothing, and is told.
    mounted.replace("-----BEGIN PRIVATE KEY-----\nbroken");
    hang_up();
    shows(&api, "app_reload_failing{what=\"access_token_keys\"} 1").await;
    for user in [&old, &new] {
        api.get("/api/users/me").by(user).send().await.expect(200);
    }

    mounted.replace(ED25519);
    hang_up();
    shows(&api, &reloaded("access_token_keys", "success", 3)).await;
    let refused = api.get("/api/users/me").by(&old).send().await.problem(401);
    assert!(refused.header("www-authenticate").contains("unknown key"), "{:?}", refused.headers);
    api.get("/api/users/me").by(&new).send().await.expect(200);
    shows(&api, "app_reload_failing{what=\"access_token_keys\"} 0").await;
    let lines = api.service.process().unwrap().lines().join("\n");
    assert!(lines.contains("sys_credential_change") && !lines.contains(FIRST) && !lines.contains("MC4C"));
}

#[tokio::test]
async fn the_key_of_session_cookies_rotates_without_a_lost_session() {
    let mounted = Mounted::new(FIRST);
    let service = service().without_env("SECRET_KEY").env("SECRET_KEY_FILE", mounted.path().display().to_string());
    let api = Api::start_with(service).await;
    let ada = api.register("ada").await;
    let body = json!({"email": ada.email, "password": PASSWORD});
    let cookie = |reply: &Reply| reply.header("set-cookie").split(';').next().unwrap().to_owned();
    let old = cookie(&api.post("/api/auth/sessions").json(&body).send().await.expect(204));
    let ask = async |cookie: &str| api.get("/api/users/me").header("cookie", cookie).send().await;

    mounted.replace(&format!("{SECOND},{FIRST}"));
    api.service.process().unwrap().signal(Signal::SIGHUP).unwrap();
    shows(&api, &reloaded("session_keys", "success", 1)).await;
    let new = cookie(&ask(&old).await.expect(200));
    assert_ne!(new, old);

    mounted.replace(SECOND);
    api.service.process().unwrap().signal(Signal::SIGHUP).unwrap();
    shows(&api, &reloaded("session_keys", "success", 2)).await;
    ask(&old).await.problem(401);
    ask(&new).await.expect(200);
}
