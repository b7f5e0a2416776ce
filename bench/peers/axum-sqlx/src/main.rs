//! Peer: axum and sqlx, as sqlx's own pages show it.
//!
//! A pool of as many connections as Covet may open, everything else as sqlx has it by default: a connection is asked whether
//! it is alive before each use, and statements are prepared once per connection. Twenty statements take one connection and run
//! one after another, which spares them nineteen such questions; sqlx sends no statement before the last one is answered.

use std::sync::Arc;

use axum::extract::{FromRef, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use contract::Arguments;
use contract::database::{self, HUNDRED, Kept, ONE, Updated, VISIT, last_of_hundred, nothing_kept, twenty, url};
use serde::Serialize;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Error, FromRow};
use tokio::net::TcpListener;

/// `COVET_DATABASE__POOL_MAX` is the same by default.
const CONNECTIONS: u32 = 20;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Answer<T> = Result<Json<T>, StatusCode>;

#[derive(Serialize, FromRow)]
struct User {
    id: i64,
    name: String,
}

#[derive(Clone)]
struct Peer {
    pool: PgPool,
    kept: Kept<User>,
}

impl FromRef<Peer> for PgPool {
    fn from_ref(peer: &Peer) -> Self {
        peer.pool.clone()
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.workers).enable_all().build()?;
    runtime.block_on(async {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&url()?).await?;
        let router = Router::new()
            .route("/users/{id}", get(one))
            .route("/twenty/{first}", get(many))
            .route("/hundred/{first}", get(hundred))
            .route("/cached/{id}", get(cached))
            .route("/plain/{id}", get(plain))
            .route("/visits/{id}", post(visit))
            .with_state(Peer { pool, kept: nothing_kept() });
        let listener = TcpListener::bind(arguments.address()).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

async fn one(State(pool): State<PgPool>, Path(id): Path<i64>) -> Answer<User> {
    answer(sqlx::query_as(ONE).bind(id).fetch_one(&pool).await)
}

async fn cached(State(peer): State<Peer>, Path(id): Path<i64>) -> Answer<Arc<User>> {
    let read = async { sqlx::query_as(ONE).bind(id).fetch_one(&peer.pool).await.map(Arc::new) };
    answer(peer.kept.try_get_with(id, read).await)
}

async fn plain(Path(id): Path<i64>) -> Json<database::User> {
    Json(database::User::numbered(id))
}

async fn many(State(pool): State<PgPool>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    answer(many_of(&pool, first).await)
}

async fn many_of(pool: &PgPool, first: i64) -> Result<Vec<User>, Error> {
    let mut connection = pool.acquire().await?;
    let mut users = Vec::new();
    for id in twenty(first) {
        users.push(sqlx::query_as(ONE).bind(id).fetch_one(&mut *connection).await?);
    }
    Ok(users)
}

async fn hundred(State(pool): State<PgPool>, Path(first): Path<i64>) -> Answer<Vec<User>> {
    answer(sqlx::query_as(HUNDRED).bind(first).bind(last_of_hundred(first)).fetch_all(&pool).await)
}

async fn visit(State(pool): State<PgPool>, Path(id): Path<i64>) -> Answer<Updated> {
    let done = sqlx::query(VISIT).bind(id).execute(&pool).await;
    answer(done.map(|done| Updated { updated: done.rows_affected() }))
}

fn answer<T, E>(outcome: Result<T, E>) -> Answer<T> {
    outcome.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
