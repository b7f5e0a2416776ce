//! `/.well-known/jwks.json`: the public keys of access tokens, for other services that check them (RFC 7517).

use covet_http::axum::extract::State;
use covet_http::axum::response::IntoResponse;
use covet_http::{Router, routes};
use http::header;

use super::access::AccessTokens;

/// How long others may go by what they have read. A new key stands in the set for this long before it may sign.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The route, with an entity tag.
pub fn jwks_routes(tokens: AccessTokens) -> Router {
    Router::new().routes(routes![list_public_keys]).with_state(tokens).etag()
}

/// The public keys that check access tokens (RFC 7517). Shared secrets are not among them.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "list_public_keys", tag = "auth",
    responses(
        (status = 200, description = "A JWK set; it may be kept for five minutes.", body = serde_json::Value, content_type = "application/jwk-set+json"),
    )
)]
async fn list_public_keys(State(tokens): State<AccessTokens>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, CACHE_CONTROL)];
    (headers, serde_json::to_string(&tokens.published_keys()).unwrap_or_default())
}
