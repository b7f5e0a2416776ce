//! Types of values as OpenTelemetry writes them: milliseconds without a unit, lists of `name=value`.

use std::fmt;
use std::time::Duration;

use covet_core::secret::{ExposeSecret, SecretString};
use covet_core::settings::Value;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A duration, written as a whole number of milliseconds. With a unit (`10s`) it is read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milliseconds(Duration);

impl Milliseconds {
    /// The duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl Value for Milliseconds {
    fn type_name() -> String {
        "milliseconds".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let milliseconds = text.trim().parse().map(Duration::from_millis);
        let duration = milliseconds.or_else(|_| Duration::parse(text)).map_err(|_| {
            format!("expected milliseconds as a whole number, such as 10000, or a duration such as 10s, got {text:?}")
        })?;
        Ok(Self(duration))
    }

    fn show(&self) -> String {
        self.0.as_millis().to_string()
    }

    fn example() -> Option<String> {
        Some("10000".to_owned())
    }
}

/// `name=value` pairs, separated by commas; values are percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValues(Vec<(String, String)>);

impl KeyValues {
    /// Names and values, decoded.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What [`pairs`] reads back: everything that has a meaning in the list, and what is no visible ASCII character.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'/').remove(b':');

impl Value for KeyValues {
    fn type_name() -> String {
        "name=value list".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        pairs(text).map(Self).map_err(|item| {
            format!("item {item}: expected name=value with a percent-encoded value, such as k8s.pod.name=shop-7d4f")
        })
    }

    fn show(&self) -> String {
        let show = |(name, value): &(String, String)| format!("{name}={}", utf8_percent_encode(value, &ESCAPED));
        self.0.iter().map(show).collect::<Vec<_>>().join(",")
    }

    fn example() -> Option<String> {
        Some("service.namespace=shop".to_owned())
    }
}

/// Headers with secrets in them. Neither shown nor printed.
#[derive(Clone)]
pub struct Headers(Vec<(String, SecretString)>);

impl Headers {
    /// Names in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Value for Headers {
    const SECRET: bool = true;

    fn type_name() -> String {
        "name=value list".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected name=value, separated by commas, with percent-encoded values";
        let pairs = pairs(text).map_err(|_| expected.to_owned())?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let visible = |byte: u8| (b' '..=b'~').contains(&byte);
        if pairs.iter().any(|(name, value)| !name.bytes().all(token) || !value.bytes().all(visible)) {
            return Err(format!("{expected}; names and values must be fit for an HTTP header"));
        }
        let headers = pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into()));
        Ok(Self(headers.collect()))
    }

    fn show(&self) -> String {
        let show = |(name, value): (&str, &str)| format!("{name}={}", utf8_percent_encode(value, &ESCAPED));
        self.iter().map(show).collect::<Vec<_>>().join(",")
    }

    fn example() -> Option<String> {
        Some("api-key=%3Ckey%3E".to_owned())
    }
}

/// The pairs of a list, as W3C Baggage writes them: spaces around names and values do not count. The error is the
/// number of the item that is no pair, counted from 1.
fn pairs(text: &str) -> Result<Vec<(String, String)>, usize> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((name.trim().to_owned(), value.into_owned())).filter(|(name, _)| !name.is_empty())
    };
    let items = text.split(',').map(str::trim).enumerate().filter(|(_, item)| !item.is_empty());
    items.map(|(index, item)| pair(item).ok_or(index + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_read_with_and_without_a_unit() {
        assert_eq!(Milliseconds::parse("10000").unwrap().duration(), Duration::from_secs(10));
        assert_eq!(Milliseconds::parse("10s").unwrap().show(), "10000");
        let reason = Milliseconds::parse("soon").unwrap_err();
        assert!(reason.starts_with("expected milliseconds as a whole number"), "{reason}");
    }

    #[test]
    fn pairs_are_decoded_and_shown_as_they_are_read() {
        let attributes = KeyValues::parse(" service.namespace = shop , k8s.pod.name=a%2Cb%3D%C3%A9,").unwrap();
        let found: Vec<_> = attributes.iter().collect();
        assert_eq!(found, [("service.namespace", "shop"), ("k8s.pod.name", "a,b=é")]);
        assert_eq!(KeyValues::parse(&attributes.show()), Ok(attributes));
        let reason = KeyValues::parse("a=1,b").unwrap_err();
        assert!(reason.starts_with("item 2: expected name=value"), "{reason}");
    }

    #[test]
    fn headers_are_not_printed_and_must_be_fit_for_http() {
        let headers = Headers::parse("Api-Key=s%20ecret,tenant=shop").unwrap();
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("api-key", "s ecret"), ("tenant", "shop")]);
        assert!(!format!("{headers:?}").contains("ecret"));
        for wrong in ["api key=x", "a=x%0Ay", "a=%C3%A9", "secret"] {
            let reason = Headers::parse(wrong).unwrap_err();
            assert!(reason.starts_with("expected name=value"), "{reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
