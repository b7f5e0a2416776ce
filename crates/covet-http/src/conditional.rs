//! Conditional requests: answering 304 or 412 instead of sending what the client has, or does not want (RFC 9110 §13).
//!
//! [`EntityTag`] and [`Validators`] compare; [`answer`] makes the response. A route asks for it with
//! [`MethodRouter::etag`](crate::routing::MethodRouter::etag), which gives a tag made of the body's bytes to every
//! answer of `GET` that has none of its own. Routes with a [response cache](crate::response_cache) and
//! [assets](crate::assets) have it anyway.
//!
//! What the pipeline compresses has a tag of its own, since it is another sequence of bytes (RFC 9110 §8.8.3.3): see
//! `pipeline/coded_tags.rs`.

mod entity_tag;
mod tagged;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, HttpBody as _};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    self, CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use entity_tag::EntityTag;
pub(crate) use tagged::TaggedBodies;

use crate::Error;

/// What a 304 must repeat of the response that it stands for (RFC 9110 §15.4.5), and what caches add to it.
const REPEATED: [HeaderName; 6] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY];
const AGE_AND_STATUS: [HeaderName; 2] = [header::AGE, HeaderName::from_static("cache-status")];

/// What a client can compare a response by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Validators<'a> {
    /// Its `ETag`.
    pub etag: Option<&'a HeaderValue>,
    /// Seconds since 1970-01-01 UTC of its `Last-Modified`.
    pub last_modified: Option<u64>,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are met, or there are none: answer as always.
    Perform,
    /// The client has this already: 304.
    NotModified,
    /// The client does not want it as it is: 412.
    PreconditionFailed,
}

impl<'a> Validators<'a> {
    /// Those of a response with these headers.
    #[must_use]
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self { etag: headers.get(ETAG), last_modified: headers.get(LAST_MODIFIED).and_then(http_date) }
    }

    /// Evaluates the conditions of a request of this method, in the order of RFC 9110 §13.2.2. What is malformed counts
    /// as absent.
    #[must_use]
    pub fn judge(&self, method: &Method, request: &HeaderMap) -> Verdict {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if request.contains_key(IF_MATCH) {
            let matched = |tag: &EntityTag<'_>| self.tag().is_some_and(|own| own.is_strongly(tag));
            if !EntityTag::any(request, IF_MATCH, matched) {
                return Verdict::PreconditionFailed;
            }
        } else if let (Some(limit), Some(modified)) =
            (request.get(IF_UNMODIFIED_SINCE).and_then(http_date), self.last_modified)
            && modified > limit
        {
            return Verdict::PreconditionFailed;
        }
        if request.contains_key(IF_NONE_MATCH) {
            let matched = |tag: &EntityTag<'_>| self.tag().is_some_and(|own| own.is_weakly(tag));
            return match (EntityTag::any(request, IF_NONE_MATCH, matched), reads) {
                (false, _) => Verdict::Perform,
                (true, true) => Verdict::NotModified,
                (true, false) => Verdict::PreconditionFailed,
            };
        }
        if reads
            && let (Some(since), Some(modified)) =
                (request.get(IF_MODIFIED_SINCE).and_then(http_date), self.last_modified)
            && modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Perform
    }

    fn tag(&self) -> Option<EntityTag<'a>> {
        EntityTag::parse(self.etag?.as_bytes())
    }
}

/// The response that a request with these conditions gets in place of `response`: itself, a 304 or a 412. Conditions
/// are about what a request without them would get, so only a success has any (RFC 9110 §13.2.1).
#[must_use]
pub fn answer(method: &Method, request: &HeaderMap, response: Response) -> Response {
    if !has_conditions(request) || !response.status().is_success() {
        return response;
    }
    match Validators::of(response.headers()).judge(method, request) {
        Verdict::Perform => response,
        Verdict::NotModified => not_modified(response),
        Verdict::PreconditionFailed => precondition_failed(),
    }
}

/// Whether a request has any condition.
#[must_use]
pub fn has_conditions(request: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE].iter().any(|name| request.contains_key(name))
}

/// The 304 that stands for `response`.
#[must_use]
pub fn not_modified(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let mut headers = HeaderMap::with_capacity(REPEATED.len() + AGE_AND_STATUS.len());
    for name in REPEATED.into_iter().chain(AGE_AND_STATUS) {
        for value in parts.headers.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    if !headers.contains_key(ETAG)
        && let Some(modified) = parts.headers.get(LAST_MODIFIED)
    {
        headers.insert(LAST_MODIFIED, modified.clone());
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = headers;
    // What the whole response would have been decides whether the pipeline would have compressed it.
    let bytes = body.size_hint().exact();
    if let Some(content_type) = parts.headers.get(header::CONTENT_TYPE) {
        let stands_for = StandsFor { content_type: content_type.clone(), bytes };
        if !parts.headers.contains_key(header::CONTENT_ENCODING) {
            response.extensions_mut().insert(stands_for);
        }
    }
    response
}

/// What a 304 stands for: kept with it until the pipeline has seen it.
#[derive(Debug, Clone)]
pub(crate) struct StandsFor {
    pub(crate) content_type: HeaderValue,
    pub(crate) bytes: Option<u64>,
}

fn precondition_failed() -> Response {
    Error::status(StatusCode::PRECONDITION_FAILED)
        .detail("It is not as If-Match or If-Unmodified-Since say. Read it again.")
        .into_response()
}

/// Seconds since 1970-01-01 UTC of a date in one of HTTP's three formats.
#[must_use]
pub(crate) fn http_date(value: &HeaderValue) -> Option<u64> {
    let time = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// The date as HTTP writes it.
#[must_use]
pub(crate) fn to_http_date(unix_seconds: u64) -> HeaderValue {
    // The latest date that has four digits of a year.
    let last = 253_402_300_799;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(unix_seconds.min(last));
    HeaderValue::try_from(httpdate::fmt_http_date(time)).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn verdict(method: &Method, conditions: &[(&'static str, &str)]) -> Verdict {
        let etag = HeaderValue::from_static("\"a\"");
        let last_modified = http_date(&HeaderValue::from_static("Thu, 01 Jan 2026 00:00:00 GMT"));
        Validators { etag: Some(&etag), last_modified }.judge(method, &request(conditions))
    }

    #[test]
    fn a_client_that_has_it_hears_304() {
        for tags in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "*", "\"x,y\" ,, W/\"a\""] {
            assert_eq!(verdict(&Method::GET, &[("if-none-match", tags)]), Verdict::NotModified, "{tags}");
        }
        for tags in ["\"b\"", "a", "", "\"x", "W/a"] {
            assert_eq!(verdict(&Method::HEAD, &[("if-none-match", tags)]), Verdict::Perform, "{tags}");
        }
    }

    #[test]
    fn tags_come_before_dates() {
        let since_then = ("if-modified-since", "Fri, 02 Jan 2026 00:00:00 GMT");
        assert_eq!(verdict(&Method::GET, &[since_then]), Verdict::NotModified);
        assert_eq!(verdict(&Method::GET, &[("if-none-match", "\"b\""), since_then]), Verdict::Perform);
        let before = ("if-modified-since", "Wed, 31 Dec 2025 23:59:59 GMT");
        assert_eq!(verdict(&Method::GET, &[before]), Verdict::Perform);
        assert_eq!(verdict(&Method::GET, &[("if-none-match", "\"a\""), before]), Verdict::NotModified);
        assert_eq!(verdict(&Method::GET, &[("if-modified-since", "yesterday")]), Verdict::Perform);
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        assert_eq!(verdict(&Method::GET, &[("if-match", "\"a\"")]), Verdict::Perform);
        assert_eq!(verdict(&Method::GET, &[("if-match", "*")]), Verdict::Perform);
        assert_eq!(verdict(&Method::GET, &[("if-match", "W/\"a\"")]), Verdict::PreconditionFailed);
        let both = [("if-match", "\"b\""), ("if-none-match", "\"a\"")];
        assert_eq!(verdict(&Method::GET, &both), Verdict::PreconditionFailed);
        let early = [("if-unmodified-since", "Wed, 31 Dec 2025 23:59:59 GMT")];
        assert_eq!(verdict(&Method::GET, &early), Verdict::PreconditionFailed);
        assert_eq!(verdict(&Method::PUT, &[("if-none-match", "*")]), Verdict::PreconditionFailed);
    }

    #[test]
    fn a_304_repeats_what_it_must_and_nothing_of_the_body() {
        let mut response = Response::new(Body::from("body"));
        for (name, value) in [("etag", "\"a\""), ("vary", "accept"), ("content-type", "text/plain"), ("x-own", "1")] {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response.headers_mut().append("vary", HeaderValue::from_static("origin"));
        let answered = answer(&Method::GET, &request(&[("if-none-match", "\"a\"")]), response);
        assert_eq!(answered.status(), 304);
        assert_eq!(answered.headers()["etag"], "\"a\"");
        assert_eq!(answered.headers().get_all("vary").iter().count(), 2);
        assert!(!answered.headers().contains_key("content-type") && !answered.headers().contains_key("x-own"));
        assert_eq!(answered.body().size_hint().exact(), Some(0));
    }

    #[test]
    fn only_a_success_is_replaced() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        assert_eq!(answer(&Method::GET, &request(&[("if-none-match", "*")]), response).status(), 404);
    }

    #[test]
    fn dates_are_written_as_they_are_read() {
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(to_http_date(http_date(&date).unwrap()), date);
        assert_eq!(http_date(&HeaderValue::from_static("Sunday, 06-Nov-94 08:49:37 GMT")), http_date(&date));
        assert!(to_http_date(u64::MAX).to_str().unwrap().contains("9999"));
    }
}
