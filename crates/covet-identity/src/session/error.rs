//! What can go wrong with a session.

use std::time::Duration;

use covet_core::problem::{AsProblem, Problem};
use covet_http::Error as HttpError;
use covet_http::pipeline::OutsidePipeline;
use http::{HeaderValue, header};

/// Why there is no session, or why it could not be changed. `?` in a handler answers with the right status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No cookie, a forged one, or one whose session has ended: 401.
    #[error("there is no session")]
    Missing,
    /// The session is nobody's yet, and a user's was asked for: 401.
    #[error("nobody is logged in to the session")]
    Anonymous,
    /// A page of another origin sent the request: 403.
    #[error("a page of another origin sent the request")]
    OtherOrigin,
    /// The session ended while the request was under way, so that nothing could be kept in it: 409.
    #[error("the session ended while the request was under way")]
    Ended,
    /// Others changed the session at the same time, again and again: 503.
    #[error("the session was changed by others at the same time, {attempts} times in a row")]
    Busy {
        /// How often it was tried.
        attempts: u32,
    },
    /// The cache with the sessions cannot be asked: 503.
    #[error("sessions cannot be read or written: {0}")]
    Unavailable(#[source] covet_cache::Error),
    /// The cache answers, but not as it should: 500.
    #[error("sessions cannot be read or written: {0}")]
    Cache(#[source] covet_cache::Error),
    /// More is to be kept in the session than it may hold: 500.
    #[error(
        "the session would hold {size_bytes} bytes, and may hold {limit_bytes} (COVET_SESSION__DATA_LIMIT); keep less in it"
    )]
    TooLarge {
        /// What it would hold.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// A value cannot be written as JSON: 500.
    #[error("the value for `{name}` cannot be kept in a session: {source}")]
    Encode {
        /// Its key.
        name: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The handler runs where no cookie can be set: 500.
    #[error(transparent)]
    OutsidePipeline(#[from] OutsidePipeline),
}

impl From<covet_cache::Error> for SessionError {
    fn from(error: covet_cache::Error) -> Self {
        match error.is_retryable() {
            true => Self::Unavailable(error),
            false => Self::Cache(error),
        }
    }
}

impl SessionError {
    /// The value of the metric label `reason`.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Anonymous => "anonymous",
            Self::OtherOrigin => "other_origin",
            Self::Ended => "ended",
            Self::Busy { .. } => "busy",
            Self::Unavailable(_) | Self::Cache(_) => "unavailable",
            Self::TooLarge { .. } => "too_large",
            Self::Encode { .. } => "encode",
            Self::OutsidePipeline(_) => "outside_pipeline",
        }
    }

    /// The response of an extractor, with the header that every 401 has (RFC 9110 §15.5.2).
    pub(crate) fn refuse(self) -> HttpError {
        let unauthorized = matches!(self, Self::Missing | Self::Anonymous);
        let error = HttpError::from(self);
        match unauthorized {
            true => error.header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Cookie")),
            false => error,
        }
    }
}

impl AsProblem for SessionError {
    fn problem(&self) -> Problem {
        let in_a_second = Duration::from_secs(1);
        match self {
            Self::Missing => Problem::new(401).detail("You are not logged in, or your session has ended. Log in."),
            Self::Anonymous => Problem::new(401).detail("You are not logged in. Log in."),
            Self::OtherOrigin => Problem::new(403)
                .kind("/problems/other-origin", "Other origin")
                .detail("A page of another origin may change nothing with a session's cookie."),
            Self::Ended => Problem::new(409)
                .kind("/problems/session-ended", "Session ended")
                .detail("Your session ended while the request was under way, so that nothing could be kept in it."),
            Self::Busy { .. } => Problem::new(503)
                .detail("Your session was changed by many requests at once. Try again in a second.")
                .retry_after(in_a_second),
            Self::Unavailable(_) => Problem::new(503)
                .kind("/problems/sessions-unavailable", "Sessions unavailable")
                .detail("Sessions cannot be read at this moment. Try again in a second; do not log in again.")
                .retry_after(in_a_second),
            Self::Cache(_) | Self::TooLarge { .. } | Self::Encode { .. } | Self::OutsidePipeline(_) => {
                Problem::new(500)
            }
        }
    }
}
