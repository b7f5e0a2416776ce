//! Peer: axum and tokio-postgres, written by hand for speed. What Covet's price of a statement is compared with.
//!
//! A few connections are shared by all requests, in turn; a statement does not wait for the answers of those before it
//! (pipelining). Each statement is prepared once per connection, at start. Nothing else is done: a connection that breaks is not
//! opened again, a slow statement holds up those behind it, and nothing is counted, logged or limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::Arguments;
use contract::database::{HUNDRED, Kept, ONE, Updated, User, VISIT, last_of_hundred, nothing_kept, twenty, url};
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio_postgres::{Client, Error, NoTls, Row, Statement};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Answer<T> = Result<Json<T>, StatusCode>;

struct Database {
    connections: Vec<Connection>,
    next: AtomicUsize,
    kept: Kept,
}

struct Connection {
    client: Client,
    one: Statement,
    hundred: Statement,
    visit: Statement,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.workers).enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new()
            .route("/users/{id}", get(one))
            .route("/twenty/{first}", get(many))
            .route("/hundred/{first}", get(hundred))
            .route("/cached/{id}", get(cached))
            .route("/plain/{id}", get(plain))
            .route("/visits/{id}", post(visit))
            .with_state(Arc::new(Database::connect(arguments.connections()?).await?));
        let listener = TcpListener::bind(arguments.address()).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

impl Database {
    async fn connect(count: usize) -> anyhow::Result<Self> {
        let url = url()?;
        let mut connections = Vec::new();
        for _ in 0..count {
            let (client, driver) = tokio_postgres::connect(&url, NoTls).await.context("connecting to PostgreSQL")?;
            // When it breaks, every statement fails, and the harness says so.
            tokio::spawn(async { drop(driver.await) });
            let (one, hundred, visit) =
                (client.prepare(ONE).await?, client.prepare(HUNDRED).await?, client.prepare(VISIT).await?);
            connections.push(Connection { client, one, hundred, visit });
        }
        Ok(Self { connections, next: AtomicUsize::new(0), kept: nothing_kept() })
    }

    fn connection(&self) -> &Connection {
        &self.connections[self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len()]
    }
}

impl Connection {
    async fn one(&self, id: i64) -> Result<User, Error> {
        self.client.query_one(&self.one, &[&id]).await.map(|row| user(&row))
    }
}

async fn one(State(database): State<Arc<Database>>, Path(id): Path<i64>) -> Answer<User> {
    answer(database.connection().one(id).await)
}

async fn cached(State(database): State<Arc<Database>>, Path(id): Path<i64>) -> Answer<Arc<User>> {
    let read = async { database.connection().one(id).await.map(Arc::new) };
    answer(database.kept.try_get_with(id, read).await)
}

async fn plain(Path(id): Path<i64>) -> Json<User> {
    Json(User::numbered(id))
}

async fn many(State(database): State<Arc<Database>>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    let connection = database.connection();
    answer(try_join_all(twenty(first).map(|id| connection.one(id))).await)
}

async fn hundred(State(database): State<Arc<Database>>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    let connection = database.connection();
    let rows = connection.client.query(&connection.hundred, &[&first, &last_of_hundred(first)]).await;
    answer(rows.map(|rows| rows.iter().map(user).collect()))
}

async fn visit(State(database): State<Arc<Database>>, Path(id): Path<i64>) -> Answer<Updated> {
    let connection = database.connection();
    answer(connection.client.execute(&connection.visit, &[&id]).await.map(|updated| Updated { updated }))
}

fn user(row: &Row) -> User {
    User { id: row.get(0), name: row.get(1) }
}

fn answer<T, E>(outcome: Result<T, E>) -> Answer<T> {
    outcome.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
