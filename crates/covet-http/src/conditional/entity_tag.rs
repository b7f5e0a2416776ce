//! One entity tag, and the lists of them in `If-Match` and `If-None-Match` (RFC 9110 §8.8.3, §13.1).

use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest as _, Sha256};

/// An entity tag, read from a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityTag<'a> {
    weak: bool,
    /// Between the quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag. `None` when it is none.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::take(text.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Whether both stand for the same meaning.
    #[must_use]
    pub fn is_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Whether both stand for the same bytes.
    #[must_use]
    pub fn is_strongly(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Whether it promises the same meaning only, not the same bytes.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// The strong tag of these bytes: the first 128 bits of their SHA-256, with that of the headers that tell what
    /// they are.
    #[must_use]
    pub(crate) fn of_body(headers: &HeaderMap, body: &[u8]) -> HeaderValue {
        use base64::Engine as _;
        let mut hash = Sha256::new();
        for name in [http::header::CONTENT_TYPE, http::header::CONTENT_ENCODING, http::header::CONTENT_LANGUAGE] {
            for value in headers.get_all(name) {
                hash.update(value.as_bytes());
            }
            hash.update([0]);
        }
        hash.update(body);
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&hash.finalize()[..16]);
        // Letters, digits, `-` and `_` between quotes are a header's value.
        HeaderValue::try_from(format!("\"{text}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    /// Whether a list in the header `name` is `*`, or has a tag that `matches`. What is no tag ends the list.
    pub(super) fn any(headers: &HeaderMap, name: HeaderName, matches: impl Fn(&EntityTag<'_>) -> bool) -> bool {
        headers.get_all(name).iter().any(|value| {
            let mut rest = value.as_bytes().trim_ascii();
            if rest == b"*" {
                return true;
            }
            loop {
                rest = match rest {
                    [b',' | b' ' | b'\t', after @ ..] => after,
                    [] => return false,
                    _ => {
                        let Some((tag, after)) = EntityTag::take(rest) else { return false };
                        if matches(&tag) {
                            return true;
                        }
                        after
                    }
                };
            }
        })
    }

    /// The tag that `text` begins with, and what is after it.
    pub(crate) fn take(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match text {
            [b'W', b'/', quoted @ ..] => (true, quoted),
            quoted => (false, quoted),
        };
        let [b'"', inside @ ..] = quoted else { return None };
        let end = inside.iter().position(|byte| *byte == b'"')?;
        Some((Self { weak, opaque: &inside[..end] }, &inside[end + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_quoted_and_may_be_weak() {
        assert_eq!(EntityTag::parse(b"\"a,b\""), Some(EntityTag { weak: false, opaque: b"a,b" }));
        assert_eq!(EntityTag::parse(b" W/\"\" "), Some(EntityTag { weak: true, opaque: b"" }));
        for none in ["a", "\"a", "w/\"a\"", "\"a\"b", ""] {
            assert_eq!(EntityTag::parse(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_bodys_tag_tells_other_bytes_and_other_types_apart() {
        let (mut text, html) = (HeaderMap::new(), HeaderMap::new());
        text.insert("content-type", HeaderValue::from_static("text/plain"));
        let tag = EntityTag::of_body(&text, b"a");
        assert_eq!(tag, EntityTag::of_body(&text, b"a"));
        assert_ne!(tag, EntityTag::of_body(&text, b"b"));
        assert_ne!(tag, EntityTag::of_body(&html, b"a"));
        assert!(!EntityTag::parse(tag.as_bytes()).unwrap().is_weak());
    }
}
