//! `Cache-Status` (RFC 9211): why a response came from the cache, or did not.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Room for everything that can be said at once, with the longest words: 120 bytes.
const LONGEST: usize = 128;

/// Why the handler was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// The cache has nothing to do with this request.
    Bypass,
    /// The client wants it so.
    Request,
    /// Nothing is kept for this URI.
    UriMiss,
    /// Nothing is kept for what the request says in the headers that the response varies by.
    VaryMiss,
    /// What is kept is stale.
    Stale,
}

/// What is said of one response.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Status {
    /// From the cache, and fresh for so many seconds.
    pub(super) hit: Option<i64>,
    pub(super) forwarded: Option<Forwarded>,
    /// What the handler answered, where something else is given out.
    pub(super) forwarded_status: Option<StatusCode>,
    pub(super) stored: bool,
    /// It waited for another request's answer.
    pub(super) collapsed: bool,
    pub(super) detail: Option<&'static str>,
}

impl Forwarded {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Request => "request",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
        }
    }
}

impl Status {
    pub(super) fn hit(ttl_seconds: i64) -> Self {
        Self { hit: Some(ttl_seconds), ..Self::default() }
    }

    pub(super) fn forwarded(why: Forwarded) -> Self {
        Self { forwarded: Some(why), ..Self::default() }
    }

    pub(super) fn detail(self, detail: &'static str) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// Adds the header, after those of caches behind.
    pub(super) fn add(&self, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.value());
    }

    /// The header's value after what caches behind have said, if anything.
    pub(super) fn value_after(&self, before: &HeaderValue) -> HeaderValue {
        let own = self.value();
        if before.is_empty() {
            return own;
        }
        let list = [before.as_bytes(), b", ", own.as_bytes()].concat();
        HeaderValue::from_bytes(&list).unwrap_or(own)
    }

    pub(super) fn value(&self) -> HeaderValue {
        let (mut text, mut length) = ([0; LONGEST], 0);
        let mut add = |parts: &[&str]| {
            for part in parts {
                // Never too long: see `LONGEST`.
                if let Some(place) = text.get_mut(length..length + part.len()) {
                    place.copy_from_slice(part.as_bytes());
                    length += part.len();
                }
            }
        };
        add(&["covet"]);
        if let Some(ttl) = self.hit {
            add(&["; hit; ttl=", itoa::Buffer::new().format(ttl)]);
        }
        if let Some(why) = self.forwarded {
            add(&["; fwd=", why.as_str()]);
        }
        if let Some(status) = self.forwarded_status {
            add(&["; fwd-status=", status.as_str()]);
        }
        if self.stored {
            add(&["; stored"]);
        }
        if self.collapsed {
            add(&["; collapsed"]);
        }
        if let Some(detail) = self.detail {
            add(&["; detail=", detail]);
        }
        // Words and numbers.
        HeaderValue::from_bytes(&text[..length]).unwrap_or_else(|_| HeaderValue::from_static("covet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_why_in_the_words_of_the_rfc() {
        assert_eq!(Status::hit(12).value(), "covet; hit; ttl=12");
        assert_eq!(
            Status::hit(-3).detail("stale-while-revalidate").value(),
            "covet; hit; ttl=-3; detail=stale-while-revalidate"
        );
        let miss = Status { stored: true, collapsed: true, ..Status::forwarded(Forwarded::UriMiss) };
        assert_eq!(miss.value(), "covet; fwd=uri-miss; stored; collapsed");
        let error = Status { forwarded_status: Some(StatusCode::BAD_GATEWAY), ..Status::forwarded(Forwarded::Stale) };
        assert_eq!(error.detail("stale-if-error").value(), "covet; fwd=stale; fwd-status=502; detail=stale-if-error");
    }
}
