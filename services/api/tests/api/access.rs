//! Who reaches what, tried for every route of the table: a route that is added is tried too.

use std::collections::BTreeSet;

use covet_api::access::{ADMIN, ROLES, USER};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{appoint, depose};
use crate::database::Database;
use crate::support::{Api, Call, PASSWORD, Reply, Route, User, service, table, text};

/// Of nothing that there is.
const NOWHERE: &str = "018f3f5e-0000-7000-8000-000000000000";

/// How somebody asks.
enum Credentials {
    None,
    Bearer(String),
    Cookie(String),
}

/// What the credentials prove.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proves {
    Nothing,
    Login,
    Key,
}

/// Somebody who tries every route.
struct Caller {
    name: String,
    credentials: Credentials,
    proves: Proves,
    permissions: BTreeSet<&'static str>,
}

fn with(call: Call, credentials: &Credentials) -> Call {
    match credentials {
        Credentials::None => call,
        Credentials::Bearer(token) => call.bearer(token),
        Credentials::Cookie(cookie) => call.header("cookie", cookie),
    }
}

async fn make_key(api: &Api, owner: &User, name: &str, scopes: &[&str]) -> String {
    let body = json!({"name": name, "scopes": scopes});
    text(&api.post("/api/keys").by(owner).json(&body).send().await.expect(201).body["key"])
}

pub(crate) async fn log_in_by_cookie(api: &Api, user: &User) -> String {
    let body = json!({"email": user.email, "password": PASSWORD});
    let reply = api.post("/api/auth/sessions").json(&body).send().await.expect(204);
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

fn permissions(roles: &[&covet::identity::access::Role]) -> BTreeSet<&'static str> {
    roles.iter().flat_map(|role| role.permissions()).map(|permission| permission.name()).collect()
}

/// Every role by every way to prove it; those who have lost a role; keys of each single scope.
async fn callers(api: &Api, database: &Database) -> Vec<Caller> {
    let mut callers = Vec::new();
    let mut add = |name: &str, credentials, proves, permissions: BTreeSet<&'static str>| {
        callers.push(Caller { name: name.to_owned(), credentials, proves, permissions });
    };
    add("nobody", Credentials::None, Proves::Nothing, BTreeSet::new());
    add("a forger", Credentials::Bearer("eyJhbGciOiJub25lIn0.e30.".to_owned()), Proves::Nothing, BTreeSet::new());

    let (user, by_cookie) = (api.register("user").await, api.register("cookie").await);
    add("a user", Credentials::Bearer(user.access.clone()), Proves::Login, permissions(&[&USER]));
    let cookie = log_in_by_cookie(api, &by_cookie).await;
    add("a user by cookie", Credentials::Cookie(cookie), Proves::Login, permissions(&[&USER]));

    let (mut admin, mut admin_by_cookie) = (api.register("admin").await, api.register("admincookie").await);
    appoint(database, &admin).await;
    appoint(database, &admin_by_cookie).await;
    api.log_in(&mut admin).await;
    api.log_in(&mut admin_by_cookie).await;
    add("an admin", Credentials::Bearer(admin.access.clone()), Proves::Login, permissions(&[&USER, &ADMIN]));
    let cookie = log_in_by_cookie(api, &admin_by_cookie).await;
    add("an admin by cookie", Credentials::Cookie(cookie), Proves::Login, permissions(&[&USER, &ADMIN]));

    let (mut former, mut former_by_cookie) = (api.register("former").await, api.register("formercookie").await);
    for user in [&mut former, &mut former_by_cookie] {
        appoint(database, user).await;
        api.log_in(user).await;
    }
    let cookie = log_in_by_cookie(api, &former_by_cookie).await;
    let formers_key = make_key(api, &former, "key", &["users:admin"]).await;
    for user in [&former, &former_by_cookie] {
        depose(database, user).await;
    }
    add("a former admin", Credentials::Bearer(former.access.clone()), Proves::Login, permissions(&[&USER]));
    add("a former admin by cookie", Credentials::Cookie(cookie), Proves::Login, permissions(&[&USER]));
    add("a former admin's key", Credentials::Bearer(formers_key), Proves::Key, BTreeSet::new());

    for permission in USER.permissions() {
        let scope = permission.name();
        let key = make_key(api, &user, scope, &[scope]).await;
        add(&format!("a key for {scope}"), Credentials::Bearer(key), Proves::Key, BTreeSet::from([scope]));
    }
    let key = make_key(api, &admin, "admin", &["users:admin"]).await;
    add("an admin's key", Credentials::Bearer(key), Proves::Key, BTreeSet::from(["users:admin"]));
    callers
}

/// Whether access control has let the request through to its route, whatever that said.
fn was_let_through(reply: &Reply) -> bool {
    const REFUSALS: [&str; 3] = ["/problems/not-permitted", "/problems/out-of-scope", "/problems/login-needed"];
    let refused = reply.status == 403 && reply.body["type"].as_str().is_some_and(|kind| REFUSALS.contains(&kind));
    reply.status != 401 && !refused
}

#[tokio::test]
async fn no_caller_reaches_a_route_that_their_roles_and_scopes_do_not_open() {
    let database = Database::create().await;
    let api = Api::start_on(&database, service()).await;
    let routes = table(&api).await;
    for given in ROLES.given() {
        assert_eq!(given.name(), "admin", "say in this test who has the role, and try it");
    }
    for caller in callers(&api, &database).await {
        for Route { method, path, access } in &routes {
            let url = path.replace("{id}", NOWHERE).replace("{role}", "nothing").replace("{file}", "index.css");
            let reply = with(api.call(method.clone(), &url), &caller.credentials).send().await;
            let expected = match access.as_str() {
                "public" => true,
                "authenticated" => caller.proves == Proves::Login,
                permission => caller.permissions.contains(permission),
            };
            let told = format!("{} · {method} {path} ({access}): {} {}", caller.name, reply.status, reply.body);
            assert_eq!(was_let_through(&reply), expected, "{told}");
            assert!(reply.status < 500, "{told}");
            if !expected {
                reply.problem(if caller.proves == Proves::Nothing { 401 } else { 403 });
            }
        }
    }
}

/// What belongs to Ada.
struct Adas {
    user: User,
    note: String,
    order: String,
    session: String,
    key: String,
    key_text: String,
}

impl Adas {
    async fn make(api: &Api) -> Self {
        let user = api.register("ada").await;
        let note = api.post("/api/notes").by(&user).json(&json!({"title": "mine"})).send().await.expect(201).id();
        let order = json!({"currency": "EUR", "items": [{"description": "x", "quantity": 1, "unit_price_minor": 5}]});
        let order = api.post("/api/orders").by(&user).json(&order).send().await.expect(201).id();
        let sessions = api.get("/api/auth/sessions").by(&user).send().await.expect(200);
        let session = text(&sessions.body["items"][0]["id"]);
        let body = json!({"name": "backup", "scopes": ["notes:read"]});
        let key = api.post("/api/keys").by(&user).json(&body).send().await.expect(201);
        let (key, key_text) = (key.id(), text(&key.body["key"]));
        Self { user, note, order, session, key, key_text }
    }

    /// The path with the id of what is hers; `None` when what it names is nobody's.
    fn path(&self, path: &str) -> Option<String> {
        let id = match path {
            _ if path.starts_with("/api/notes/{id}") => &self.note,
            _ if path.starts_with("/api/orders/{id}") => &self.order,
            _ if path.starts_with("/api/auth/sessions/{id}") => &self.session,
            _ if path.starts_with("/api/keys/{id}") => &self.key,
            _ if path.starts_with("/api/users/{id}") || path.starts_with("/api/admin/users/{id}") => &self.user.id,
            "/docs/{file}" => return None,
            _ if path.contains('{') => panic!("say in this test whose {path} is"),
            _ => return None,
        };
        Some(path.replace("{id}", id).replace("{role}", "admin"))
    }

    /// All of it, as she sees it.
    async fn seen(&self, api: &Api) -> Vec<Value> {
        let mut seen = Vec::new();
        for path in ["/api/notes", "/api/orders", "/api/users/me", "/api/keys"] {
            seen.push(api.get(path).by(&self.user).send().await.expect(200).body);
        }
        seen
    }
}

/// A body that the route takes, so that nothing but whose it is can be in the way.
fn body(method: &Method, path: &str) -> Option<Value> {
    match (method.as_str(), path) {
        ("PATCH", "/api/notes/{id}") => Some(json!({"title": "Mallory's"})),
        ("POST", "/api/orders/{id}/pay") => Some(json!({"amount_minor": 5, "currency": "EUR"})),
        ("PATCH", "/api/users/{id}") => Some(json!({"name": "Mallory"})),
        ("PUT", "/api/users/{id}/password") => {
            Some(json!({"current_password": PASSWORD, "new_password": "nine white geese sing"}))
        }
        _ => None,
    }
}

#[tokio::test]
async fn nobody_reads_or_changes_what_belongs_to_somebody_else() {
    let api = Api::start().await;
    let (adas, mallory) = (Adas::make(&api).await, api.register("mallory").await);
    let all: Vec<_> = USER.permissions().iter().map(|permission| permission.name()).collect();
    let key = make_key(&api, &mallory, "all", &all).await;
    let before = adas.seen(&api).await;
    let mut tried = 0;
    for Route { method, path, .. } in table(&api).await {
        let Some(url) = adas.path(&path) else { continue };
        for credentials in [&mallory.access, &key] {
            let mut call = api.call(method.clone(), &url).bearer(credentials).header("if-match", "*");
            if let Some(body) = body(&method, &path) {
                call = call.json(&body);
            }
            let reply = call.send().await;
            tried += 1;
            // That a user is there is no secret; their address is.
            if (method.as_str(), path.as_str()) == ("GET", "/api/users/{id}") {
                assert!(reply.expect(200).body.get("email").is_none());
                continue;
            }
            assert!([403, 404].contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.body);
        }
    }
    assert!(tried >= 20, "{tried}");
    // Her keys too: that nobody has used one shows in the list.
    assert_eq!(adas.seen(&api).await, before);
    api.get(&format!("/api/notes/{}", adas.note)).bearer(&adas.key_text).send().await.expect(200);
    api.refresh(&adas.user.refresh).await.expect(200);
}

#[tokio::test]
async fn no_body_sets_what_is_not_the_callers_to_set() {
    let api = Api::start().await;
    let adas = Adas::make(&api).await;
    let document = api.get("/api/openapi.json").send().await.expect(200).body;
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["requestBody"]["content"]["application/json"].is_null() {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let url = adas.path(path).unwrap_or_else(|| path.clone());
            for field in ["roles", "role", "id", "user_id", "owner_id", "version", "created_at"] {
                // First of all members, so that it is met before others are missed.
                let body = format!(r#"{{"{field}": "admin"}}"#);
                let call = api.call(method.clone(), &url).by(&adas.user).header("if-match", "*");
                let refused = call.text("application/json", &body).send().await.problem(422);
                let told = refused.body.to_string();
                assert!(told.contains("unknown field") && told.contains(field), "{method} {path}: {told}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 50, "{tried}");
}

#[tokio::test]
async fn the_description_says_what_each_route_takes() {
    let api = Api::start().await;
    let document = api.get("/api/openapi.json").send().await.expect(200).body;
    for Route { method, path, access } in table(&api).await {
        let operation = &document["paths"][&path][method.as_str().to_lowercase()];
        if operation.is_null() {
            continue;
        }
        let expected = match access.as_str() {
            "public" => Value::Null,
            "authenticated" => json!([{"bearer": []}, {"session": []}]),
            name => json!([{"bearer": [name]}, {"session": [name]}, {"api_key": [name]}]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
        if access != "public" {
            for status in ["401", "403"] {
                assert!(operation["responses"].get(status).is_some(), "{method} {path} {status}");
            }
        }
    }
}
