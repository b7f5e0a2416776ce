//! A small service whose queries are SeaORM's: the guide `docs/guides/bring-your-own-orm.md`, whole.
//!
//! Covet's own `Db` stays for the migrations. What SeaORM's connection needs to be a part of the service is in [`connection`].

mod book;
mod connection;

use std::time::Duration;

use covet::prelude::*;
use covet::problem::{AsProblem, Problem};
use sea_orm::{
    ActiveModelTrait as _, DatabaseConnection, DbErr, EntityTrait as _, IntoActiveModel as _, QueryOrder as _,
    RuntimeErr, SqlErr,
};

use book::Entity as Books;
use connection::Connection;

#[tokio::main]
async fn main() -> covet::Result {
    let connection = Connection::default();
    let ended = app(&connection).run().await;
    // Whoever used it has finished now.
    connection.close().await;
    ended
}

fn app(connection: &Connection) -> App {
    let connection = connection.clone();
    App::new("books")
        .version(env!("CARGO_PKG_VERSION"))
        .migrations(covet::migrations!("$CARGO_MANIFEST_DIR/../migrations"))
        .routes(move |context| routes(connection.open(context)))
}

fn routes(connection: DatabaseConnection) -> Router {
    Router::new().route("/books", get(list)).route("/books", post(add)).with_state(connection)
}

async fn list(State(connection): State<DatabaseConnection>) -> Result<Json<Vec<book::Model>>, Error> {
    let books = Books::find().order_by_asc(book::Column::Title).all(&connection).await.map_err(DatabaseError)?;
    Ok(Json(books))
}

async fn add(
    State(connection): State<DatabaseConnection>,
    Json(book): Json<book::Model>,
) -> Result<Json<book::Model>, Error> {
    let added = book.into_active_model().reset_all().insert(&connection).await.map_err(DatabaseError)?;
    Ok(Json(added))
}

/// What SeaORM says. A caller is told no more than this; the log has it whole.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct DatabaseError(DbErr);

impl AsProblem for DatabaseError {
    fn problem(&self) -> Problem {
        let unavailable = |error: &sea_orm::sqlx::Error| matches!(error, sea_orm::sqlx::Error::Io(_));
        match &self.0 {
            error if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
                Problem::new(409).detail("The same exists already.")
            }
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => unavailable_now(),
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))
                if unavailable(error) =>
            {
                unavailable_now()
            }
            _ => Problem::new(500),
        }
    }
}

fn unavailable_now() -> Problem {
    Problem::new(503)
        .detail("The database is not available at this moment. Try again shortly.")
        .retry_after(Duration::from_secs(1))
}
