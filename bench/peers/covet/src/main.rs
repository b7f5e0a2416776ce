//! Peer: Covet with everything on, as a service is written.
//!
//! Unlike the other peers it is told its port and workers by environment variables, as every Covet service is; the
//! harness sets them (`harness/src/peer.rs`). jemalloc is the `covet` crate's own.

use contract::{GREETING, Greeting, User};
use covet::cache::Ttl;
use covet::prelude::*;

#[tokio::main]
async fn main() -> covet::Result {
    App::new("covet-peer").routes(routes).run().await
}

fn routes(context: &Context) -> Router {
    let kept = context.response_cache(Ttl::Static);
    Router::new()
        .route("/json", get(greeting))
        .route("/users/{id}", get(user))
        // The same from the response cache, without a tag and with one.
        .route("/cached", get(greeting).cached(kept.clone()))
        .route("/tagged", get(greeting).cached(kept.tag("greetings")))
}

async fn greeting() -> Json<Greeting> {
    Json(GREETING)
}

async fn user(Path(id): Path<u64>) -> Json<User> {
    Json(User::numbered(id))
}
