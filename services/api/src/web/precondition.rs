//! Optimistic concurrency by HTTP's own means: an `ETag` made of the row's version, `If-Match` on changes,
//! `If-None-Match` on reads (RFC 9110 §13).
//!
//! The rule of this API: a change without `If-Match` is refused with 428 (RFC 6585 §3), because it could undo
//! somebody else's; `If-Match: *` says "whatever is there". A deletion may leave it out.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use covet::{Error, axum};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// Version of a row, as the `ETag` header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etag(pub i64);

/// The `If-Match` header. Fails with 400 when it is malformed, never because it is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfMatch(Option<Tags>);

/// The `If-None-Match` header; a malformed one is as good as none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfNoneMatch(Option<Tags>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    /// Each with whether it is weak.
    These(Vec<(bool, String)>),
}

impl Etag {
    fn opaque(self) -> String {
        format!("v{}", self.0)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.opaque())
    }
}

impl IntoResponseParts for Etag {
    type Error = Error;

    /// Also forbids shared caches to keep what one user may see, and own caches to use it without asking.
    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Error> {
        let value = HeaderValue::try_from(self.to_string()).map_err(Error::internal)?;
        parts.headers_mut().insert(header::ETAG, value);
        parts.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        Ok(parts)
    }
}

impl IfMatch {
    /// Demands that the caller says which version it changes.
    ///
    /// # Errors
    /// 428 without the header.
    pub fn required(&self) -> Result<(), Error> {
        match self.0 {
            Some(_) => Ok(()),
            None => Err(Error::status(StatusCode::PRECONDITION_REQUIRED)
                .detail("A change needs If-Match with the ETag of the version that you have read.")),
        }
    }

    /// Checks that the row still has a version the caller knows. The comparison is strong: weak tags never match.
    ///
    /// # Errors
    /// 412 with the present `ETag`.
    pub fn check(&self, present: Etag) -> Result<(), Error> {
        let matches = match &self.0 {
            None | Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|(weak, tag)| !weak && *tag == present.opaque()),
        };
        if matches { Ok(()) } else { Err(precondition_failed(present)) }
    }
}

impl IfNoneMatch {
    /// Whether the caller has this version already.
    #[must_use]
    pub fn has(&self, present: Etag) -> bool {
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::These(tags)) => tags.iter().any(|(_, tag)| *tag == present.opaque()),
        }
    }

    /// The whole answer, or 304 when the caller has it already.
    pub fn answer(&self, present: Etag, body: impl IntoResponse) -> Response {
        if self.has(present) {
            (StatusCode::NOT_MODIFIED, present, ()).into_response()
        } else {
            (present, body).into_response()
        }
    }
}

/// 412: the row has changed since the caller read it.
#[must_use]
pub fn precondition_failed(present: Etag) -> Error {
    let error = Error::status(StatusCode::PRECONDITION_FAILED)
        .detail("It has changed since you read it. Read it again, then repeat your change with its new ETag.");
    match HeaderValue::try_from(present.to_string()) {
        Ok(value) => error.header(header::ETAG, value),
        Err(_) => error,
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match tags(&parts.headers, header::IF_MATCH) {
            Ok(tags) => Ok(Self(tags)),
            Err(()) => Err(Error::bad_request("If-Match is `*` or a list of entity tags such as `\"v3\"`.")),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self(tags(&parts.headers, header::IF_NONE_MATCH).unwrap_or(None)))
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, ()> {
    let mut found = None;
    for value in headers.get_all(name) {
        let more = parse(value.to_str().map_err(|_| ())?)?;
        found = match (found, more) {
            (None, more) => Some(more),
            (Some(Tags::These(mut all)), Tags::These(more)) => {
                all.extend(more);
                Some(Tags::These(all))
            }
            _ => return Err(()),
        };
    }
    Ok(found)
}

/// `*`, or tags separated by commas. A comma may stand inside a tag, so this reads quote by quote.
fn parse(text: &str) -> Result<Tags, ()> {
    let mut rest = text.trim();
    if rest == "*" {
        return Ok(Tags::Any);
    }
    let mut tags = Vec::new();
    loop {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let (tag, after) = quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or(())?;
        tags.push((weak, tag.to_owned()));
        match after.trim_start() {
            "" => return Ok(Tags::These(tags)),
            after => rest = after.strip_prefix(',').ok_or(())?.trim_start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn if_match(text: &str) -> IfMatch {
        IfMatch(Some(parse(text).unwrap()))
    }

    #[test]
    fn only_a_strong_tag_of_the_present_version_matches() {
        let present = Etag(3);
        for good in ["\"v3\"", "*", "\"v1\", \"v3\"", "\"a,b\",\"v3\"", " \"v3\" "] {
            assert!(if_match(good).check(present).is_ok(), "{good}");
        }
        for stale in ["\"v2\"", "W/\"v3\"", "\"\"", "\"v3 \""] {
            let error = if_match(stale).check(present).unwrap_err();
            assert_eq!(error.problem().status, 412, "{stale}");
            assert_eq!(error.into_response().headers()["etag"], "\"v3\"");
        }
    }

    #[test]
    fn malformed_tags_are_told_apart_from_stale_ones() {
        for bad in ["", "v3", "\"v3", "\"v3\" \"v4\"", "\"v3\",", "w/\"v3\""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_without_a_precondition_is_refused_and_a_deletion_is_not() {
        let absent = IfMatch(None);
        assert_eq!(absent.required().unwrap_err().problem().status, 428);
        assert!(absent.check(Etag(1)).is_ok());
        assert!(if_match("*").required().is_ok());
    }

    #[test]
    fn a_reader_that_has_the_version_gets_no_body() {
        let weak = IfNoneMatch(Some(parse("W/\"v3\"").unwrap()));
        assert!(weak.has(Etag(3)) && !weak.has(Etag(4)));
        assert!(!IfNoneMatch(None).has(Etag(3)));
        let response = weak.answer(Etag(3), "body");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["etag"]),
            (304, &HeaderValue::from_static("\"v3\""))
        );
        assert_eq!(weak.answer(Etag(4), "body").status(), 200);
    }
}
