//! A tag of the body's bytes for every answer of `GET` that has none: what
//! [`MethodRouter::etag`](crate::routing::MethodRouter::etag) puts around a handler.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{EntityTag, answer};
use crate::routing::Answering;
use crate::routing::around::{Around, Next};

/// Longer bodies are not hashed for each request.
const MOST_BYTES: u64 = 1024 * 1024;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TaggedBodies;

impl Around for TaggedBodies {
    fn answer(self: Arc<Self>, request: Request, next: Next) -> Answering {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return next.call(request);
        }
        Box::pin(Self::tag(request, next))
    }
}

impl TaggedBodies {
    async fn tag(request: Request, next: Next) -> Response {
        let method = request.method().clone();
        let conditions = request.headers().clone();
        let (mut parts, body) = request.into_parts();
        // The body of a HEAD's answer is taken away further out; here it is needed.
        parts.method = Method::GET;
        let response = next.call(Request::from_parts(parts, body)).await;
        answer(&method, &conditions, tagged(response).await)
    }
}

/// The response with a tag, if it has none and its body is whole and not large.
async fn tagged(response: Response) -> Response {
    let known = response.body().size_hint().exact();
    let eligible = response.status() == StatusCode::OK
        && !response.headers().contains_key(ETAG)
        && !says_no_store(response.headers())
        && known.is_some_and(|bytes| bytes <= MOST_BYTES);
    if !eligible {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return axum::response::IntoResponse::into_response(crate::Error::internal(error)),
    };
    let tag = EntityTag::of_body(&parts.headers, &bytes);
    parts.headers.insert(ETAG, tag);
    // Without a word about it, clients would guess how long they need not ask.
    if !parts.headers.contains_key(CACHE_CONTROL) {
        parts.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn says_no_store(headers: &HeaderMap) -> bool {
    let says = |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().windows(8).any(|word| word == b"no-store");
    headers.get_all(CACHE_CONTROL).iter().any(says)
}
