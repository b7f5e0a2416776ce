//! Peer: actix-web and tokio-postgres, written by hand for speed.
//!
//! Each worker has connections of its own, so nothing is shared between threads; a statement does not wait for the answers of
//! those before it (pipelining). Each statement is prepared once per connection, at start. Nothing else is done: a connection that
//! breaks is not opened again, a slow statement holds up those behind it, and nothing is counted, logged or limited.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::error::ErrorInternalServerError;
use actix_web::web::{Data, Json, Path, get, post};
use actix_web::{App, HttpServer};
use anyhow::Context as _;
use contract::Arguments;
use contract::database::{HUNDRED, Kept, ONE, Updated, User, VISIT, last_of_hundred, nothing_kept, twenty, url};
use futures_util::future::try_join_all;
use tokio_postgres::{Client, Error, NoTls, Row, Statement};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Answer<T> = actix_web::Result<Json<T>>;

/// Of one worker.
struct Database {
    connections: Vec<Connection>,
    next: Cell<usize>,
    kept: Kept,
}

struct Connection {
    client: Client,
    one: Statement,
    hundred: Statement,
    visit: Statement,
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let (connections, url, kept) = (arguments.connections()?, url()?, nothing_kept());
    HttpServer::new(move || {
        let (url, kept) = (url.clone(), kept.clone());
        App::new()
            // Runs on the worker's thread.
            .data_factory(move || Database::connect(url.clone(), connections, kept.clone()))
            .route("/users/{id}", get().to(one))
            .route("/twenty/{first}", get().to(many))
            .route("/hundred/{first}", get().to(hundred))
            .route("/cached/{id}", get().to(cached))
            .route("/plain/{id}", get().to(plain))
            .route("/visits/{id}", post().to(visit))
    })
    .workers(arguments.workers)
    .bind(arguments.address())?
    .run()
    .await?;
    Ok(())
}

impl Database {
    async fn connect(url: String, count: usize, kept: Kept) -> anyhow::Result<Rc<Self>> {
        let mut connections = Vec::new();
        for _ in 0..count {
            let (client, driver) = tokio_postgres::connect(&url, NoTls).await.context("connecting to PostgreSQL")?;
            // When it breaks, every statement fails, and the harness says so.
            actix_web::rt::spawn(async { drop(driver.await) });
            let (one, hundred, visit) =
                (client.prepare(ONE).await?, client.prepare(HUNDRED).await?, client.prepare(VISIT).await?);
            connections.push(Connection { client, one, hundred, visit });
        }
        Ok(Rc::new(Self { connections, next: Cell::new(0), kept }))
    }

    fn connection(&self) -> &Connection {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        &self.connections[next % self.connections.len()]
    }
}

impl Connection {
    async fn one(&self, id: i64) -> Result<User, Error> {
        self.client.query_one(&self.one, &[&id]).await.map(|row| user(&row))
    }
}

async fn one(database: Data<Rc<Database>>, id: Path<i64>) -> Answer<User> {
    answer(database.connection().one(*id).await)
}

async fn cached(database: Data<Rc<Database>>, id: Path<i64>) -> Answer<Arc<User>> {
    // What is kept is shared by all workers, and to be read by whoever comes first on his own connection.
    if let Some(user) = database.kept.get(&*id).await {
        return Ok(Json(user));
    }
    let user = answer(database.connection().one(*id).await)?.into_inner();
    let user = Arc::new(user);
    database.kept.insert(*id, Arc::clone(&user)).await;
    Ok(Json(user))
}

async fn plain(id: Path<i64>) -> Json<User> {
    Json(User::numbered(*id))
}

async fn many(database: Data<Rc<Database>>, first: Path<i64>) -> Answer<Vec<User>> {
    let connection = database.connection();
    answer(try_join_all(twenty(*first).map(|id| connection.one(id))).await)
}

async fn hundred(database: Data<Rc<Database>>, first: Path<i64>) -> Answer<Vec<User>> {
    let connection = database.connection();
    let rows = connection.client.query(&connection.hundred, &[&*first, &last_of_hundred(*first)]).await;
    answer(rows.map(|rows| rows.iter().map(user).collect()))
}

async fn visit(database: Data<Rc<Database>>, id: Path<i64>) -> Answer<Updated> {
    let connection = database.connection();
    answer(connection.client.execute(&connection.visit, &[&*id]).await.map(|updated| Updated { updated }))
}

fn user(row: &Row) -> User {
    User { id: row.get(0), name: row.get(1) }
}

fn answer<T>(outcome: Result<T, Error>) -> Answer<T> {
    outcome.map(Json).map_err(ErrorInternalServerError)
}
