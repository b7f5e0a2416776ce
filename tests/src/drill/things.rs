//! Things that are written through one instance and read through another.

use covet::data::{CachedQuery, Position, params};
use covet::prelude::{Context, Error, Json, Path, Query, Router, State, get, post};
use serde::{Deserialize, Serialize};

/// `/things`.
pub fn routes(context: &Context) -> Router {
    Router::new()
        .route("/things", post(write))
        .route("/things/count", get(count))
        .route("/things/{id}", get(read))
        .with_state(context.clone())
}

/// A thing that was written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Written {
    /// Which one.
    pub id: i64,
    /// Who reads with it sees the thing.
    pub position: String,
}

/// Writes a thing, and tells how far a replica must be to have it.
async fn write(State(context): State<Context>) -> Result<Json<Written>, Error> {
    let db = context.db();
    db.write().execute("CREATE TABLE IF NOT EXISTS things (id BIGINT PRIMARY KEY)", params![]).await?;
    let sql = "INSERT INTO things SELECT coalesce(max(id), 0) + 1 FROM things RETURNING id";
    let id = db.write().one(sql, params![]).await?;
    Ok(Json(Written { id, position: db.position().await?.to_string() }))
}

/// How many there are, as it was kept.
async fn count(State(context): State<Context>) -> Result<String, Error> {
    static COUNT: CachedQuery = CachedQuery::new("SELECT count(*) FROM things", &["things"]);
    Ok(context.db().cached(&COUNT).one::<i64>(params![]).await?.to_string())
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
}

/// Reads a thing: from any server, or from one that is as far as a position.
async fn read(
    State(context): State<Context>,
    Path(id): Path<i64>,
    Query(After { after }): Query<After>,
) -> Result<Json<i64>, Error> {
    let db = context.db();
    let reader = match after.map(|position| position.parse::<Position>()) {
        Some(position) => db.read_your_writes(&position.map_err(Error::internal)?),
        None => db.read(),
    };
    Ok(Json(reader.one("SELECT id FROM things WHERE id = $1", params![id]).await?))
}
