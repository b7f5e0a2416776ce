//! Keeps pages of other origins from changing something with a session's cookie, which the browser sends along by
//! itself (cross-site request forgery), and from logging their visitors in as somebody else.
//!
//! `SameSite` keeps other *sites* out; a neighbouring host of the same site it lets in. So a request that may change
//! something is taken with a cookie only when its browser says that our own page has sent it: `Sec-Fetch-Site` (every
//! browser since 2023) or, without that, an `Origin` that is our own `Host`. A program such as curl sends neither, and
//! no page can make a browser leave both away. The rules are those of Go's `http.CrossOriginProtection`, whose design
//! note weighs the alternatives (<https://words.filippo.io/csrf/>). A WebSocket's handshake is a `GET`, and counts as a
//! change here: browsers let every page open one.
//!
//! Requests that bring a token in `Authorization` do not pass here: no browser adds that by itself.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, Method, Uri, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Other origins whose pages are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct TrustedOrigins(Vec<String>);

/// The page that sent the request is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherOrigin;

impl TrustedOrigins {
    pub(super) fn new(origins: &[String]) -> Self {
        Self(origins.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// Whether a cookie that comes with this request may be believed.
    pub(super) fn check(&self, parts: &Parts) -> Result<(), OtherOrigin> {
        if is_safe(parts) {
            return Ok(());
        }
        let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let (site, origin) = (text(SEC_FETCH_SITE), text(header::ORIGIN));
        if origin.is_some_and(|origin| self.0.iter().any(|trusted| origin.eq_ignore_ascii_case(trusted))) {
            return Ok(());
        }
        let is_ours = match (site, origin) {
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => is_own(origin, parts),
            (None, None) => true,
        };
        if is_ours { Ok(()) } else { Err(OtherOrigin) }
    }
}

/// Whether the request changes nothing (RFC 9110 §9.2.1).
fn is_safe(parts: &Parts) -> bool {
    let opens_socket = parts.headers.contains_key(header::UPGRADE) || parts.method == Method::CONNECT;
    matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) && !opens_socket
}

/// Whether an origin is this host, by what the request calls us. `Host` does not tell the scheme: that plain HTTP is
/// not believed here is `__Host-`'s and HSTS' business.
fn is_own(origin: &str, parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(Authority::as_str));
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

/// Whether a setting is an origin: `https://app.example.com`, `http://localhost:3000`.
pub(super) fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    // A URI without a path is read as one with `/`.
    scheme && uri.authority().is_some_and(|authority| text.ends_with(authority.as_str()) && !text.contains(['@', '*']))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn ask(method: &str, headers: &[(&str, &str)]) -> Result<(), OtherOrigin> {
        let mut request = Request::builder().method(method).uri("/api/notes").header("host", "api.example:8443");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        TrustedOrigins::new(&["https://App.example".to_owned()]).check(&parts)
    }

    #[test]
    fn our_own_pages_programs_and_trusted_origins_may_change_something() {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://api.example:8443")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://API.example:8443")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://app.example")],
            &[("origin", "https://app.example")],
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
                assert_eq!(ask(method, headers), Ok(()), "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn pages_of_other_origins_may_not() {
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://blog.example")],
            &[("sec-fetch-site", "cross-site"), ("origin", "https://api.example:8443")],
            &[("origin", "https://evil.example")],
            &[("origin", "https://api.example")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("sec-fetch-site", "")],
            &[("origin", "https://app.example.evil.example")],
        ] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
                assert_eq!(ask(method, headers), Err(OtherOrigin), "{method} {headers:?}");
            }
        }
    }

    #[test]
    fn reading_is_free_and_opening_a_socket_is_not() {
        let cross_site = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert_eq!(ask(method, &cross_site), Ok(()), "{method}");
        }
        let socket = [&cross_site[..], &[("upgrade", "websocket")]].concat();
        assert_eq!(ask("GET", &socket), Err(OtherOrigin));
        assert_eq!(ask("GET", &[("upgrade", "websocket"), ("origin", "https://api.example:8443")]), Ok(()));
    }

    #[test]
    fn over_http_2_the_host_is_in_the_uri() {
        let request = Request::post("https://api.example/api/notes").header("origin", "https://api.example");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(TrustedOrigins::default().check(&parts), Ok(()));
    }

    #[test]
    fn an_origin_has_no_path_and_is_no_pattern() {
        for good in ["https://app.example", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["*", "null", "app.example", "https://app.example/", "https://*", "https://a@b", "ftp://a", ""] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
