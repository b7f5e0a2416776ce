//! The service, its users, and requests to it in one line.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use covet::clock::Clock;
use covet::data::settings::DatabaseSettings;
use covet::data::{Db, params};
use covet_testkit::{Process, Service, ServiceBuilder};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::database::Database;

/// The password of every user here.
pub(crate) const PASSWORD: &str = "seven grey herons wait";

/// A running service.
pub(crate) struct Api {
    pub(crate) service: Service,
    // Last: the service ends before its database goes.
    _database: Option<Database>,
}

/// A registered user who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// A request on its way.
pub(crate) struct Call {
    request: reqwest::RequestBuilder,
}

/// An answer. The body is null when it is empty or not JSON.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A line of the table of routes.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) access: String,
}

/// Every route of the service.
pub(crate) async fn table(api: &Api) -> Vec<Route> {
    let listed = api.service.command(&["routes", "--json"]).await.unwrap();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let mut routes = Vec::new();
    for line in listed["routes"].as_array().unwrap() {
        let path = text(&line["path"]);
        let access = line["access"].as_str().unwrap_or_else(|| panic!("{path} says nothing of access")).to_owned();
        for method in line["methods"].as_array().unwrap() {
            let method = text(method).parse().unwrap();
            routes.push(Route { method, path: path.clone(), access: access.clone() });
        }
    }
    // Logging out comes last: it ends the session that asks.
    routes.sort_by_key(|route| route.method == Method::DELETE && route.path.ends_with("/current"));
    routes
}

/// The service that cargo has built for these tests.
pub(crate) fn service() -> ServiceBuilder {
    Service::builder().binary(env!("CARGO_BIN_EXE_covet-api"))
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::start_with(service()).await
    }

    /// With other variables than the defaults, and an empty database.
    pub(crate) async fn start_with(service: ServiceBuilder) -> Self {
        let database = Database::create().await;
        let service = service.env("DATABASE_URL", database.url()).start().await.unwrap();
        Self { service, _database: Some(database) }
    }

    /// On a database that others use too.
    pub(crate) async fn start_on(database: &Database, service: ServiceBuilder) -> Self {
        let service = service.env("DATABASE_URL", database.url()).start().await.unwrap();
        Self { service, _database: None }
    }

    pub(crate) async fn register(&self, name: &str) -> User {
        let email = format!("{name}@example.com");
        let body = json!({"email": email, "password": PASSWORD, "name": name});
        let registered = self.post("/api/auth/register").json(&body).send().await.expect(201);
        let mut user = User { id: text(&registered.body["id"]), email, access: String::new(), refresh: String::new() };
        self.log_in(&mut user).await;
        user
    }

    pub(crate) async fn log_in(&self, user: &mut User) {
        let body = json!({"email": user.email, "password": PASSWORD});
        let tokens = self.post("/api/auth/login").json(&body).send().await.expect(200);
        user.access = text(&tokens.body["access_token"]);
        user.refresh = text(&tokens.body["refresh_token"]);
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Reply {
        self.post("/api/auth/refresh").json(&json!({"refresh_token": refresh_token})).send().await
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Call {
        self.call(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call { request: self.service.client().request(method, self.service.url(path)) }
    }

    /// Every item of a list, page by page.
    pub(crate) async fn all_pages(&self, user: &User, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("{path}{cursor}")).by(user).send().await.expect(200);
            items.extend(page.body["items"].as_array().unwrap().iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}

impl Call {
    pub(crate) fn by(self, user: &User) -> Self {
        self.bearer(&user.access)
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        Self { request: self.request.bearer_auth(token) }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value) }
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        Self { request: self.request.json(body) }
    }

    pub(crate) fn text(self, content_type: &str, body: &str) -> Self {
        Self { request: self.request.header("content-type", content_type).body(body.to_owned()) }
    }

    pub(crate) fn bytes(self, content_type: &str, body: Vec<u8>) -> Self {
        Self { request: self.request.header("content-type", content_type).body(body) }
    }

    pub(crate) async fn send(self) -> Reply {
        let response = self.request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Reply { status, headers, body }
    }
}

impl Reply {
    /// The reply, if it has this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    /// The reply, if it is a whole problem with this status.
    #[track_caller]
    pub(crate) fn problem(self, status: u16) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{}", reply.body);
        assert_eq!(reply.body["status"], status, "{}", reply.body);
        for member in ["type", "title", "request_id"] {
            assert!(reply.body[member].is_string(), "{member}: {}", reply.body);
        }
        assert_eq!(reply.body["request_id"], reply.headers["x-request-id"].to_str().unwrap());
        reply
    }

    /// The fields that a 422 names, in its order.
    #[track_caller]
    pub(crate) fn refused_fields(self) -> Vec<String> {
        let reply = self.problem(422);
        reply.body["errors"].as_array().unwrap().iter().map(|error| text(&error["field"])).collect()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    pub(crate) fn etag(&self) -> String {
        self.header("etag")
    }

    pub(crate) fn id(&self) -> String {
        text(&self.body["id"])
    }
}

/// The service's database, past the service.
pub(crate) async fn open(database: &Database) -> Db {
    Db::connect(&DatabaseSettings::at(&database.url()), Clock::system()).await.unwrap()
}

/// Every row of every table of the service, as text.
pub(crate) async fn dump(db: &Db) -> String {
    let is_postgres = db.postgres().await.is_ok();
    let tables = if is_postgres {
        "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'"
    } else {
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    };
    let mut dumped = String::new();
    for table in db.write().all::<String>(tables, params![]).await.unwrap() {
        let rows = if is_postgres {
            format!("SELECT CAST({table} AS TEXT) FROM {table}")
        } else {
            let sql =
                "SELECT group_concat('coalesce(' || name || ', '''')', ' || '','' || ') FROM pragma_table_info($1)";
            let columns: String = db.write().one(sql, params![table]).await.unwrap();
            format!("SELECT {columns} FROM {table}")
        };
        for row in db.write().all::<String>(&rows, params![]).await.unwrap() {
            dumped += &format!("{table}: {row}\n");
        }
    }
    dumped
}

/// The commands of a guide, as one script: its blocks after `<!-- name -->`.
pub(crate) fn guide_script(name: &str) -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/guides/{name}.md"));
    let guide = std::fs::read_to_string(guide).unwrap();
    let marker = format!("<!-- {name} -->\n```sh\n");
    guide.split(&marker).skip(1).filter_map(|block| block.split_once("```")).map(|(script, _)| script).collect()
}

/// What a script says, run in the service's folder.
pub(crate) async fn run_script(api: &Api, script: &str) -> String {
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", script]).current_dir(api.service.directory().path());
    let finished = Process::run("the guide's script", &mut bash, Duration::from_secs(60)).await.unwrap();
    finished.success("the guide's script").unwrap().output()
}

/// Every byte as `%XX`.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

pub(crate) fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| text(&item["id"])).collect()
}
