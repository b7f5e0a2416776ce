//! A small service whose queries are sqlx's: the guide `docs/guides/bring-your-own-orm.md`, whole.
//!
//! Covet's own `Db` stays for the migrations. What sqlx's pool needs to be a part of the service is in [`pool`].

mod pool;

use std::time::Duration;

use covet::prelude::*;
use covet::problem::{AsProblem, Problem};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use pool::Pool;

#[tokio::main]
async fn main() -> covet::Result {
    let pool = Pool::default();
    let ended = app(&pool).run().await;
    // Whoever used it has finished now.
    pool.close().await;
    ended
}

fn app(pool: &Pool) -> App {
    let pool = pool.clone();
    App::new("books")
        .version(env!("CARGO_PKG_VERSION"))
        .migrations(covet::migrations!("$CARGO_MANIFEST_DIR/../migrations"))
        .routes(move |context| routes(pool.open(context)))
}

fn routes(pool: PgPool) -> Router {
    Router::new().route("/books", get(list)).route("/books", post(add)).with_state(pool)
}

#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
struct Book {
    title: String,
    pages: i64,
}

async fn list(State(pool): State<PgPool>) -> Result<Json<Vec<Book>>, Error> {
    let sql = "SELECT title, pages FROM books ORDER BY title";
    let books = sqlx::query_as(sql).fetch_all(&pool).await.map_err(DatabaseError)?;
    Ok(Json(books))
}

async fn add(State(pool): State<PgPool>, Json(book): Json<Book>) -> Result<Json<Book>, Error> {
    let insert = sqlx::query("INSERT INTO books (title, pages) VALUES ($1, $2)").bind(&book.title).bind(book.pages);
    insert.execute(&pool).await.map_err(DatabaseError)?;
    Ok(Json(book))
}

/// What sqlx says. A caller is told no more than this; the log has it whole.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct DatabaseError(sqlx::Error);

impl AsProblem for DatabaseError {
    fn problem(&self) -> Problem {
        match &self.0 {
            sqlx::Error::Database(error) if error.is_unique_violation() => {
                Problem::new(409).detail("The same exists already.")
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => Problem::new(503)
                .detail("The database is not available at this moment. Try again shortly.")
                .retry_after(Duration::from_secs(1)),
            _ => Problem::new(500),
        }
    }
}
