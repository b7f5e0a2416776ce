//! What anybody may know of the service: a few numbers. The answer is the same for everybody, so it is kept for all
//! ([`covet::response_cache`]) and ended by the tag of what it counts.

use covet::access::Access;
use covet::axum::extract::State;
use covet::cache::Ttl;
use covet::data::params;
use covet::{Context, Json, Result, Router, routes};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cached;
use crate::state::Api;
use crate::web::problems;

/// How much there is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Registered users.
    #[schema(minimum = 0)]
    pub users: i64,
}

/// `/api/stats`.
pub fn routes(context: &Context) -> Router<Api> {
    let cache = context.response_cache(Ttl::Response).tag(cached::USERS).without_credentials();
    Router::new().routes(routes![read]).cached(&cache).access(Access::Public)
}

/// Shows how many users there are. Needs no login.
#[utoipa::path(
    get, path = "/api/stats", operation_id = "read_stats", tag = "stats",
    responses((status = 200, description = "The numbers.", body = Stats), problems::Other)
)]
async fn read(State(api): State<Api>) -> Result<Json<Stats>> {
    // From the primary: what is kept for all must not be older than what ended the answer before.
    let stats = api.db.write().one("SELECT count(*) AS users FROM users", params![]).await?;
    Ok(Json(stats))
}
