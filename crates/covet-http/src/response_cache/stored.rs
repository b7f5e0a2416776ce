//! What lies in the cache: a response, or the list of headers by which its variants are told apart.

use bytes::Bytes;
use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use super::status::CACHE_STATUS;
use super::terms::Terms;

/// One entry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    /// A response.
    Response(Stored),
    /// Under the key of a URI whose responses vary by more than the route says: by what.
    Variants(Variants),
}

/// A response.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) status: u16,
    #[serde(with = "header_list")]
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) terms: Terms,
    /// When it is worth nothing any more, in milliseconds since 1970-01-01 UTC: the cache may forget it later.
    pub(super) until: u64,
    /// Whether its `ETag` is the handler's own, which knows it when asked with it.
    pub(super) own_etag: bool,
    /// Whether its `Cache-Control` is the route's, since the handler said nothing.
    pub(super) completed: bool,
    /// The headers beyond those of the route by which it varies, and the hash of what its request said in them.
    pub(super) vary: Vec<String>,
    pub(super) selected: Bytes,
}

/// By what the responses of a URI vary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Variants {
    pub(super) names: Vec<String>,
    /// What the kept ones were selected by: hashes.
    pub(super) kept: Vec<Bytes>,
}

impl Entry {
    pub(super) fn response(&self) -> Option<&Stored> {
        match self {
            Self::Response(stored) => Some(stored),
            Self::Variants(_) => None,
        }
    }
}

impl Variants {
    /// The names, as headers.
    pub(super) fn headers(&self) -> Vec<HeaderName> {
        header_names(&self.names)
    }
}

/// The names, as headers. What a newer release has written and this one does not know is left out.
pub(super) fn header_names(names: &[String]) -> Vec<HeaderName> {
    names.iter().filter_map(|name| HeaderName::try_from(name.as_str()).ok()).collect()
}

impl Stored {
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK)
    }

    /// Whether the handler can confirm it when asked with what it said itself.
    pub(super) fn can_be_confirmed(&self) -> bool {
        self.own_etag || self.headers.contains_key(LAST_MODIFIED)
    }
}

/// Not part of the response but of one connection (RFC 9110 §7.6.1), of one request, or of the way here.
static NOT_KEPT: [HeaderName; 13] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    SET_COOKIE,
    HeaderName::from_static("x-request-id"),
    AGE,
];

/// Removes what belongs to this exchange only.
pub(super) fn remove_what_is_not_kept(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let of_a_limit = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("ratelimit") || name.starts_with("x-ratelimit")
    };
    let limits: Vec<HeaderName> = headers.keys().filter(|name| of_a_limit(name)).cloned().collect();
    for name in NOT_KEPT.iter().chain(&listed).chain(&limits) {
        headers.remove(name);
    }
}

/// The headers in the order in which they are kept: first a place for the age, then one for what this cache says, after
/// what caches behind it have said, then the others.
pub(super) fn arranged(mut headers: HeaderMap) -> HeaderMap {
    let said: Vec<&[u8]> = headers.get_all(CACHE_STATUS).iter().map(HeaderValue::as_bytes).collect();
    let said = HeaderValue::from_bytes(&said.join(&b", "[..])).unwrap_or_else(|_| HeaderValue::from_static(""));
    headers.remove(AGE);
    headers.remove(CACHE_STATUS);
    let mut arranged = HeaderMap::with_capacity(headers.len() + 2);
    arranged.insert(AGE, HeaderValue::from_static(""));
    arranged.insert(CACHE_STATUS, said);
    arranged.extend(headers);
    arranged
}

/// The headers of a kept response after the handler has confirmed it with a 304 that had these (RFC 9111 §3.2).
pub(super) fn updated(kept: &HeaderMap, confirmed: &HeaderMap) -> HeaderMap {
    let of_the_body = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_TYPE, CONTENT_RANGE, ETAG];
    let mut headers = kept.clone();
    let new = confirmed.keys().filter(|name| !of_the_body.contains(name));
    for name in new {
        headers.remove(name);
        for value in confirmed.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

/// A header map as a list of names and values.
mod header_list {
    use serde::de::Error as _;
    use serde::ser::SerializeSeq as _;
    use serde::{Deserializer, Serializer};

    use super::{Bytes, Deserialize as _, HeaderMap, HeaderName, HeaderValue};

    pub(super) fn serialize<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(headers.len()))?;
        for (name, value) in headers {
            list.serialize_element(&(name.as_str(), Bytes::copy_from_slice(value.as_bytes())))?;
        }
        list.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
        let list = Vec::<(String, Bytes)>::deserialize(deserializer)?;
        let mut headers = HeaderMap::with_capacity(list.len());
        for (name, value) in list {
            let name = HeaderName::try_from(name).map_err(D::Error::custom)?;
            headers.append(name, HeaderValue::from_maybe_shared(value).map_err(D::Error::custom)?);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_belongs_to_the_connection_or_the_request_is_not_kept() {
        let mut kept = headers(&[
            ("connection", "a, b"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("keep-alive", "x"),
            ("x-request-id", "1"),
            ("ratelimit-remaining", "7"),
            ("content-type", "text/plain"),
        ]);
        remove_what_is_not_kept(&mut kept);
        assert_eq!(kept, headers(&[("c", "3"), ("content-type", "text/plain")]));
    }

    #[test]
    fn a_confirmation_renews_all_headers_but_those_of_the_body() {
        let kept = headers(&[("etag", "\"a\""), ("content-type", "text/plain"), ("x-a", "1"), ("x-b", "1")]);
        let new = headers(&[("etag", "W/\"a\""), ("content-type", "text/html"), ("x-a", "2"), ("x-a", "3")]);
        let expected =
            headers(&[("etag", "\"a\""), ("content-type", "text/plain"), ("x-b", "1"), ("x-a", "2"), ("x-a", "3")]);
        assert_eq!(updated(&kept, &new), expected);
    }
}
