//! gzip for responses that gain by it, when the client accepts it: tower-http's layer, entered only then.

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use http::{HeaderValue, Request, header};
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate, SizeAbove};

/// Smaller responses fit into one packet anyway.
const WORTHWHILE_BYTES: u64 = 1_024;

pub(super) fn accepts_gzip(accept_encoding: &HeaderValue) -> bool {
    accept_encoding.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"gzip"))
}

/// Compresses `response` if its type and size are worth it.
pub(super) fn compress(accept_encoding: HeaderValue, response: Response) -> Response {
    let known_small =
        axum::body::HttpBody::size_hint(response.body()).exact().is_some_and(|bytes| bytes < WORTHWHILE_BYTES);
    if known_small || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let mut response = Some(response);
    let answer = service_fn(move |_: Request<()>| {
        let response = response.take().unwrap_or_default();
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let layer = CompressionLayer::new().compress_when(DefaultPredicate::new().and(SizeAbove::new(WORTHWHILE_BYTES)));
    let mut request = Request::new(());
    request.headers_mut().insert(header::ACCEPT_ENCODING, accept_encoding);
    match layer.layer(answer).call(request).now_or_never() {
        Some(Ok(compressed)) => compressed.map(Body::new),
        // The inner answer is ready, so the layer's is.
        Some(Err(never)) => match never {},
        None => Response::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(content_type: &'static str, length: usize) -> Response {
        let mut response = Response::new(Body::from(vec![b'a'; length]));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    fn encoding(response: &Response) -> Option<&str> {
        response.headers().get(header::CONTENT_ENCODING)?.to_str().ok()
    }

    #[test]
    fn large_text_is_compressed_and_varies() {
        let compressed = compress(HeaderValue::from_static("br, gzip"), response("application/json", 5_000));
        assert_eq!(encoding(&compressed), Some("gzip"));
        assert_eq!(compressed.headers()["vary"], "accept-encoding");
        assert!(!compressed.headers().contains_key("content-length"));
    }

    #[test]
    fn small_or_already_small_formats_are_left() {
        assert_eq!(encoding(&compress(HeaderValue::from_static("gzip"), response("application/json", 500))), None);
        assert_eq!(encoding(&compress(HeaderValue::from_static("gzip"), response("image/png", 50_000))), None);
        assert_eq!(encoding(&compress(HeaderValue::from_static("gzip;q=0"), response("text/plain", 50_000))), None);
    }
}
