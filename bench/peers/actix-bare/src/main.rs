//! Peer: actix-web as its own front page shows it.
//!
//! An `App` of two routes in an `HttpServer` with the given number of workers; no middleware.

use actix_web::web::{Json, Path, get};
use actix_web::{App, HttpServer};
use contract::{Arguments, GREETING, Greeting, User};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    HttpServer::new(|| App::new().route("/json", get().to(greeting)).route("/users/{id}", get().to(user)))
        .workers(arguments.workers)
        .bind(arguments.address())?
        .run()
        .await?;
    Ok(())
}

async fn greeting() -> Json<Greeting> {
    Json(GREETING)
}

async fn user(id: Path<u64>) -> Json<User> {
    Json(User::numbered(id.into_inner()))
}
