//! A service in three releases, of which the first says `users.name` and the others `full_name`. See
//! `covet_system_tests::rename`.

use covet::axum::http::StatusCode;
use covet::data::{Migrations, params};
use covet::ids;
use covet::prelude::{App, Context, Error, Json, Path, Router, State, get, post, put};
use covet_system_tests::rename::RenameSettings;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[tokio::main]
async fn main() -> covet::Result {
    // Those of its release lie beside it.
    let migrations = Migrations::read("migrations").map_err(Error::internal)?;
    App::new("rename-service")
        .version(env!("CARGO_PKG_VERSION"))
        .settings::<RenameSettings>()
        .migrations(migrations)
        .routes(routes)
        .run()
        .await
}

fn routes(context: &Context) -> Router {
    Router::new()
        .route("/people", post(add))
        .route("/people/{id}", get(show))
        .route("/people/{id}", put(rename))
        .with_state(context.clone())
}

/// What a release asks of the database.
struct Statements {
    insert: &'static str,
    update: &'static str,
    select: &'static str,
}

static RELEASE_1: Statements = Statements {
    insert: "INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at)
             VALUES ($1, $2, $3, 'none', 1, $4, $4)",
    update: "UPDATE users SET name = $2, version = version + 1, updated_at = $3 WHERE id = $1",
    select: "SELECT id, name FROM users WHERE id = $1",
};

static RELEASES_2_AND_3: Statements = Statements {
    insert: "INSERT INTO users (id, email, full_name, password_hash, version, created_at, updated_at)
             VALUES ($1, $2, $3, 'none', 1, $4, $4)",
    update: "UPDATE users SET full_name = $2, version = version + 1, updated_at = $3 WHERE id = $1",
    select: "SELECT id, full_name AS name FROM users WHERE id = $1",
};

fn statements(context: &Context) -> &'static Statements {
    match context.settings::<RenameSettings>().release {
        1 => &RELEASE_1,
        _ => &RELEASES_2_AND_3,
    }
}

#[derive(Serialize, Deserialize)]
struct Person {
    id: Uuid,
    name: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn add(
    State(context): State<Context>,
    Json(Named { name }): Json<Named>,
) -> Result<(StatusCode, Json<Person>), Error> {
    let id = ids::new_id(context.clock());
    let values = params![id, format!("{id}@example.com"), name.as_str(), context.clock().now()];
    context.db().write().execute(statements(&context).insert, values).await?;
    Ok((StatusCode::CREATED, Json(Person { id, name })))
}

async fn show(State(context): State<Context>, Path(id): Path<Uuid>) -> Result<Json<Person>, Error> {
    let person = context.db().read().optional(statements(&context).select, params![id]).await?;
    person.map(Json).ok_or_else(Error::not_found)
}

async fn rename(
    State(context): State<Context>,
    Path(id): Path<Uuid>,
    Json(Named { name }): Json<Named>,
) -> Result<Json<Person>, Error> {
    let values = params![id, name.as_str(), context.clock().now()];
    match context.db().write().execute(statements(&context).update, values).await? {
        0 => Err(Error::not_found()),
        _ => Ok(Json(Person { id, name })),
    }
}
