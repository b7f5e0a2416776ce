//! Entity tags of what the pipeline has compressed.
//!
//! The compressed bytes are another representation, so a strong tag must be another too (RFC 9110 §8.8.3.3): `"a"`
//! becomes `"a--gzip"`. Making it weak instead, as NGINX does, would take away what `If-Match` needs: a client could
//! no longer change what it has read. When a client comes back with the longer tag, its end is taken off before
//! anybody else sees it, so handlers and caches know one tag only. Jetty does the same.

use std::borrow::Cow;

use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, HeaderValue};

/// What the tag of a compressed representation ends with, before its closing quote.
const END: &[u8] = b"--gzip\"";

/// Takes the ends off all tags in the conditions of a request. True if there was one.
pub(super) fn take_off(headers: &mut HeaderMap) -> bool {
    let mut found = false;
    for name in [IF_NONE_MATCH, IF_MATCH, IF_RANGE] {
        let http::header::Entry::Occupied(mut conditions) = headers.entry(name) else { continue };
        for value in conditions.iter_mut() {
            if let Cow::Owned(short) = without_ends(value.as_bytes())
                && let Ok(short) = HeaderValue::from_bytes(&short)
            {
                *value = short;
                found = true;
            }
        }
    }
    found
}

/// Puts the end on a response's tag, if it is a strong one.
pub(super) fn put_on(headers: &mut HeaderMap) {
    let Some(tag) = headers.get_mut(ETAG) else { return };
    let [b'"', .., b'"'] = tag.as_bytes() else { return };
    let mut longer = tag.as_bytes()[..tag.len() - 1].to_vec();
    longer.extend_from_slice(END);
    if let Ok(longer) = HeaderValue::from_bytes(&longer) {
        *tag = longer;
    }
}

fn without_ends(tags: &[u8]) -> Cow<'_, [u8]> {
    let mut short = Cow::Borrowed(tags);
    let mut from = 0;
    while let Some(at) = short[from..].windows(END.len()).position(|window| window == END) {
        let end = from + at;
        short.to_mut().drain(end..end + END.len() - 1);
        from = end + 1;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_is_taken_off() {
        let mut response = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("\"a\""))]);
        put_on(&mut response);
        assert_eq!(response[ETAG], "\"a--gzip\"");
        let mut request =
            HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"b\", \"a--gzip\", \"c--gzip\""))]);
        request.insert(IF_MATCH, response[ETAG].clone());
        assert!(take_off(&mut request));
        assert_eq!(request[IF_NONE_MATCH], "\"b\", \"a\", \"c\"");
        assert_eq!(request[IF_MATCH], "\"a\"");
        assert!(!take_off(&mut request));
    }

    #[test]
    fn weak_tags_promise_no_bytes_and_stay() {
        let mut response = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("W/\"a\""))]);
        put_on(&mut response);
        assert_eq!(response[ETAG], "W/\"a\"");
    }
}
