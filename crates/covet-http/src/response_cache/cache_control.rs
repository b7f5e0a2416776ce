//! The directives of `Cache-Control`: RFC 9111 §5.2, RFC 5861 for the `stale-…` ones. Names of any case, values plain
//! or quoted.
//!
//! Where a header can be read in two ways, it is read in the way that keeps less.

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderValue};

/// What a response says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    /// Whether there is a `Cache-Control` at all.
    pub(super) present: bool,
    pub(super) no_store: bool,
    pub(super) private: bool,
    pub(super) no_cache: bool,
    /// `must-revalidate` or `proxy-revalidate`.
    pub(super) must_revalidate: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
}

/// What a request says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RequestDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// `u64::MAX` without a value: however stale.
    pub(super) max_stale: Option<u64>,
}

impl ResponseDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        for value in headers.get_all(CACHE_CONTROL) {
            said.present = true;
            let whole = each_directive(value, |name, value| match name {
                b"no-store" => said.no_store = true,
                // With field names only these are private; nothing here keeps half a response.
                b"private" => said.private = true,
                b"no-cache" => said.no_cache = true,
                b"must-revalidate" | b"proxy-revalidate" => said.must_revalidate = true,
                b"max-age" => shorter(&mut said.max_age, value),
                b"s-maxage" => shorter(&mut said.s_maxage, value),
                b"stale-while-revalidate" => shorter(&mut said.stale_while_revalidate, value),
                b"stale-if-error" => shorter(&mut said.stale_if_error, value),
                _ => {}
            });
            // Nobody knows what an open quote has swallowed.
            said.no_store |= !whole;
        }
        said
    }
}

impl RequestDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut said = Self::default();
        let mut present = false;
        for value in headers.get_all(CACHE_CONTROL) {
            present = true;
            each_directive(value, |name, value| match name {
                b"no-store" => said.no_store = true,
                b"no-cache" => said.no_cache = true,
                b"only-if-cached" => said.only_if_cached = true,
                b"max-age" => shorter(&mut said.max_age, value),
                b"min-fresh" => said.min_fresh = said.min_fresh.max(value.and_then(seconds)),
                b"max-stale" => match value {
                    Some(_) => shorter(&mut said.max_stale, value),
                    None => said.max_stale = said.max_stale.or(Some(u64::MAX)),
                },
                _ => {}
            });
        }
        if !present && let Some(value) = headers.get(PRAGMA) {
            each_directive(value, |name, _| said.no_cache |= name == b"no-cache");
        }
        said
    }
}

/// Of several values the shortest counts, and one that is no number counts as 0: stale at once (RFC 9111 §4.2.1).
fn shorter(kept: &mut Option<u64>, value: Option<&[u8]>) {
    let new = value.and_then(seconds).unwrap_or(0);
    *kept = Some(kept.map_or(new, |kept| kept.min(new)));
}

/// Digits. More than fit are the most there are.
fn seconds(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// Longest name that means anything here: `stale-while-revalidate`.
const LONGEST_NAME: usize = 22;

/// Calls `directive` with each name in lower case and its value without quotes. False when a quote is left open.
fn each_directive(header: &HeaderValue, mut directive: impl FnMut(&[u8], Option<&[u8]>)) -> bool {
    let mut rest = header.as_bytes();
    let mut lower = [0; LONGEST_NAME];
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'=')).unwrap_or(rest.len());
        let name = rest[..end].trim_ascii();
        let has_value = rest.get(end) == Some(&b'=');
        rest = &rest[(end + 1).min(rest.len())..];
        let mut value = None;
        if has_value {
            rest = rest.trim_ascii_start();
            if let [b'"', inside @ ..] = rest {
                let Some(close) = closing_quote(inside) else { return false };
                value = Some(&inside[..close]);
                rest = &inside[close + 1..];
                let comma = rest.iter().position(|byte| *byte == b',').map_or(rest.len(), |comma| comma + 1);
                rest = &rest[comma..];
            } else {
                let comma = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
                value = Some(rest[..comma].trim_ascii());
                rest = &rest[(comma + 1).min(rest.len())..];
            }
        }
        if let Some(place) = lower.get_mut(..name.len()) {
            place.copy_from_slice(name);
            place.make_ascii_lowercase();
            directive(place, value);
        }
    }
    true
}

/// Where a quoted string ends; a backslash takes the meaning from what follows.
fn closing_quote(inside: &[u8]) -> Option<usize> {
    let mut escaped = false;
    inside.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[&str]) -> ResponseDirectives {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        ResponseDirectives::of(&headers)
    }

    #[test]
    fn names_have_any_case_and_values_may_be_quoted() {
        let said = response(&["MaX-aGe=60 ,PUBLIC", "S-MAXAGE=\"120\", No-Store"]);
        assert_eq!((said.max_age, said.s_maxage, said.no_store), (Some(60), Some(120), true));
        assert_eq!(response(&["max-age=003600"]).max_age, Some(3600));
        assert_eq!(response(&["max-age=99999999999999999999999"]).max_age, Some(u64::MAX));
    }

    #[test]
    fn what_is_inside_quotes_is_no_directive() {
        assert_eq!(response(&["extension=\"max-age=3600\", max-age=1"]).max_age, Some(1));
        let said = response(&["private=\"set-cookie, no-store\", no-cache=\"a\\\"b, no-store\", max-age=5"]);
        assert_eq!((said.private, said.no_cache, said.no_store, said.max_age), (true, true, false, Some(5)));
    }

    #[test]
    fn what_is_not_clear_keeps_less() {
        for unclear in ["max-age=-60", "max-age='60'", "max-age=60.5", "max-age=a60", "max-age", "max-age="] {
            assert_eq!(response(&[unclear]).max_age, Some(0), "{unclear}");
        }
        assert_eq!(response(&["max-age=1800, max-age=1"]).max_age, Some(1));
        assert_eq!(response(&["max-age=1", "max-age=1800"]).max_age, Some(1));
        assert!(response(&["private=\"x, max-age=60"]).no_store);
    }

    #[test]
    fn a_request_may_want_it_fresh_or_take_it_stale() {
        let request =
            |line: &str| RequestDirectives::of(&HeaderMap::from_iter([(CACHE_CONTROL, line.parse().unwrap())]));
        assert_eq!(request("max-stale").max_stale, Some(u64::MAX));
        assert_eq!(request("max-stale=5").max_stale, Some(5));
        assert_eq!(request("min-fresh=x").min_fresh, None);
        let said = request("no-cache, only-if-cached, max-age=0");
        assert!(said.no_cache && said.only_if_cached && said.max_age == Some(0));
        let pragma = HeaderMap::from_iter([(PRAGMA, "No-Cache".parse().unwrap())]);
        assert!(RequestDirectives::of(&pragma).no_cache);
    }
}
