//! Under which name a response is kept: host, path and query as they came, then what else tells its variants apart.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Uri};
use sha2::{Digest as _, Sha256};

/// Longest path and query whose responses are kept, in bytes. Longer ones are mostly made up by somebody.
const LONGEST_PATH: usize = 2_048;
/// Longest host, which is no longer than a domain name and a port.
const LONGEST_HOST: usize = 261;

/// The URI of a request: its host in lower case, its path and its query. The scheme is not in it: a response that
/// depends on that varies by `X-Forwarded-Proto`. `None` when it is longer than what is kept.
pub(super) fn uri(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    uri_of(host(uri, headers)?, uri.path_and_query().map_or("/", PathAndQuery::as_str))
}

/// The host that a request is for. `None` when it is no text.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        None => Some(uri.authority().map_or("", |authority| authority.as_str())),
    }
}

/// The same for another path of the host.
pub(super) fn uri_of(host: &str, path: &str) -> Option<String> {
    if path.len() > LONGEST_PATH || host.len() > LONGEST_HOST {
        return None;
    }
    let mut uri = String::with_capacity(host.len() + path.len());
    uri.push_str(host);
    uri.make_ascii_lowercase();
    uri.push_str(path);
    Some(uri)
}

/// Adds the caller, and what the request says in these headers, as a hash. A URI has no `#`.
pub(super) fn with_choice(uri: &str, caller: Option<&str>, names: &[HeaderName], headers: &HeaderMap) -> String {
    let mut hash = Sha256::new();
    if let Some(caller) = caller {
        hash.update(caller.len().to_le_bytes());
        hash.update(caller);
    }
    for name in names {
        select(&mut hash, name, headers);
    }
    appended(uri, '#', &hash.finalize()[..16])
}

/// The name of one variant.
pub(super) fn of_variant(name: &str, selected: &[u8]) -> String {
    appended(name, '|', selected)
}

/// The hash of what a request says in these headers.
pub(super) fn selected(names: &[HeaderName], headers: &HeaderMap) -> Bytes {
    let mut hash = Sha256::new();
    for name in names {
        select(&mut hash, name, headers);
    }
    Bytes::copy_from_slice(&hash.finalize()[..16])
}

fn appended(name: &str, sign: char, hash: &[u8]) -> String {
    let mut longer = String::with_capacity(name.len() + 1 + 2 * hash.len());
    longer.push_str(name);
    longer.push(sign);
    for byte in hash {
        // Writing to a String does not fail.
        let _ = write!(longer, "{byte:02x}");
    }
    longer
}

/// Adds a header's values: lines joined as RFC 9110 §5.2 does, without the spaces around commas, and in lower case
/// where case means nothing.
fn select(hash: &mut Sha256, name: &HeaderName, headers: &HeaderMap) {
    let any_case = *name == ACCEPT_LANGUAGE || *name == ACCEPT_ENCODING;
    hash.update(name.as_str());
    for value in headers.get_all(name) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            hash.update(b",");
            let part = part.trim_ascii();
            if any_case { hash.update(part.to_ascii_lowercase()) } else { hash.update(part) }
        }
    }
    hash.update([0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(address: &str, host: Option<&str>) -> Option<String> {
        let headers = host.map(|host| (HOST, host.parse().unwrap())).into_iter().collect();
        uri(&address.parse().unwrap(), &headers)
    }

    #[test]
    fn hosts_paths_and_queries_are_kept_apart() {
        assert_eq!(named("/a?b=1&a=2", Some("Shop.Example:80")).unwrap(), "shop.example:80/a?b=1&a=2");
        assert_eq!(named("https://shop.example/A", None).unwrap(), "shop.example/A");
        assert_ne!(named("/a?x=1&y=2", None), named("/a?y=2&x=1", None));
        assert_eq!(named(&format!("/{}", "x".repeat(3_000)), None), None);
    }

    #[test]
    fn selecting_headers_are_compared_by_what_they_mean() {
        let said = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            selected(&[ACCEPT_LANGUAGE, HeaderName::from_static("foo")], &headers)
        };
        assert_eq!(said(&[("foo", "1, 2")]), said(&[("foo", "1"), ("foo", "2")]));
        assert_eq!(said(&[("accept-language", "en, DE")]), said(&[("accept-language", " EN ,de")]));
        assert_ne!(said(&[("foo", "a")]), said(&[("foo", "A")]));
        assert_ne!(said(&[("foo", "")]), said(&[]), "empty is not absent");
        assert_ne!(said(&[("foo", "1,2")]), said(&[("foo", "12")]));
    }

    #[test]
    fn a_caller_is_not_readable_in_the_name_and_has_it_alone() {
        let name = |caller| with_choice("h/a", Some(caller), &[], &HeaderMap::new());
        assert_ne!(name("1"), name("2"));
        assert!(!name("anna@example.org").contains("anna"));
        assert_ne!(name(""), with_choice("h/a", None, &[], &HeaderMap::new()));
    }
}
