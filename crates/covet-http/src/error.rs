//! An error that a handler returns, and the response it becomes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use axum::response::{IntoResponse, Response};
use covet_core::problem::{AsProblem, Problem};
use covet_telemetry::logging::backtrace::{self, LogBacktrace};
use covet_telemetry::request;
use http::{HeaderValue, StatusCode, header};
use tracing::field::display;

/// What a handler returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error for the caller: RFC 9457 problem details. The cause stays inside and goes to the log.
///
/// Any error enum that implements [`AsProblem`] becomes one with `?`. What is not meant for callers becomes a 500
/// with [`Error::internal`].
///
/// ```
/// use covet_http::{Error, Result};
///
/// async fn handler() -> Result<&'static str> {
///     Err(Error::not_found().detail("There is no such note."))
/// }
/// ```
#[derive(Debug)]
pub struct Error {
    problem: Box<Problem>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    exception_type: &'static str,
    /// Of an error that is the program's fault.
    backtrace: Option<LogBacktrace>,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

/// What `http_exceptions_total` counts a failed response under; the pipeline finds it in the response's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExceptionType(pub(crate) &'static str);

impl Error {
    /// A problem as it is.
    #[must_use]
    pub fn new(problem: Problem) -> Self {
        let backtrace = if problem.status == 500 { backtrace::capture() } else { None };
        Self { problem: Box::new(problem), source: None, exception_type: "Problem", backtrace, headers: Vec::new() }
    }

    /// A response with this status.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        Self::new(Problem::new(status.as_u16()))
    }

    /// 400: the request cannot be understood.
    #[must_use]
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::status(StatusCode::BAD_REQUEST).detail(detail)
    }

    /// 401: who asks is not known.
    #[must_use]
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::status(StatusCode::UNAUTHORIZED)
            .detail(detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: who asks may not.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::status(StatusCode::FORBIDDEN)
    }

    /// 404: it does not exist, or not for who asks.
    #[must_use]
    pub fn not_found() -> Self {
        Self::status(StatusCode::NOT_FOUND)
    }

    /// 409: it does not fit what is there.
    #[must_use]
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::status(StatusCode::CONFLICT).detail(detail)
    }

    /// 422: fields that are not valid, added with [`Error::field`].
    #[must_use]
    pub fn invalid() -> Self {
        Self::status(StatusCode::UNPROCESSABLE_ENTITY).detail("Some fields are not valid.")
    }

    /// 500 with a cause that only the log tells.
    #[must_use]
    pub fn internal<E: StdError + Send + Sync + 'static>(cause: E) -> Self {
        let mut error = Self::status(StatusCode::INTERNAL_SERVER_ERROR);
        error.exception_type = short_type_name::<E>();
        error.source = Some(Box::new(cause));
        error
    }

    /// Says what happened and what the caller can do.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.problem.detail = Some(detail.into());
        self
    }

    /// Adds a field that was not accepted.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        *self.problem = self.problem.field(field, detail);
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The problem that the caller gets.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.problem.status, self.problem.title)?;
        match &self.problem.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl<E: AsProblem + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let mut made = Self::new(error.problem());
        made.source = Some(Box::new(error));
        made.exception_type = short_type_name::<E>();
        made
    }
}

impl IntoResponse for Error {
    fn into_response(mut self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            self.log(status);
        }
        let mut response = problem_response(&mut self.problem, status);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response.extensions_mut().insert(ExceptionType(self.exception_type));
        response
    }
}

impl Error {
    fn log(&self, status: StatusCode) {
        let cause = self.source.as_deref().map(|cause| cause as &(dyn StdError + 'static));
        let (status_code, backtrace) = (status.as_u16(), self.backtrace.as_ref().map(display));
        match cause {
            Some(error) => {
                tracing::error!(error, exception_type = self.exception_type, status_code, backtrace, "request failed");
            }
            None => tracing::error!(detail = self.problem.detail.as_deref(), status_code, backtrace, "request failed"),
        }
    }
}

/// The response of a problem, with the id of the request at hand.
pub(crate) fn problem_response(problem: &mut Problem, status: StatusCode) -> Response {
    problem.request_id = request::current(|scope| scope.id().to_string());
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(after) = problem.retry_after {
        // Rounded up: who comes back before that would be turned away again.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// `covet_data::Error` → `covet_data::Error` without generic arguments: bounded by the program's types.
fn short_type_name<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    name.split('<').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("connection to 10.0.0.7 refused")]
    struct Gone;

    impl AsProblem for Gone {
        fn problem(&self) -> Problem {
            Problem::new(503).detail("The database is not reachable.").retry_after(std::time::Duration::from_secs(2))
        }
    }

    #[tokio::test]
    async fn an_error_becomes_its_problem_and_keeps_its_cause_to_itself() {
        let response = Error::from(Gone).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert!(response.extensions().get::<ExceptionType>().unwrap().0.ends_with("Gone"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("not reachable") && !text.contains("10.0.0.7"), "{text}");
    }

    #[test]
    fn unauthorized_names_the_scheme() {
        let response = Error::unauthorized("Log in first.").into_response();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
    }
}
