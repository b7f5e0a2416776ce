//! Extractors: axum's, with rejections as problem details, and what the pipeline knows of a request.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request, rejection};
use axum::response::{IntoResponse, Response};
use covet_core::problem::Problem;
use covet_telemetry::request;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::routing::parameters::{self, ParameterError};

/// Room for the JSON of a small answer.
const JSON_ROOM: usize = 128;
const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON body, in or out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T>(pub T);

/// The parameters of the path.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

/// The query string.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

/// The client's address: the peer's, or what a trusted proxy says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::new(json_problem(&rejection))),
        }
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // By hand: axum's own first says that the bytes are of no known type, then that they are JSON.
        let mut text = Vec::with_capacity(JSON_ROOM);
        match serde_json::to_writer(&mut text, &self.0) {
            Ok(()) => {
                let mut response = Response::new(Body::from(text));
                response.headers_mut().insert(header::CONTENT_TYPE, APPLICATION_JSON);
                response
            }
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        if let Some(matched) = parameters::current() {
            return match matched.read(parts.uri.path()) {
                Ok(value) => Ok(Self(value)),
                Err(ParameterError::Value(reason)) => Err(Error::not_found().detail(reason)),
                Err(error) => Err(Error::internal(error)),
            };
        }
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            // A path that does not parse names nothing that exists.
            Err(rejection) if rejection.status().is_client_error() => {
                Err(Error::not_found().detail(rejection.body_text()))
            }
            Err(rejection) => Err(Error::internal(rejection)),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Error::bad_request(rejection.body_text())),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Error;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Error> {
        request::current(|scope| Self(scope.client())).ok_or_else(outside_pipeline)
    }
}

fn outside_pipeline() -> Error {
    Error::new(Problem::new(500).detail("This extractor works inside Covet's pipeline only."))
}

fn json_problem(rejection: &rejection::JsonRejection) -> Problem {
    // axum says 422 for JSON of the wrong shape, 400 for text that is not JSON, 415 for another content type,
    // 413 for a body over the limit.
    let problem = Problem::new(rejection.status().as_u16());
    match wrong_field(rejection) {
        Some((field, reason)) => {
            problem.detail("Some fields are not valid.").field(cut_short(field), cut_short(reason))
        }
        None => problem.detail(cut_short(rejection.body_text())),
    }
}

/// The reader of JSON repeats what it did not accept. Nobody gets an answer as large as what they have sent.
fn cut_short(mut text: String) -> String {
    const LONGEST_CHARACTERS: usize = 500;
    if let Some((end, _)) = text.char_indices().nth(LONGEST_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Which field was not accepted and why, when the body is JSON of the wrong shape.
fn wrong_field(rejection: &rejection::JsonRejection) -> Option<(String, String)> {
    let rejection::JsonRejection::JsonDataError(error) = rejection else { return None };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<serde_path_to_error::Error<serde_json::Error>>() {
            let field = error.path().to_string();
            return (field != ".").then(|| (field, error.inner().to_string()));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Order {
        #[expect(dead_code, reason = "only its shape matters")]
        items: Vec<u32>,
    }

    async fn refusal(body: impl Into<Body>) -> Problem {
        let mut request = Request::new(body.into());
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Json::<Order>::from_request(request, &()).await.unwrap_err().problem().clone()
    }

    #[tokio::test]
    async fn a_wrong_field_is_named() {
        let problem = refusal(r#"{"items": [1, "two"]}"#).await;
        assert_eq!((problem.status, problem.errors[0].field.as_ref()), (422, "items[1]"));
        assert!(problem.errors[0].detail.contains("invalid type: string"), "{problem:?}");
    }

    #[tokio::test]
    async fn what_is_no_json_or_lacks_a_field_is_told_as_a_whole() {
        let broken = refusal("{").await;
        assert_eq!((broken.status, broken.errors.len()), (400, 0));
        let lacking = refusal("{}").await;
        assert_eq!(lacking.status, 422);
        assert!(lacking.detail.unwrap().contains("missing field `items`"));
    }

    #[tokio::test]
    async fn what_was_not_accepted_is_repeated_in_part_only() {
        for body in [format!("{{\"items\": \"{}\"}}", "ä".repeat(9_000)), format!("\"{}\"", "a".repeat(9_000))] {
            let problem = refusal(body).await;
            let told: usize = problem.errors.iter().map(|error| error.detail.len()).sum();
            assert!(told + problem.detail.unwrap().len() < 2_000, "{told}");
        }
    }
}
