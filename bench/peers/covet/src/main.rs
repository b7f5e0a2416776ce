//! Peer: Covet with everything on, as a service is written.
//!
//! Unlike the other peers it is told its port and workers by environment variables, as every Covet service is; the
//! harness sets them (`harness/src/peer.rs`). jemalloc is the `covet` crate's own.

use std::sync::Arc;

use contract::{GREETING, Greeting, User};
use covet::cache::{Keyspace, Ttl};
use covet::identity::session::{Session, SessionKey, SessionOrNew};
use covet::prelude::*;
use serde::{Deserialize, Serialize};

/// What is in the cache, or in a session.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    message: String,
}

static VALUES: Keyspace<Kept> = Keyspace::new("values", Ttl::Static);
static IN_SESSION: SessionKey<Kept> = SessionKey::new("kept");

#[tokio::main]
async fn main() -> covet::Result {
    App::new("covet-peer").sessions().routes(routes).run().await
}

fn routes(context: &Context) -> Router {
    let kept = context.response_cache(Ttl::Static);
    Router::new()
        .route("/json", get(greeting))
        .route("/users/{id}", get(user))
        // The same from the response cache, without a tag and with one; from the cache; from a session.
        .route("/cached", get(greeting).cached(kept.clone()))
        .route("/tagged", get(greeting).cached(kept.tag("greetings")))
        .route("/value", get(value))
        .route("/login", post(log_in))
        .route("/session", get(session))
        .with_state(context.clone())
}

async fn greeting() -> Json<Greeting> {
    Json(GREETING)
}

async fn user(Path(id): Path<u64>) -> Json<User> {
    Json(User::numbered(id))
}

async fn value(State(context): State<Context>) -> Result<Json<Arc<Kept>>, Error> {
    let key = VALUES.key("greeting");
    Ok(Json(context.cache().get_or_load(&key, async || Ok::<_, Error>(Kept::new())).await?))
}

async fn log_in(session: SessionOrNew) -> Result<(), Error> {
    Ok(session.set(&IN_SESSION, &Kept::new())?)
}

async fn session(session: Session) -> Result<Json<Kept>, Error> {
    session.get(&IN_SESSION).map(Json).ok_or_else(Error::not_found)
}

impl Kept {
    fn new() -> Self {
        Self { message: GREETING.message.to_owned() }
    }
}
