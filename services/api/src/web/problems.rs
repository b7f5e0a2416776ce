//! The error responses, as the OpenAPI document tells them. The errors themselves are `covet::Error`.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// RFC 9457 problem details.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemSchema {
    /// URI reference that names the kind of problem; `about:blank` means that the status says it all.
    #[schema(example = "about:blank")]
    pub r#type: String,
    /// Summary, the same for every problem of this kind.
    #[schema(example = "Unprocessable Content")]
    pub title: String,
    /// HTTP status code.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time, and what to do.
    #[schema(nullable = false)]
    pub detail: Option<String>,
    /// Path of the request.
    #[schema(nullable = false)]
    pub instance: Option<String>,
    /// The request's id, to find it in the logs.
    #[schema(nullable = false)]
    pub request_id: Option<String>,
    /// Each field that was not accepted.
    #[schema(required = false)]
    pub errors: Vec<FieldProblemSchema>,
}

/// A field that was not accepted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldProblem)]
pub struct FieldProblemSchema {
    /// The field: its name, or a path such as `items[0].quantity`.
    #[schema(example = "email")]
    pub field: String,
    /// What is wrong with it.
    #[schema(example = "is not an e-mail address such as ada@example.com")]
    pub detail: String,
}

macro_rules! problem_responses {
    ($($(#[$doc:meta])* $name:ident = $status:tt $description:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, IntoResponses)]
            #[response(status = $status, description = $description, content_type = "application/problem+json")]
            pub struct $name(pub ProblemSchema);
        )*
    };
}

problem_responses! {
    /// 400.
    BadRequest = 400 "The query, a header or the JSON text cannot be understood.";
    /// 401.
    Unauthorized = 401 "No access token, or one that is not valid; `WWW-Authenticate` says why.";
    /// 403.
    Forbidden = 403 "Not yours to do.";
    /// 404.
    NotFound = 404 "It does not exist, or it is somebody else's.";
    /// 409.
    Conflict = 409 "It does not fit what is there.";
    /// 412.
    PreconditionFailed = 412 "It has changed since you read it; `ETag` has the present version.";
    /// 413.
    TooLarge = 413 "The body is larger than `COVET_HTTP__BODY_LIMIT`.";
    /// 415.
    UnsupportedMediaType = 415 "The body is not `application/json`.";
    /// 422.
    Unprocessable = 422 "Fields are not valid; `errors` lists them all.";
    /// 428.
    PreconditionRequired = 428 "A change needs `If-Match`.";
    /// 503.
    Busy = 503 "Too much to do at this moment; `Retry-After` says when to come back.";
    /// What every route may answer.
    Other = "default" "Any other problem, such as 429, 500 or 504.";
}
