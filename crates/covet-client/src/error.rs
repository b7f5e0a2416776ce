//! What can go wrong with a call, and what a caller of our own API is told about it.
//!
//! No message holds a path, a query, a header or a body.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use covet_core::problem::{AsProblem, Problem};
use http::StatusCode;

/// Why a call has no answer, or not one that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL, a header or the body is not one.
    #[error("the request cannot be made: {0}")]
    Request(String),

    /// Plain HTTP in production.
    #[error(
        "{host} may not be called without TLS in production: call it by https://, or, where the network encrypts, set \
         COVET_CLIENT__ALLOW_PLAINTEXT={host}"
    )]
    Plaintext {
        /// The host.
        host: String,
    },

    /// No answer in time.
    #[error("{call}: no answer within {limit:?} ({attempts} attempts)")]
    Deadline {
        /// Method and host.
        call: String,
        /// How long was allowed.
        limit: Duration,
        /// Attempts that were made.
        attempts: u32,
    },

    /// The host cannot be found or connected to, or its certificate is not trusted. Nothing was sent.
    #[error("{call}: cannot connect: {reason}")]
    Connect {
        /// Method and host.
        call: String,
        /// What the network said.
        reason: String,
    },

    /// The connection broke, or the answer is no HTTP. The other service may have done what it was asked.
    #[error("{call}: the connection broke: {reason}")]
    Broken {
        /// Method and host.
        call: String,
        /// What the network said.
        reason: String,
    },

    /// The answer sends elsewhere, to where the call may not go or too often.
    #[error("{call}: a redirect was not followed: {reason}")]
    Redirect {
        /// Method and host.
        call: String,
        /// Why.
        reason: String,
    },

    /// The answer's status says that it failed: of [`Response::error_for_status`](crate::Response::error_for_status).
    #[error("{call}: answered {status}")]
    Status {
        /// Method and host.
        call: String,
        /// The answer's status.
        status: StatusCode,
    },

    /// The answer's body is larger than what is read into memory.
    #[error("{call}: the answer is larger than {limit} bytes (COVET_CLIENT__RESPONSE_LIMIT)")]
    TooLarge {
        /// Method and host.
        call: String,
        /// How much is read.
        limit: usize,
    },

    /// The answer's body is not what was asked for.
    #[error("{call}: the answer does not fit: {reason}")]
    Decode {
        /// Method and host.
        call: String,
        /// Which field, and what was expected. Holds no value.
        reason: String,
    },
}

impl Error {
    /// A short name of the kind, for labels of metrics and `error.type` of spans.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Request(_) => "request",
            Self::Plaintext { .. } => "plaintext",
            Self::Deadline { .. } => "timeout",
            Self::Connect { .. } => "connect",
            Self::Broken { .. } => "broken",
            Self::Redirect { .. } => "redirect",
            Self::Status { .. } => "status",
            Self::TooLarge { .. } => "too_large",
            Self::Decode { .. } => "decode",
        }
    }

    /// The answer's status, if there was an answer that failed.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// Nothing of the other service: who called us need not know that there is one.
impl AsProblem for Error {
    fn problem(&self) -> Problem {
        match self {
            Self::Deadline { .. } => {
                Problem::new(504).detail("A service that this one depends on did not answer in time.")
            }
            Self::Connect { .. } | Self::Broken { .. } => {
                Problem::new(502).detail("A service that this one depends on is not available at this moment.")
            }
            Self::Redirect { .. } | Self::Status { .. } | Self::TooLarge { .. } | Self::Decode { .. } => {
                Problem::new(502).detail("A service that this one depends on did not answer as expected.")
            }
            Self::Request(_) | Self::Plaintext { .. } => {
                Problem::new(500).detail("The request could not be carried out because of a fault of the service.")
            }
        }
    }
}

/// What `reqwest` says, with all causes and without the URL.
pub(crate) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_of_ours_learns_nothing_of_the_other_service() {
        let call = || "GET stock.internal".to_owned();
        for (error, status) in [
            (Error::Deadline { call: call(), limit: Duration::from_secs(1), attempts: 2 }, 504),
            (Error::Connect { call: call(), reason: "refused".to_owned() }, 502),
            (Error::Status { call: call(), status: StatusCode::NOT_FOUND }, 502),
            (Error::Plaintext { host: "stock.internal".to_owned() }, 500),
        ] {
            let problem = error.problem();
            assert_eq!(problem.status, status, "{error}");
            assert!(!problem.detail.unwrap().contains("stock"), "{error}");
        }
    }
}
