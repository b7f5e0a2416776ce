//! Secrets that are recognised, searched wherever the service tells or keeps something. The log under load, and a program that logs
//! carelessly: `tests/tests/logs.rs`.

use std::fs;

use serde_json::json;

use crate::access::log_in_by_cookie;
use crate::database::Database;
use crate::support::{Api, PASSWORD, dump, open, service, text};

/// By the setting that is given them.
const OF_SETTINGS: [(&str, &str); 3] = [
    ("JWT_SECRET_KEY", "706c616e7465642d6a77742d7365637265742d6b65792d34373131706c616e74"),
    ("SECRET_KEY", "706c616e7465642d7365637265742d6b65792d34373131706c616e746564702d"),
    ("COVET_LOG__HASH_KEY", "706c616e7465642d686173682d6b65792d34373131706c616e74656468617368"),
];

/// Where a secret of these is found.
fn found<'a>(places: &[(String, String)], secrets: &[(&'a str, String)]) -> Vec<(String, &'a str)> {
    let mut found = Vec::new();
    for (place, text) in places {
        for (name, secret) in secrets {
            if text.contains(secret.as_str()) {
                found.push((place.clone(), *name));
            }
        }
    }
    found
}

async fn searched(by_file: bool) {
    let directory = tempfile::tempdir().unwrap();
    let mut builder = service().env("LOG_LEVEL", "debug");
    for (name, secret) in OF_SETTINGS {
        if by_file {
            let path = directory.path().join(name);
            fs::write(&path, secret).unwrap();
            builder = builder.without_env(name).env(&format!("{name}_FILE"), path.display().to_string());
        } else {
            builder = builder.env(name, secret);
        }
    }
    let database = Database::create().await;
    let api = Api::start_on(&database, builder).await;

    let ada = api.register("ada").await;
    let cookie = log_in_by_cookie(&api, &ada).await;
    let key = json!({"name": "backup", "scopes": ["notes:read"]});
    let key = text(&api.post("/api/keys").by(&ada).json(&key).send().await.expect(201).body["key"]);
    let cookie_value = cookie.split_once('=').unwrap().1.to_owned();
    let mut secrets: Vec<(&str, String)> = OF_SETTINGS.map(|(name, secret)| (name, secret.to_owned())).into();
    secrets.extend([
        ("the password", PASSWORD.to_owned()),
        ("the access token", ada.access.clone()),
        ("the refresh token", ada.refresh.clone()),
        ("the cookie", cookie_value),
        ("the API key", key.clone()),
        ("the API key's secret", key.rsplit('_').next().unwrap()[..64].to_owned()),
    ]);

    let mut places = Vec::new();
    for (what, call) in [
        ("me", api.get("/api/users/me").by(&ada)),
        ("me by cookie", api.get("/api/users/me").header("cookie", &cookie)),
        ("a list of keys", api.get("/api/keys").by(&ada)),
        ("a list of logins", api.get("/api/auth/sessions").by(&ada)),
        ("what is kept of a user", api.get("/api/users/me/export").by(&ada)),
        ("a refused scope", api.get("/api/orders").bearer(&key)),
        ("a token in the path", api.get(&format!("/api/notes/{}?token={key}", ada.id)).by(&ada)),
        ("no JSON", api.post("/api/auth/login").text("application/json", &format!("{{\"password\": \"{PASSWORD}\""))),
        ("a field too many", api.post("/api/auth/login").json(&json!({"password": PASSWORD, "email": "x", "a": 1}))),
        ("a used token", api.post("/api/auth/refresh").json(&json!({"refresh_token": [ada.refresh]}))),
        ("the description", api.get("/api/openapi.json")),
        ("the public keys", api.get("/.well-known/jwks.json")),
    ] {
        let reply = call.send().await;
        assert!(reply.status < 500, "{what}: {}", reply.body);
        places.push((what.to_owned(), format!("{:?} {}", reply.headers, reply.body)));
    }
    let operator = api.service.client().get(api.service.operator_url("/")).send().await.unwrap();
    places.push(("the operator's page".to_owned(), operator.text().await.unwrap()));
    places.push(("the metrics".to_owned(), api.service.metrics().await.unwrap()));
    for command in [&["config"][..], &["config", "--json"], &["routes"], &["openapi"]] {
        places.push((command.join(" "), api.service.command(command).await.unwrap().output()));
    }
    let process = api.service.process().unwrap();
    places.push(("the output".to_owned(), process.lines().join("\n")));
    let of_kernel = |file: &str| fs::read(format!("/proc/{}/{file}", process.pid())).unwrap();
    places.push(("the command line".to_owned(), String::from_utf8_lossy(&of_kernel("cmdline")).into_owned()));
    if by_file {
        places.push(("the environment".to_owned(), String::from_utf8_lossy(&of_kernel("environ")).into_owned()));
    }
    places.push(("the database".to_owned(), dump(&open(&database).await).await));

    assert_eq!(found(&places, &secrets), Vec::new());
    // The search finds what is there.
    places.push(("here".to_owned(), format!("…{PASSWORD}…")));
    assert_eq!(found(&places, &secrets), [("here".to_owned(), "the password")]);
    assert!(places.iter().all(|(place, text)| !text.is_empty() || place == "here"));
}

#[tokio::test]
async fn no_secret_is_anywhere_but_with_whoever_has_it() {
    searched(false).await;
}

#[tokio::test]
async fn a_secret_in_a_file_is_not_in_the_environment_of_the_process_either() {
    searched(true).await;
}
