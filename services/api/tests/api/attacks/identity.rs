//! Being taken for somebody else without their credentials, and seeing what was kept for them.

use serde_json::json;

use crate::access::log_in_by_cookie;
use crate::support::{Api, table, text};

/// What a proxy or a framework might believe.
const CLAIMS: [&str; 12] = [
    "x-user-id",
    "x-user",
    "x-forwarded-user",
    "x-remote-user",
    "remote-user",
    "x-authenticated-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-webauth-user",
    "x-client-verify",
    "x-roles",
    "x-original-user",
];

#[tokio::test]
async fn no_header_but_credentials_says_who_asks() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    for value in [ada.id.as_str(), ada.email.as_str(), "admin"] {
        let (mut anonymous, mut bobs) = (api.get("/api/users/me"), api.get("/api/users/me").by(&bob));
        for name in CLAIMS {
            (anonymous, bobs) = (anonymous.header(name, value), bobs.header(name, value));
        }
        let forwarded = "for=127.0.0.1;by=127.0.0.1;proto=https;user=admin";
        anonymous.header("forwarded", forwarded).send().await.problem(401);
        assert_eq!(bobs.header("forwarded", forwarded).send().await.expect(200).id(), bob.id);
    }
    // An API key and a token count in `Authorization` only: an address is kept in logs and histories.
    let key = api.post("/api/keys").by(&ada).json(&json!({"name": "a", "scopes": ["notes:read"]})).send().await;
    let key = text(&key.expect(201).body["key"]);
    for name in ["api_key", "apikey", "key", "access_token", "token", "authorization"] {
        for secret in [&key, &ada.access] {
            api.get(&format!("/api/notes?{name}={secret}")).send().await.problem(401);
        }
    }
    for name in ["x-api-key", "api-key", "x-access-token"] {
        api.get("/api/notes").header(name, &key).send().await.problem(401);
    }
}

#[tokio::test]
async fn two_authorizations_are_not_two_chances() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let both = api.get("/api/users/me").by(&ada).by(&bob).send().await;
    assert!(both.status >= 400 || both.id() == ada.id, "{}", both.body);
    let stale = api.get("/api/users/me").bearer("stale").by(&ada).send().await;
    assert!(stale.status >= 400, "{}", stale.body);
}

#[tokio::test]
async fn a_path_that_is_written_otherwise_reaches_no_guarded_route() {
    let api = Api::start().await;
    let ada = api.register("ada").await;
    let mut tried = 0;
    for route in table(&api).await {
        if route.access == "public" {
            continue;
        }
        let path = route.path.replace("{id}", &ada.id).replace("{role}", "admin");
        let last = path.rsplit('/').next().unwrap();
        let first = path.chars().nth(5).unwrap();
        for other in [
            format!("/{path}"),
            format!("{path}/"),
            format!("{path}/."),
            format!("{path};a=b"),
            format!("{path}.json"),
            format!("{path}/x.css"),
            format!("{path}%2f"),
            format!("{path}%00"),
            format!("{path}%20"),
            path.to_uppercase(),
            path.replace("/api/", "/api//"),
            path.replace("/api/", "/api/./"),
            path.replace("/api/", "/api/%2e/"),
            path.replace("/api/", "/docs/..%2fapi/"),
            path.replace("/api/", "/api%2f"),
            path.replace("/api/", "/%61pi/"),
            path.replacen(first, &format!("%{:02x}", u32::from(first)), 2),
            path.replace(last, &format!("x/../{last}")),
            path.replace(last, &format!("x/%2e%2e/{last}")),
        ] {
            let reply = api.call(route.method.clone(), &other).send().await;
            assert!([400, 401, 404, 405].contains(&reply.status), "{} {other}: {}", route.method, reply.status);
            tried += 1;
        }
    }
    assert!(tried >= 300, "{tried}");
}

#[tokio::test]
async fn what_was_answered_to_one_user_is_not_given_to_another() {
    let api = Api::start().await;
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let cookie = log_in_by_cookie(&api, &ada).await;
    api.post("/api/notes").by(&ada).json(&json!({"title": "only-for-ada"})).send().await.expect(201);
    let mut tags = Vec::new();
    for path in ["/api/notes", "/api/users/me", "/api/keys", "/api/orders", "/api/auth/sessions"] {
        for suffix in ["", "?", "?cb=1", "?x.css", "?callback=x"] {
            let url = format!("{path}{suffix}");
            let adas = api.get(&url).by(&ada).send().await;
            if adas.status == 200 {
                tags.extend(adas.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned()));
                // What comes with a token no shared cache keeps (RFC 9111 §3.5); of cookies it knows nothing.
                let control = api.get(&url).header("cookie", &cookie).send().await.expect(200).header("cache-control");
                assert!(control.contains("private") || control.contains("no-store"), "{url}: {control}");
            }
            let unkeyed = [("x-forwarded-host", "evil.example"), ("x-original-url", "/api/users/me")];
            for (name, value) in unkeyed {
                for call in [api.get(&url).by(&bob), api.get(&url)] {
                    let reply = call.header(name, value).header("cache-control", "only-if-cached").send().await;
                    let told = format!("{url}: {} {}", reply.body, reply.status);
                    assert!(!told.contains("only-for-ada") && !told.contains(&ada.email), "{told}");
                    assert!(!told.contains("evil.example"), "{told}");
                }
            }
        }
        // A page that a shared cache would keep because of how its address ends is none.
        for suffix in ["/x.css", ".css", ";x.css", "%2fx.css", "/..%2fx.css"] {
            let reply = api.get(&format!("{path}{suffix}")).by(&ada).send().await;
            assert!(reply.status >= 400, "{path}{suffix}: {}", reply.status);
        }
    }
    assert!(!tags.is_empty());
    // Bob does not learn from a tag of Ada's that something of hers is unchanged.
    for tag in tags {
        let reply = api.get("/api/users/me").by(&bob).header("if-none-match", &tag).send().await;
        assert!(reply.status == 200 || reply.body.is_null(), "{}", reply.status);
        assert!(!reply.body.to_string().contains(&ada.email));
    }
}
