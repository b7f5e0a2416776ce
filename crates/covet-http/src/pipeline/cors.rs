//! Calls from pages of other origins: what tower-http's layer says, which is asked once for each origin.

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower::{Layer, Service, service_fn};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::settings::CorsSettings;

/// The CORS settings hold something that is no origin, method or header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCors {
    /// Not a value of that kind.
    #[error("COVET_CORS__{variable}: {value:?} is not {expected}")]
    Value {
        /// Which setting.
        variable: &'static str,
        /// The value.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// Credentials for every origin would hand every site the user's account.
    #[error("COVET_CORS__CREDENTIALS=true needs named origins; COVET_CORS__ALLOWED_ORIGINS is *")]
    CredentialsForAll,
}

/// Which origin has the right to nothing that is allowed to listed ones: browsers send it for pages without an origin.
const NOBODY: HeaderValue = HeaderValue::from_static("null");

pub(super) struct Cors {
    layer: CorsLayer,
    listed: Vec<(HeaderValue, Headers)>,
    others: Headers,
    /// Whether an answer is another for another origin.
    by_origin: bool,
}

type Headers = Vec<(HeaderName, HeaderValue)>;

/// A worker's own copy: its values share no counter of references with those of other workers.
impl Clone for Cors {
    fn clone(&self) -> Self {
        let copy = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
        let headers = |of: &Headers| of.iter().map(|(name, value)| (name.clone(), copy(value))).collect();
        Self {
            layer: self.layer.clone(),
            listed: self.listed.iter().map(|(origin, of)| (origin.clone(), headers(of))).collect(),
            others: headers(&self.others),
            by_origin: self.by_origin,
        }
    }
}

impl Cors {
    /// `None` when no other origin may call.
    pub(super) fn new(settings: &CorsSettings) -> Result<Option<Self>, InvalidCors> {
        if settings.allowed_origins.is_empty() {
            return Ok(None);
        }
        let for_all = settings.allowed_origins.iter().any(|origin| origin == "*");
        if for_all && settings.credentials {
            return Err(InvalidCors::CredentialsForAll);
        }
        let listed: Vec<HeaderValue> = if for_all {
            Vec::new()
        } else {
            parse(&settings.allowed_origins, "ALLOWED_ORIGINS", "an origin such as https://app.example", |origin| {
                let is_origin =
                    origin.split_once("://").is_some_and(|(_, rest)| !rest.is_empty() && !rest.contains('/'));
                is_origin.then(|| HeaderValue::from_str(origin).ok()).flatten()
            })?
        };
        let origins = if for_all { AllowOrigin::any() } else { AllowOrigin::list(listed.clone()) };
        let methods: Vec<Method> =
            parse(&settings.allowed_methods, "ALLOWED_METHODS", "an HTTP method", |text| text.parse().ok())?;
        let header = |text: &str| text.parse::<HeaderName>().ok();
        let allowed: Vec<HeaderName> = parse(&settings.allowed_headers, "ALLOWED_HEADERS", "a header name", header)?;
        let exposed: Vec<HeaderName> = parse(&settings.exposed_headers, "EXPOSED_HEADERS", "a header name", header)?;
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers(allowed)
            .expose_headers(exposed)
            .allow_credentials(settings.credentials)
            .max_age(settings.max_age);
        let headers_for = |origin: HeaderValue| {
            let mut request = Request::new(());
            request.headers_mut().insert(header::ORIGIN, origin);
            let answer = ask(&layer, request);
            let headers = answer.headers().iter().map(|(name, value)| (name.clone(), value.clone()));
            // What answers vary by is on all of them: see `vary`.
            headers.filter(|(name, _)| name != header::VARY).collect()
        };
        let listed = listed.into_iter().map(|origin| (origin.clone(), headers_for(origin))).collect();
        let others = headers_for(NOBODY);
        Ok(Some(Self { layer, listed, others, by_origin: !for_all }))
    }

    /// The answer to a preflight; `None` when the request is none.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut bare = Request::new(());
        *bare.method_mut() = Method::OPTIONS;
        *bare.headers_mut() = headers.clone();
        Some(ask(&self.layer, bare))
    }

    /// Adds the headers that let the page of `origin` read the response.
    pub(super) fn allow(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let listed = self.listed.iter().find(|(listed, _)| listed == origin);
        for (name, value) in listed.map_or(&self.others, |(_, of)| of) {
            headers.insert(name, value.clone());
        }
    }

    /// What tells caches that the answer would be another for the page of an allowed origin. Also, and above all, on an
    /// answer to a request without `Origin`: else a cache would give it to that page, whose browser would refuse it.
    pub(super) fn vary(&self) -> Option<HeaderValue> {
        self.by_origin.then(|| HeaderValue::from_static("origin"))
    }
}

/// The layer's answer to a request, around an empty one.
fn ask(layer: &CorsLayer, request: Request<()>) -> Response {
    let inner = service_fn(|_: Request<()>| std::future::ready(Ok::<_, std::convert::Infallible>(Response::default())));
    match layer.layer(inner).call(request).now_or_never() {
        Some(Ok(response)) => response,
        Some(Err(never)) => match never {},
        // The inner answer is ready, so the layer's is.
        None => Response::default(),
    }
}

fn parse<T>(
    values: &[String],
    variable: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, InvalidCors> {
    values
        .iter()
        .map(|value| parse(value).ok_or_else(|| InvalidCors::Value { variable, value: value.clone(), expected }))
        .collect()
}

#[cfg(test)]
mod tests {
    use covet_core::environment::Environment;
    use covet_core::settings::Section;

    use super::*;

    fn cors(origins: &[&str], credentials: bool) -> Result<Option<Cors>, InvalidCors> {
        let mut settings = CorsSettings::defaults(Environment::Development);
        settings.allowed_origins = origins.iter().map(ToString::to_string).collect();
        settings.credentials = credentials;
        Cors::new(&settings)
    }

    fn preflight(origin: &'static str) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::OPTIONS;
        request.headers_mut().insert(header::ORIGIN, HeaderValue::from_static(origin));
        request.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        request
    }

    #[test]
    fn only_a_listed_origin_is_allowed() {
        let cors = cors(&["https://app.example"], true).unwrap().unwrap();
        let allowed = cors.preflight(&preflight("https://app.example")).unwrap();
        assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example");
        assert_eq!(allowed.headers()["access-control-allow-credentials"], "true");
        let denied = cors.preflight(&preflight("https://evil.example")).unwrap();
        assert!(!denied.headers().contains_key("access-control-allow-origin"));
        let answered = |origin| {
            let mut headers = HeaderMap::new();
            cors.clone().allow(&HeaderValue::from_static(origin), &mut headers);
            headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(answered("https://app.example").as_deref(), Some("https://app.example"));
        assert_eq!(answered("https://evil.example"), None);
        assert_eq!(answered("null"), None);
    }

    #[test]
    fn caches_keep_answers_apart_where_they_differ_by_origin() {
        let varied = |origins: &[&str]| cors(origins, false).unwrap().unwrap().vary();
        assert_eq!(varied(&["https://app.example"]).unwrap(), "origin");
        assert_eq!(varied(&["*"]), None);
    }

    #[test]
    fn credentials_for_every_origin_and_malformed_origins_are_refused() {
        assert_eq!(cors(&["*"], true).err(), Some(InvalidCors::CredentialsForAll));
        assert!(matches!(cors(&["app.example"], false), Err(InvalidCors::Value { variable: "ALLOWED_ORIGINS", .. })));
        assert!(cors(&[], false).unwrap().is_none());
    }
}
