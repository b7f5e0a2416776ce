//! What a job is: [`Job`], its [`JobOptions`], and how it fails.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Run;

/// Work that is done later. The type is what is stored, as JSON; [`run`](Self::run) is what is done with it.
///
/// ```
/// use covet_jobs::{Failure, Job, JobOptions, Run};
/// use serde::{Deserialize, Serialize};
/// use std::time::Duration;
///
/// /// A mail to somebody who has registered.
/// #[derive(Serialize, Deserialize)]
/// struct SendWelcome {
///     user: uuid::Uuid,
/// }
///
/// # #[derive(Clone)] struct Mailer;
/// # impl Mailer { async fn send(&self, _: uuid::Uuid, _: uuid::Uuid) -> std::io::Result<()> { Ok(()) } }
/// impl Job for SendWelcome {
///     type State = Mailer;
///     const NAME: &'static str = "send_welcome";
///
///     fn options() -> JobOptions {
///         JobOptions::new().time_limit(Duration::from_secs(30)).at_once(2)
///     }
///
///     async fn run(self, run: Run<Mailer>) -> Result<(), Failure> {
///         // The id tells the mail server that it has had this mail before.
///         run.state().send(self.user, run.id()).await?;
///         Ok(())
///     }
/// }
/// ```
///
/// A field that is added later must have a default (`#[serde(default)]`): jobs of the release before are still there.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// What the work needs.
    type State: Clone + Send + Sync + 'static;

    /// Its name in the database, in metrics and in the log. It stays when the type is renamed.
    const NAME: &'static str;

    /// How it is done.
    fn options() -> JobOptions {
        JobOptions::new()
    }

    /// Does the work. Any error means that it is tried again; see [`Failure`] for others.
    ///
    /// # Errors
    /// Whatever keeps the work from being done.
    fn run(self, run: Run<Self::State>) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Which jobs come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// Somebody waits for it.
    High,
    /// The rest.
    #[default]
    Normal,
    /// Whenever there is nothing else.
    Low,
}

impl Priority {
    /// As it is stored; what is smaller comes first.
    pub(crate) fn rank(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 10,
            Self::Low => 20,
        }
    }
}

/// How a type of job is done.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct JobOptions {
    pub(crate) attempts: u32,
    pub(crate) time_limit: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) at_once: Option<usize>,
    pub(crate) priority: Priority,
}

/// How long to wait before a job is tried again: twice as long each time, at most `longest`, and up to a quarter more or less, so that
/// what failed together does not come back together.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after this many attempts; `chance` is between 0 and 1.
    pub(crate) fn after(self, attempts: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
        doubled.min(self.longest).mul_f64(0.75 + chance / 2.0)
    }
}

impl JobOptions {
    /// Ten attempts within about half an hour, five minutes for each, normal priority.
    pub fn new() -> Self {
        Self {
            attempts: 10,
            time_limit: Duration::from_secs(5 * 60),
            backoff: Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(60 * 60) },
            at_once: None,
            priority: Priority::Normal,
        }
    }

    /// After so many attempts it is given up.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How long an attempt may take; then it has failed.
    pub fn time_limit(mut self, time_limit: Duration) -> Self {
        self.time_limit = time_limit;
        self
    }

    /// How long to wait before it is tried again.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How many of this type a worker does at once, at most: for what others cannot bear more of.
    pub fn at_once(mut self, at_once: usize) -> Self {
        self.at_once = Some(at_once.max(1));
        self
    }

    /// Which jobs come first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

impl Default for JobOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why an attempt failed. Every error becomes one that is tried again.
pub struct Failure {
    pub(crate) error: Box<dyn StdError + Send + Sync>,
    pub(crate) then: Then,
}

/// What becomes of a job that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is tried again, as its options say.
    Retry,
    /// It is tried again after this time.
    RetryIn(Duration),
    /// It is not tried again.
    GiveUp,
    /// Somebody else has it: there is nothing to be done.
    Nothing,
}

impl Failure {
    /// It would fail again however often it is tried.
    pub fn give_up(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { error: error.into(), then: Then::GiveUp }
    }

    /// It can be tried again after this time: what `Retry-After` says.
    pub fn retry_in(pause: Duration, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { error: error.into(), then: Then::RetryIn(pause) }
    }

    /// The loan has ended, and another worker may have taken the job.
    pub(crate) fn lost() -> Self {
        Self { error: "its loan has ended; another worker may have taken it".into(), then: Then::Nothing }
    }

    /// What went wrong, with everything under it, on one line.
    pub(crate) fn text(&self) -> String {
        let mut text = self.error.to_string();
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.contains(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        text
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), then: Then::Retry }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("error", &self.error).field("then", &self.then).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ_by_a_quarter() {
        let backoff = Backoff { first: Duration::from_secs(2), longest: Duration::from_secs(60) };
        let pauses: Vec<u64> = (1..=7).map(|attempts| backoff.after(attempts, 0.5).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.after(1, 0.0), Duration::from_millis(1500));
        assert_eq!(backoff.after(1, 1.0), Duration::from_millis(2500));
        assert_eq!(backoff.after(u32::MAX, 0.5), Duration::from_secs(60));
    }

    #[test]
    fn a_failure_tells_its_causes_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("not sent")]
        struct NotSent(#[source] std::io::Error);
        let failure = Failure::from(NotSent(std::io::Error::other("refused")));
        assert_eq!((failure.text().as_str(), failure.then), ("not sent: refused", Then::Retry));
        assert_eq!(Failure::give_up("no such address").text(), "no such address");
    }
}
