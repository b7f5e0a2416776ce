//! Waiting for a condition, with a deadline.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{Error, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Only a hopeless wait gets there.
const SOON: Duration = Duration::from_secs(20);
/// So that the last question is not cut before it can be answered.
const SHORTEST_QUESTION: Duration = Duration::from_secs(1);

/// Asks `probe` again and again until it answers `Ok`, for at most `deadline`.
///
/// `probe` answers `Err` with what it saw instead, so that a failure tells more than "timed out". A probe that hangs is cut at the
/// deadline too, or after a second if that is later.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::time::Duration;
/// use covet_testkit::wait_until;
///
/// let mut left = 3;
/// let answer = wait_until("the countdown to end", Duration::from_secs(5), async || {
///     left -= 1;
///     if left == 0 { Ok("lift-off") } else { Err(format!("{left} left")) }
/// })
/// .await?;
/// assert_eq!(answer, "lift-off");
/// # Ok::<_, covet_testkit::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`crate::Error::Deadline`] with `what` was awaited and the last observation.
pub async fn wait_until<T, Seen: Display>(
    what: impl Into<String>,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> std::result::Result<T, Seen>,
) -> Result<T> {
    let started = Instant::now();
    let mut last = String::from("nothing");
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        match timeout(left.max(SHORTEST_QUESTION), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = seen.to_string(),
            Err(_) => last.push_str("; then the question itself was not answered"),
        }
        if started.elapsed() >= deadline {
            return Err(Error::Deadline { what: what.into(), waited: deadline, last });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Waits until `condition` holds: for what happens at once on an idle machine, in tests that have nothing to do about it.
///
/// # Panics
///
/// When it does not hold within 20 seconds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            sleep(FIRST_PAUSE).await;
        }
    };
    timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_error_says_what_was_awaited_and_what_was_last_seen() {
        let mut asked = 0;
        let error = wait_until("the moon", Duration::from_millis(20), async || {
            asked += 1;
            Err::<(), _>(format!("cloud {asked}"))
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), format!("waited 20ms for: the moon. Last seen: cloud {asked}"));
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_at_the_deadline() {
        let error = wait_until("an answer", Duration::from_millis(20), async || {
            std::future::pending::<Result<(), String>>().await
        })
        .await
        .unwrap_err();
        assert!(error.to_string().contains("the question itself was not answered"), "{error}");
    }
}
