//! What can go wrong with the cache. No message repeats a value or a key.

use std::time::Duration;

use covet_core::problem::{AsProblem, Problem};

/// The result of a cache operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a cache operation failed. [`Cache::get_or_load`](crate::Cache::get_or_load) and
/// [`Cache::find_or_load`](crate::Cache::find_or_load) never fail because of one of these.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis cannot be reached, or has failed so often that it is not asked for a moment.
    #[error("the cache cannot be reached: {0}")]
    Unavailable(String),

    /// Redis did not answer in time. Whether a write has happened is not known.
    #[error("the cache did not answer within {limit:?} (COVET_CACHE__TIMEOUT)")]
    Timeout {
        /// How long was waited.
        limit: Duration,
    },

    /// Redis answers, and refuses: password, rights of the user, a wrong command, no memory left.
    #[error("the cache refused the operation: {0}")]
    Refused(String),

    /// Redis answered something else than was asked for.
    #[error("the cache gave an answer of another type than expected: {0}")]
    Unexpected(String),

    /// A value is larger than the cache takes. It was not stored.
    #[error(
        "a value of `{prefix}` takes {size_bytes} bytes, and the cache takes {limit_bytes} (COVET_CACHE__VALUE_LIMIT); \
         cache less of it, or raise the limit"
    )]
    TooLarge {
        /// The keyspace.
        prefix: &'static str,
        /// Size of the encoded value.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },

    /// A value's `Serialize` failed. It was not stored.
    #[error("a value of `{prefix}` cannot be encoded: {reason}")]
    Encode {
        /// The keyspace.
        prefix: &'static str,
        /// What `Serialize` said.
        reason: String,
    },

    /// `REDIS_URL` or another setting is wrong.
    #[error("{0}")]
    Settings(String),

    /// [`Cache::close`](crate::Cache::close) was called.
    #[error("the cache is closed: the process is ending")]
    Closed,
}

impl Error {
    /// A short name of the kind, for labels of metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Timeout { .. } => "timeout",
            Self::Refused(_) => "refused",
            Self::Unexpected(_) => "unexpected",
            Self::TooLarge { .. } => "too_large",
            Self::Encode { .. } => "encode",
            Self::Settings(_) => "settings",
            Self::Closed => "closed",
        }
    }

    /// True if the same call can succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout { .. } | Self::Closed)
    }
}

/// What a caller of the API is told.
impl AsProblem for Error {
    fn problem(&self) -> Problem {
        match self.is_retryable() {
            true => Problem::new(503)
                .detail("The service cannot reach its cache at this moment. Try again shortly.")
                .retry_after(Duration::from_secs(1)),
            false => {
                Problem::new(500).detail("The request could not be carried out because of a fault of the service.")
            }
        }
    }
}
