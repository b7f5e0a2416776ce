//! Headers that go out on every response, errors included: the request's id, what tells browsers what not to do, and what
//! answers vary by.
//!
//! They are copied from a prepared map, which is cheaper than putting in one after the other. The map has a place for the
//! id, one for the handler's `Content-Type`, which nearly every response has, and those of the rate limits' fields.

use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::X_REQUEST_ID;
use crate::rate_limit::{MOST_FIELDS, Values};
use crate::settings;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Headers that a response may have before its map has to grow.
const ROOM: usize = 24;
/// What stands in a place until a response fills it.
const UNFILLED: HeaderValue = HeaderValue::from_static("");
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

/// The headers of a preset, ready to be copied. The first is the place of the id, the second that of the content type; those
/// of the limits come next.
#[derive(Clone)]
pub(super) struct SecurityHeaders {
    http: HeaderMap,
    https: HeaderMap,
    limits: &'static [HeaderName],
}

impl SecurityHeaders {
    /// `vary`: what all answers vary by. `limits`: the fields of the rate limits.
    pub(super) fn new(
        preset: settings::SecurityHeaders,
        vary: Option<HeaderValue>,
        limits: &'static [HeaderName],
    ) -> Self {
        let preset = match preset {
            settings::SecurityHeaders::Documented => &DOCUMENTED[..],
            settings::SecurityHeaders::Strict => &STRICT,
            settings::SecurityHeaders::Off => &[],
        };
        // With room for what handlers add: a map that grows is built anew.
        let mut http = HeaderMap::with_capacity(ROOM);
        http.insert(X_REQUEST_ID, UNFILLED);
        http.insert(CONTENT_TYPE, UNFILLED);
        http.extend(limits.iter().map(|name| (name.clone(), UNFILLED)));
        http.extend(preset.iter().cloned());
        http.extend(vary.map(|value| (VARY, value)));
        let mut https = http.clone();
        if !preset.is_empty() {
            https.insert(STRICT_TRANSPORT_SECURITY, HSTS);
        }
        Self { http, https, limits }
    }

    /// Adds the id, how the client stands with the limits, and what the handler did not set itself. `https`: browsers ignore
    /// HSTS over plain HTTP, so it is not sent.
    pub(super) fn add(&self, headers: &mut HeaderMap, id: &[u8], https: bool, limits: Values) {
        let template = if https { &self.https } else { &self.http };
        let handlers = std::mem::replace(headers, template.clone());
        let has_limits = limits[0].is_some();
        // In the order of the template: no name is looked up.
        let [first, second, third] = limits;
        let values: [_; 2 + MOST_FIELDS] = [HeaderValue::from_bytes(id).ok(), None, first, second, third];
        for (place, value) in headers.values_mut().zip(values.into_iter().take(2 + self.limits.len())) {
            if let Some(value) = value {
                *place = value;
            }
        }
        if !has_limits {
            self.limits.iter().for_each(|name| drop(headers.remove(name)));
        }
        let mut content_type = None;
        let mut name_before = None;
        for (name, value) in handlers {
            match (name, &name_before) {
                (Some(name), _) if name == CONTENT_TYPE => {
                    content_type = Some(value);
                    name_before = Some(name);
                }
                (Some(name), _) if name == X_REQUEST_ID => name_before = None,
                (Some(name), _) if has_limits && self.limits.contains(&name) => name_before = None,
                (Some(name), _) if name == VARY => {
                    headers.append(name.clone(), value);
                    name_before = Some(name);
                }
                (Some(name), _) => {
                    headers.insert(name.clone(), value);
                    name_before = Some(name);
                }
                // Further values of the same header come without its name.
                (None, Some(name)) => {
                    headers.append(name, value);
                }
                (None, None) => {}
            }
        }
        match (content_type, headers.values_mut().nth(1)) {
            (Some(value), Some(place)) => *place = value,
            _ => drop(headers.remove(CONTENT_TYPE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMITS: Values = [None, None, None];
    static LIMITS: [HeaderName; 2] =
        [HeaderName::from_static("ratelimit"), HeaderName::from_static("ratelimit-policy")];

    #[test]
    fn a_handlers_own_header_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
        SecurityHeaders::new(settings::SecurityHeaders::Documented, None, &[]).add(
            &mut headers,
            b"id-1",
            false,
            NO_LIMITS,
        );
        assert_eq!(headers["content-security-policy"], "default-src 'none'");
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
        assert!(!headers.contains_key("strict-transport-security"));
        assert!(!headers.contains_key("content-type"));
    }

    #[test]
    fn a_header_with_several_values_keeps_them() {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", HeaderValue::from_static("a=1"));
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        headers.append("vary", HeaderValue::from_static("origin"));
        SecurityHeaders::new(settings::SecurityHeaders::Documented, None, &[]).add(
            &mut headers,
            b"id-1",
            false,
            NO_LIMITS,
        );
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(headers["vary"], "origin");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }

    #[test]
    fn a_handlers_vary_is_added_to_the_one_of_all_answers() {
        let mut headers = HeaderMap::new();
        headers.insert("vary", HeaderValue::from_static("accept"));
        let vary = Some(HeaderValue::from_static("origin"));
        SecurityHeaders::new(settings::SecurityHeaders::Off, vary, &[]).add(&mut headers, b"id-1", false, NO_LIMITS);
        assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), ["origin", "accept"]);
    }

    #[test]
    fn hsts_goes_out_over_https_only_and_off_means_off() {
        let mut headers = HeaderMap::new();
        SecurityHeaders::new(settings::SecurityHeaders::Strict, None, &[]).add(&mut headers, b"id-1", true, NO_LIMITS);
        assert_eq!(headers["strict-transport-security"], "max-age=31536000; includeSubDomains; preload");
        let mut none = HeaderMap::new();
        SecurityHeaders::new(settings::SecurityHeaders::Off, None, &[]).add(&mut none, b"id-1", true, NO_LIMITS);
        assert_eq!(none.len(), 1);
        assert_eq!(none["x-request-id"], "id-1");
    }

    #[test]
    fn the_handlers_content_type_and_the_requests_id_take_their_places() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_static("the handler's"));
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        headers.append("content-type", HeaderValue::from_static("text/html"));
        SecurityHeaders::new(settings::SecurityHeaders::Documented, None, &[]).add(
            &mut headers,
            b"id-1",
            false,
            NO_LIMITS,
        );
        assert_eq!(headers.get_all("x-request-id").iter().collect::<Vec<_>>(), ["id-1"]);
        assert_eq!(headers.get_all("content-type").iter().collect::<Vec<_>>(), ["text/plain", "text/html"]);
    }

    #[test]
    fn how_a_client_stands_takes_its_places_and_leaves_none_empty() {
        let with = |values: [Option<&'static str>; 3], own: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static("text/plain"));
            headers.extend(own.map(|value| (LIMITS[0].clone(), HeaderValue::from_static(value))));
            let values = values.map(|value| value.map(HeaderValue::from_static));
            SecurityHeaders::new(settings::SecurityHeaders::Documented, None, &LIMITS).add(
                &mut headers,
                b"id-1",
                false,
                values,
            );
            assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
            assert_eq!(headers["content-type"], "text/plain");
            let value = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            (value(&LIMITS[0]), value(&LIMITS[1]))
        };
        let both = (Some("r=1".to_owned()), Some("q=2".to_owned()));
        assert_eq!(with([Some("r=1"), Some("q=2"), None], None), both);
        assert_eq!(with([Some("r=1"), Some("q=2"), None], Some("the handler's")), both);
        assert_eq!(with([None, None, None], None), (None, None));
        assert_eq!(
            with([None, None, None], Some("of a service behind")),
            (Some("of a service behind".to_owned()), None)
        );
    }
}
