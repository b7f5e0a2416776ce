//! Peer: axum and rusqlite, written by hand for speed. What Covet's price of a statement on SQLite is compared with.
//!
//! Each worker thread has a connection of its own that reads, and all share one that writes. Statements run on the worker's
//! thread, because handing one over costs more than these take; one that is slow holds up every request of that thread.
//! The file is in WAL mode and not synced at each commit, as with Covet. Statements are prepared once per connection. Nothing
//! is counted, logged or limited.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::Arguments;
use contract::database::{HUNDRED, Kept, ONE, Updated, User, VISIT, last_of_hundred, nothing_kept, twenty, url};
use rusqlite::{Connection, Result, Row};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Answer<T> = std::result::Result<Json<T>, StatusCode>;

struct Database {
    file: String,
    writer: Mutex<Connection>,
    kept: Kept,
}

thread_local! {
    static READER: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let url = url()?;
    let file = url.strip_prefix("sqlite://").context("DATABASE_URL: expected sqlite://FILE")?.to_owned();
    let writer = Mutex::new(open(&file)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.workers).enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new()
            .route("/users/{id}", get(one))
            .route("/twenty/{first}", get(many))
            .route("/hundred/{first}", get(hundred))
            .route("/cached/{id}", get(cached))
            .route("/plain/{id}", get(plain))
            .route("/visits/{id}", post(visit))
            .with_state(Arc::new(Database { file, writer, kept: nothing_kept() }));
        let listener = TcpListener::bind(arguments.address()).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

fn open(file: &str) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    Ok(connection)
}

impl Database {
    /// On this thread's own connection.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        READER.with_borrow_mut(|reader| match reader {
            Some(reader) => work(reader),
            None => work(reader.insert(open(&self.file)?)),
        })
    }

    fn write<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        work(&self.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn one(State(database): State<Arc<Database>>, Path(id): Path<i64>) -> Answer<User> {
    answer(database.read(|connection| read_one(connection, id)))
}

async fn cached(State(database): State<Arc<Database>>, Path(id): Path<i64>) -> Answer<Arc<User>> {
    let read = async { database.read(|connection| read_one(connection, id)).map(Arc::new) };
    answer(database.kept.try_get_with(id, read).await)
}

async fn plain(Path(id): Path<i64>) -> Json<User> {
    Json(User::numbered(id))
}

async fn many(State(database): State<Arc<Database>>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    answer(database.read(|connection| twenty(first).map(|id| read_one(connection, id)).collect()))
}

async fn hundred(State(database): State<Arc<Database>>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    let users = |connection: &Connection| {
        connection.prepare_cached(HUNDRED)?.query_map([first, last_of_hundred(first)], user)?.collect()
    };
    answer(database.read(users))
}

async fn visit(State(database): State<Arc<Database>>, Path(id): Path<i64>) -> Answer<Updated> {
    let updated = database.write(|connection| connection.prepare_cached(VISIT)?.execute([id]));
    answer(updated.map(|updated| Updated { updated: updated as u64 }))
}

fn read_one(connection: &Connection, id: i64) -> Result<User> {
    connection.prepare_cached(ONE)?.query_row([id], user)
}

fn user(row: &Row<'_>) -> Result<User> {
    Ok(User { id: row.get(0)?, name: row.get(1)? })
}

fn answer<T, E>(outcome: std::result::Result<T, E>) -> Answer<T> {
    outcome.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
