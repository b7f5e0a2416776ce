//! Peer: axum as its own front page shows it. What Covet's price is compared with.
//!
//! A `Router` of two routes under `axum::serve`, on a multi-thread runtime with the given number of workers; no layer.

use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use contract::{Arguments, GREETING, Greeting, User};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(arguments.workers).enable_all().build()?;
    runtime.block_on(async {
        let router = Router::new().route("/json", get(greeting)).route("/users/{id}", get(user));
        let listener = TcpListener::bind(arguments.address()).await?;
        Ok(axum::serve(listener, router).await?)
    })
}

async fn greeting() -> Json<Greeting> {
    Json(GREETING)
}

async fn user(Path(id): Path<u64>) -> Json<User> {
    Json(User::numbered(id))
}
