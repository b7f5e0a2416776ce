//! Peer: Covet with everything on and a database, as a service is written.
//!
//! PostgreSQL or SQLite, by `DATABASE_URL`; the code is the same. Reads go through `Db::read`, the update through `Db::write`. The
//! twenty statements of a request run at the same time. Settings as those of the peer without a database
//! (`harness/src/peer.rs`), and jemalloc is the `covet` crate's own.

use std::sync::Arc;

use contract::database::{HUNDRED, ONE, Updated, User, VISIT, last_of_hundred, twenty};
use covet::data::{CachedQuery, params};
use covet::prelude::*;
use futures_util::future::try_join_all;

static ONE_KEPT: CachedQuery = CachedQuery::new(ONE, &["users"]);

#[tokio::main]
async fn main() -> covet::Result {
    App::new("covet-database-peer").routes(routes).run().await
}

fn routes(context: &Context) -> Router {
    Router::new()
        .route("/users/{id}", get(one))
        .route("/twenty/{first}", get(many))
        .route("/hundred/{first}", get(hundred))
        .route("/cached/{id}", get(cached))
        .route("/plain/{id}", get(plain))
        .route("/visits/{id}", post(visit))
        .with_state(context.db().clone())
}

async fn one(State(db): State<Db>, Path(id): Path<i64>) -> Result<Json<User>, Error> {
    Ok(Json(db.read().one(ONE, params![id]).await?))
}

async fn cached(State(db): State<Db>, Path(id): Path<i64>) -> Result<Json<Arc<User>>, Error> {
    Ok(Json(db.cached(&ONE_KEPT).one(params![id]).await?))
}

async fn plain(Path(id): Path<i64>) -> Json<User> {
    Json(User::numbered(id))
}

async fn many(State(db): State<Db>, Path(first): Path<i64>) -> Result<Json<Vec<User>>, Error> {
    let one = async |id| db.read().one(ONE, params![id]).await;
    Ok(Json(try_join_all(twenty(first).map(one)).await?))
}

async fn hundred(State(db): State<Db>, Path(first): Path<i64>) -> Result<Json<Vec<User>>, Error> {
    Ok(Json(db.read().all(HUNDRED, params![first, last_of_hundred(first)]).await?))
}

async fn visit(State(db): State<Db>, Path(id): Path<i64>) -> Result<Json<Updated>, Error> {
    Ok(Json(Updated { updated: db.write().execute(VISIT, params![id]).await? }))
}
