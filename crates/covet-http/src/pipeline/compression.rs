//! gzip for responses that gain by it, when the client accepts it: tower-http's layer, entered only then.

use axum::body::Body;
use axum::response::Response;
use futures_util::FutureExt;
use http::{HeaderValue, Request, StatusCode, header};
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate, SizeAbove};

use super::coded_tags;
use crate::conditional::StandsFor;

/// Smaller responses fit into one packet anyway.
const WORTHWHILE_BYTES: u64 = 1_024;

pub(super) fn accepts_gzip(accept_encoding: &HeaderValue) -> bool {
    accept_encoding.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"gzip"))
}

/// Says by `Vary` that the response would be another for a client that accepts another coding: also on one that was sent
/// as it is, which a cache would else give to all, and on a 304 for one.
pub(super) fn tell_of_it(response: &mut Response) {
    let (bytes, stands_for) = match response.status() {
        StatusCode::NOT_MODIFIED => match response.extensions_mut().remove::<StandsFor>() {
            Some(stands_for) => (stands_for.bytes, Some(stands_for)),
            None => return,
        },
        _ => (axum::body::HttpBody::size_hint(response.body()).exact(), None),
    };
    if bytes.is_some_and(|bytes| bytes < WORTHWHILE_BYTES) {
        return;
    }
    let would_compress = match stands_for {
        // The predicate looks at a response.
        Some(stands_for) => {
            let mut whole =
                Response::new(Body::from_stream(futures_util::stream::empty::<Result<bytes::Bytes, axum::Error>>()));
            whole.headers_mut().insert(header::CONTENT_TYPE, stands_for.content_type);
            DefaultPredicate::new().should_compress(&whole)
        }
        None => {
            !response.headers().contains_key(header::CONTENT_ENCODING)
                && DefaultPredicate::new().should_compress(response)
        }
    };
    let says =
        |value: &HeaderValue| value.as_bytes().to_ascii_lowercase().windows(15).any(|word| word == b"accept-encoding");
    if would_compress && !response.headers().get_all(header::VARY).iter().any(says) {
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
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
        Some(Ok(mut compressed)) => {
            if compressed.headers().contains_key(header::CONTENT_ENCODING) {
                coded_tags::put_on(compressed.headers_mut());
            }
            compressed.map(Body::new)
        }
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
    fn what_would_be_compressed_for_others_says_so_and_a_304_for_it_too() {
        let varies = |mut response: Response| {
            tell_of_it(&mut response);
            response.headers().get(header::VARY).cloned()
        };
        assert_eq!(varies(response("application/json", 5_000)).unwrap(), "accept-encoding");
        assert_eq!(varies(response("application/json", 500)), None);
        assert_eq!(varies(response("image/png", 5_000)), None);
        let mut tagged = response("application/json", 5_000);
        tagged.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"a\""));
        assert_eq!(varies(crate::conditional::not_modified(tagged)).unwrap(), "accept-encoding");
    }

    #[test]
    fn the_compressed_bytes_have_a_tag_of_their_own() {
        let mut tagged = response("application/json", 5_000);
        tagged.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"a\""));
        let compressed = compress(HeaderValue::from_static("gzip"), tagged);
        assert_eq!(compressed.headers()["etag"], "\"a--gzip\"");
    }

    #[test]
    fn small_or_already_small_formats_are_left() {
        assert_eq!(encoding(&compress(HeaderValue::from_static("gzip"), response("application/json", 500))), None);
        assert_eq!(encoding(&compress(HeaderValue::from_static("gzip"), response("image/png", 50_000))), None);
        assert_eq!(encoding(&compress(HeaderValue::from_static("gzip;q=0"), response("text/plain", 50_000))), None);
    }
}
