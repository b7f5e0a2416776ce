//! One check and what it found.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde_json::{Map, Value};

/// How something is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Healthy,
    /// Works, but somebody should look.
    Degraded,
    /// Does not work.
    Unhealthy,
}

/// What a check found: a status, its readings, and why when it is not healthy.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// How it is.
    pub status: Status,
    /// Readings beside the status, such as `latency_ms`.
    #[serde(flatten)]
    pub readings: Map<String, Value>,
    /// Why it is not healthy. Seen by whoever may call `/health`: no addresses, no secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Outcome {
    /// All is well.
    #[must_use]
    pub fn healthy() -> Self {
        Self { status: Status::Healthy, readings: Map::new(), reason: None }
    }

    /// It works, but not as it should.
    #[must_use]
    pub fn degraded(reason: impl Into<String>) -> Self {
        Self { status: Status::Degraded, readings: Map::new(), reason: Some(reason.into()) }
    }

    /// It does not work.
    #[must_use]
    pub fn unhealthy(reason: impl Into<String>) -> Self {
        Self { status: Status::Unhealthy, readings: Map::new(), reason: Some(reason.into()) }
    }

    /// Adds a reading; units belong in its name (`latency_ms`, `free_gb`).
    #[must_use]
    pub fn reading(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.readings.insert(name.to_owned(), value.into());
        self
    }
}

/// The future of a check.
pub type CheckFuture<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Something that can be asked how it is.
///
/// An async closure is one too:
///
/// ```
/// use covet_core::health::{Check, Outcome};
///
/// fn is_a_check(_: impl Check) {}
/// is_a_check(|| async { Outcome::healthy().reading("latency_ms", 3) });
/// ```
pub trait Check: Send + Sync + 'static {
    /// Asks. Called at most once at a time; dropped when it takes longer than the limit.
    fn check(&self) -> CheckFuture<'_>;
}

impl<F, Fut> Check for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    fn check(&self) -> CheckFuture<'_> {
        Box::pin(self())
    }
}
