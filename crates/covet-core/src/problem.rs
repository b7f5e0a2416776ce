//! Errors as RFC 9457 problem details: the data, without HTTP. `covet-http` makes responses of it.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

/// What went wrong, told to a caller: `application/problem+json`.
///
/// ```
/// use covet_core::problem::Problem;
///
/// let problem = Problem::new(422).detail("Some fields are not valid.").field("email", "has no @");
/// assert_eq!(problem.title, "Unprocessable Content");
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// A URI reference that names the kind of problem; `about:blank` means that the status says it all.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// Short summary, the same for every problem of this kind.
    pub title: Cow<'static, str>,
    /// HTTP status code.
    pub status: u16,
    /// What happened this time, and what the caller can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
    /// Path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The request's id, to find it in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Each field that was not accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// When trying again can help; becomes the `Retry-After` header.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

/// A field of the request that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field: its name, or a path such as `items[0].quantity`.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub detail: Cow<'static, str>,
}

/// An error that knows how to be told to a caller. Each crate's error enum implements it; the status and the
/// text are the caller's, the error itself goes to the log.
pub trait AsProblem: std::error::Error {
    /// The problem to answer with. Holds nothing secret and nothing of the system's inside.
    fn problem(&self) -> Problem;
}

impl Problem {
    /// A problem of kind `about:blank` with the status's own title.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self {
            kind: Cow::Borrowed("about:blank"),
            title: Cow::Borrowed(reason(status)),
            status,
            detail: None,
            instance: None,
            request_id: None,
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// Says what happened and what to do.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Names the kind of problem: a URI reference and its title.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<Cow<'static, str>>, title: impl Into<Cow<'static, str>>) -> Self {
        self.kind = kind.into();
        self.title = title.into();
        self
    }

    /// Adds a field that was not accepted.
    #[must_use]
    pub fn field(mut self, field: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        self.errors.push(FieldProblem { field: field.into(), detail: detail.into() });
        self
    }

    /// Tells the caller when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

/// The reason phrases of RFC 9110 for the codes that a service answers with.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        other if other < 500 => "Client Error",
        _ => "Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_members_are_left_out() {
        let json = serde_json::to_string(&Problem::new(404)).unwrap();
        assert_eq!(json, r#"{"type":"about:blank","title":"Not Found","status":404}"#);
    }

    #[test]
    fn fields_are_listed() {
        let json = serde_json::to_value(Problem::new(422).detail("d").field("email", "has no @")).unwrap();
        assert_eq!(json["errors"][0], serde_json::json!({"field": "email", "detail": "has no @"}));
        assert_eq!(json["detail"], "d");
    }
}
