//! Clients that write notes all the time, at a bounded rate, and keep how each request was answered: for what happens while the
//! database is away.
//!
//! Not for as many requests as possible: that is [`wrk`](crate::wrk).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use covet::clock::Clock;
use covet_testkit::wait_until;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::account::Account;

const WRITERS: usize = 8;
/// Between two requests of a writer: 200 requests a second in all.
const PAUSE: Duration = Duration::from_millis(40);
/// Nobody writes for longer, whatever the test does.
const LONGEST: Duration = Duration::from_secs(300);

/// Writers at work.
#[derive(Debug)]
pub struct WriteLoad {
    go_on: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Vec<Request>>>,
}

/// What all writers did.
#[derive(Debug, Default)]
pub struct Writes {
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Request {
    began: SystemTime,
    ended: SystemTime,
    answer: Answer,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// 201, with the note's id.
    Acknowledged(String),
    /// 503 as it should be: when to try again, and a problem document.
    TryAgain,
    /// Anything else.
    Wrong(String),
}

/// How long nothing could be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// From the loss of the primary to the first acknowledged write.
    pub from_loss: Duration,
    /// From the end of the promotion to the first acknowledged write.
    pub from_promotion: Duration,
}

/// The time of day, as the databases' logs have it.
#[must_use]
pub fn now() -> SystemTime {
    Clock::system().now().into()
}

impl WriteLoad {
    /// Lets this account write notes until told to stop.
    #[must_use]
    pub fn start(account: &Account) -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let writers = (0..WRITERS)
            .map(|number| {
                let (account, go_on, acknowledged) = (account.clone(), Arc::clone(&go_on), Arc::clone(&acknowledged));
                tokio::spawn(async move { write(&account, number, &go_on, &acknowledged).await })
            })
            .collect();
        Self { go_on, acknowledged, writers }
    }

    /// Waits until this many more writes are acknowledged.
    ///
    /// # Errors
    ///
    /// When they are not within `deadline`.
    pub async fn more_acknowledged(&self, count: u64, deadline: Duration) -> Result<()> {
        let before = self.acknowledged.load(Ordering::Relaxed);
        let arrived = wait_until(format!("{count} more acknowledged writes"), deadline, async || {
            let more = self.acknowledged.load(Ordering::Relaxed) - before;
            if more >= count { Ok(()) } else { Err(more) }
        });
        Ok(arrived.await?)
    }

    /// Stops the writers.
    ///
    /// # Errors
    ///
    /// When one of them panicked.
    pub async fn stop(self) -> Result<Writes> {
        self.go_on.store(false, Ordering::Relaxed);
        let mut writes = Writes::default();
        for writer in self.writers {
            writes.requests.extend(writer.await?);
        }
        Ok(writes)
    }
}

impl Writes {
    /// Acknowledged writes.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.ids().count()
    }

    /// Requests that were told to try again.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.requests.iter().filter(|request| request.answer == Answer::TryAgain).count()
    }

    /// The longest wait for an answer.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        self.requests.iter().map(|request| between(request.began, request.ended)).max().unwrap_or_default()
    }

    /// Makes sure that every request was acknowledged, or told to try again with a 503 as it should be, within `deadline`; and
    /// that every acknowledged note is among `stored`, the ids that the database has now, one a line.
    ///
    /// # Errors
    ///
    /// What was answered instead, or which notes are lost.
    pub fn check(&self, stored: &str, deadline: Duration) -> Result<()> {
        let wrong: Vec<&String> = self.requests.iter().filter_map(|request| request.answer.wrong()).collect();
        ensure!(wrong.is_empty(), "{} wrong answers, such as {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
        ensure!(self.slowest() <= deadline, "a request was answered after {:?}", self.slowest());
        let stored: BTreeSet<&str> = stored.lines().collect();
        let lost: Vec<&str> = self.ids().filter(|id| !stored.contains(id)).collect();
        ensure!(lost.is_empty(), "{} notes were acknowledged and are lost: {lost:?}", lost.len());
        Ok(())
    }

    /// How long nothing could be written.
    ///
    /// # Errors
    ///
    /// When nothing was written after the promotion.
    pub fn gap(&self, lost_at: SystemTime, promoted_at: SystemTime) -> Result<Gap> {
        let written = self.requests.iter().filter(|request| request.answer.id().is_some()).map(|request| request.ended);
        let resumed_at = written.filter(|at| *at >= promoted_at).min().context("nothing was written any more")?;
        Ok(Gap { from_loss: between(lost_at, resumed_at), from_promotion: between(promoted_at, resumed_at) })
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.requests.iter().filter_map(|request| request.answer.id())
    }
}

impl Answer {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Acknowledged(id) => Some(id),
            Self::TryAgain | Self::Wrong(_) => None,
        }
    }

    fn wrong(&self) -> Option<&String> {
        match self {
            Self::Wrong(what) => Some(what),
            Self::Acknowledged(_) | Self::TryAgain => None,
        }
    }
}

async fn write(account: &Account, number: usize, go_on: &AtomicBool, acknowledged: &AtomicU64) -> Vec<Request> {
    // One after another, not all at once.
    let offset = PAUSE * u32::try_from(number).unwrap_or(0) / u32::try_from(WRITERS).unwrap_or(1);
    let mut ticks = tokio::time::interval_at(Instant::now() + offset, PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests: Vec<Request> = Vec::new();
    let first = now();
    while go_on.load(Ordering::Relaxed) && between(first, now()) < LONGEST {
        ticks.tick().await;
        let body = json!({"title": format!("writer {number}, note {}", requests.len()), "body": "text"});
        let began = now();
        let answer = match account.post("/api/notes", &body).send().await {
            Ok(response) => understand(response).await.unwrap_or_else(|error| Answer::Wrong(format!("{error:#}"))),
            Err(error) => Answer::Wrong(format!("{error:?}")),
        };
        if answer.id().is_some() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        requests.push(Request { began, ended: now(), answer });
    }
    requests
}

async fn understand(response: Response) -> Result<Answer> {
    if response.status() == 201 {
        let note: Value = response.json().await?;
        return Ok(Answer::Acknowledged(note["id"].as_str().context("id")?.to_owned()));
    }
    try_again(response).await.map(|()| Answer::TryAgain)
}

/// Makes sure that a response says as it should that the database is away: 503, when to try again, a problem document.
///
/// # Errors
///
/// What it says instead.
pub async fn try_again(response: Response) -> Result<()> {
    let status = response.status().as_u16();
    let header =
        |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (retry_after, content_type) = (header("retry-after"), header("content-type"));
    let body = response.text().await?;
    let told = || format!("status {status}, Retry-After {retry_after:?}, {content_type}: {body}");
    let problem: Value = serde_json::from_str(&body).with_context(told)?;
    let seconds: u64 = retry_after.parse().with_context(told)?;
    let complete = problem["status"] == 503 && problem["request_id"].as_str().is_some_and(|id| !id.is_empty());
    ensure!(status == 503 && (1..=30).contains(&seconds) && complete, told());
    ensure!(content_type.starts_with("application/problem+json"), told());
    Ok(())
}

fn between(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn request(began: u64, ended: u64, answer: Answer) -> Request {
        Request { began: at(began), ended: at(ended), answer }
    }

    fn note(id: &str) -> Answer {
        Answer::Acknowledged(id.to_owned())
    }

    #[test]
    fn the_gap_ends_with_the_first_write_after_the_promotion() {
        // The first was on its way already.
        let requests = vec![request(10, 11, note("a")), request(17, 19, Answer::TryAgain), request(17, 20, note("b"))];
        let gap = Writes { requests }.gap(at(10), at(18)).unwrap();
        assert_eq!((gap.from_loss, gap.from_promotion), (Duration::from_secs(10), Duration::from_secs(2)));
    }

    #[test]
    fn a_lost_note_a_wrong_answer_and_a_late_one_are_found() {
        let deadline = Duration::from_secs(5);
        let check =
            |answer, ended, stored| Writes { requests: vec![request(0, ended, answer)] }.check(stored, deadline);
        check(note("a"), 1, "a\nb").unwrap();
        check(Answer::TryAgain, 5, "").unwrap();
        let lost = check(note("c"), 1, "a\nb").unwrap_err();
        assert!(lost.to_string().contains("lost: [\"c\"]"), "{lost}");
        check(Answer::Wrong("500".to_owned()), 1, "").unwrap_err();
        check(Answer::TryAgain, 6, "").unwrap_err();
    }
}
