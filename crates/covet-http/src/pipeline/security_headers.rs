//! Headers that tell browsers what not to do, on every response, errors included.

use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::settings;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Room for these headers and a handler's own without growing.
const ROOM: usize = 16;
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains; preload");

/// The documented values, word for word. `X-XSS-Protection` and the lax policies are kept for those who rely on
/// them; the strict preset is what OWASP advises today (Secure Headers Project).
static DOCUMENTED: [(HeaderName, HeaderValue); 6] = [
    (X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer-when-downgrade")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';",
        ),
    ),
    (PERMISSIONS_POLICY, HeaderValue::from_static("geolocation=(), microphone=(), camera=()")),
];

static STRICT: [(HeaderName, HeaderValue); 8] = [
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_XSS_PROTECTION, HeaderValue::from_static("0")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
    ),
    (PERMISSIONS_POLICY, HeaderValue::from_static("geolocation=(), microphone=(), camera=()")),
    (CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
];

/// The headers of a preset, ready to be copied: cheaper than putting in one after the other.
#[derive(Clone)]
pub(super) struct SecurityHeaders {
    http: HeaderMap,
    https: HeaderMap,
}

impl SecurityHeaders {
    pub(super) fn new(preset: settings::SecurityHeaders) -> Self {
        let preset = match preset {
            settings::SecurityHeaders::Documented => &DOCUMENTED[..],
            settings::SecurityHeaders::Strict => &STRICT,
            settings::SecurityHeaders::Off => &[],
        };
        let mut http = HeaderMap::with_capacity(ROOM);
        http.extend(preset.iter().cloned());
        let mut https = http.clone();
        if !preset.is_empty() {
            https.insert(STRICT_TRANSPORT_SECURITY, HSTS);
        }
        Self { http, https }
    }

    /// Adds what the handler did not set itself. `https`: browsers ignore HSTS over plain HTTP, so it is not sent.
    pub(super) fn add(&self, headers: &mut HeaderMap, https: bool) {
        let template = if https { &self.https } else { &self.http };
        let handlers = std::mem::replace(headers, template.clone());
        let mut last = None;
        for (name, value) in handlers {
            match (name, &last) {
                (Some(name), _) => {
                    headers.insert(name.clone(), value);
                    last = Some(name);
                }
                // Further values of the same header come without its name.
                (None, Some(name)) => {
                    headers.append(name, value);
                }
                (None, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handlers_own_header_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
        SecurityHeaders::new(settings::SecurityHeaders::Documented).add(&mut headers, false);
        assert_eq!(headers["content-security-policy"], "default-src 'none'");
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
        assert!(!headers.contains_key("strict-transport-security"));
    }

    #[test]
    fn a_header_with_several_values_keeps_them() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        headers.append("vary", HeaderValue::from_static("origin"));
        SecurityHeaders::new(settings::SecurityHeaders::Documented).add(&mut headers, false);
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(headers["vary"], "origin");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }

    #[test]
    fn hsts_goes_out_over_https_only_and_off_means_off() {
        let mut headers = HeaderMap::new();
        SecurityHeaders::new(settings::SecurityHeaders::Strict).add(&mut headers, true);
        assert_eq!(headers["strict-transport-security"], "max-age=31536000; includeSubDomains; preload");
        let mut none = HeaderMap::new();
        SecurityHeaders::new(settings::SecurityHeaders::Off).add(&mut none, true);
        assert!(none.is_empty());
    }
}
