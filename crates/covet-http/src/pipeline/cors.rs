//! Calls from pages of other origins: tower-http's layer, entered only for requests that carry `Origin`.

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

#[derive(Clone)]
pub(super) struct Cors {
    layer: CorsLayer,
    /// Whether an answer is another for another origin.
    by_origin: bool,
}

impl Cors {
    /// `None` when no other origin may call.
    pub(super) fn new(settings: &CorsSettings) -> Result<Option<Self>, InvalidCors> {
        if settings.allowed_origins.is_empty() {
            return Ok(None);
        }
        let for_all = settings.allowed_origins.iter().any(|origin| origin == "*");
        let origins = if for_all {
            if settings.credentials {
                return Err(InvalidCors::CredentialsForAll);
            }
            AllowOrigin::any()
        } else {
            AllowOrigin::list(parse(
                &settings.allowed_origins,
                "ALLOWED_ORIGINS",
                "an origin such as https://app.example",
                |origin| {
                    let is_origin =
                        origin.split_once("://").is_some_and(|(_, rest)| !rest.is_empty() && !rest.contains('/'));
                    is_origin.then(|| HeaderValue::from_str(origin).ok()).flatten()
                },
            )?)
        };
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
        Ok(Some(Self { layer, by_origin: !for_all }))
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
        Some(self.answer(bare, Response::default()))
    }

    /// Adds the headers that let the page of `origin` read the response.
    pub(super) fn allow(&self, origin: HeaderValue, response: Response) -> Response {
        let mut bare = Request::new(());
        bare.headers_mut().insert(header::ORIGIN, origin);
        self.answer(bare, response)
    }

    /// Tells caches that the answer would be another for the page of an allowed origin. Also, and above all, on an answer to
    /// a request without `Origin`: else a cache would give it to that page, whose browser would refuse it.
    pub(super) fn vary(&self, headers: &mut HeaderMap) {
        if self.by_origin {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    fn answer(&self, request: Request<()>, response: Response) -> Response {
        let mut response = Some(response);
        let inner = service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap_or_default()))
        });
        match self.layer.layer(inner).call(request).now_or_never() {
            Some(Ok(response)) => response,
            Some(Err(never)) => match never {},
            // The inner answer is ready, so the layer's is.
            None => Response::default(),
        }
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
        let response = cors.allow(HeaderValue::from_static("https://app.example"), Response::default());
        assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
    }

    #[test]
    fn caches_keep_answers_apart_where_they_differ_by_origin() {
        let varied = |origins: &[&str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::VARY, HeaderValue::from_static("accept"));
            cors(origins, false).unwrap().unwrap().vary(&mut headers);
            headers.get_all(header::VARY).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(varied(&["https://app.example"]), ["accept", "origin"]);
        assert_eq!(varied(&["*"]), ["accept"]);
    }

    #[test]
    fn credentials_for_every_origin_and_malformed_origins_are_refused() {
        assert_eq!(cors(&["*"], true).err(), Some(InvalidCors::CredentialsForAll));
        assert!(matches!(cors(&["app.example"], false), Err(InvalidCors::Value { variable: "ALLOWED_ORIGINS", .. })));
        assert!(cors(&[], false).unwrap().is_none());
    }
}
