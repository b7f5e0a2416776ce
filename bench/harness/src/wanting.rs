//! The one typed error: the measurement itself worked, and what it found is not good enough.

/// A server answered wrongly, failed requests, or cost more than its budget. Exit code 1; any other error is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Wanting(pub(crate) String);

impl Wanting {
    /// The complaint as an error.
    pub(crate) fn error(what: impl Into<String>) -> anyhow::Error {
        Self(what.into()).into()
    }
}
