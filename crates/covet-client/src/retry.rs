//! When a call is tried again: what may happen twice, how long to wait, and how much of it is good for a host that
//! struggles.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covet_core::clock::Clock;
use http::{HeaderMap, Method, StatusCode, header};
use jiff::fmt::rfc2822;
use tower::retry::budget::{Budget, TpsBudget};

use crate::settings::ClientSettings;
use crate::target::Target;

/// Hosts with a budget of their own; further ones share one.
const HOSTS: usize = 1_000;
/// What calls of the last ten seconds have put into a budget counts.
const BUDGET_TTL: Duration = Duration::from_secs(10);
/// The longest first pause; it doubles with every attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The budgets of all hosts: a share of the calls may be tried again, as in Finagle and linkerd. When a host is down, a
/// fixed number of retries a call would multiply what it gets.
#[derive(Debug)]
pub(crate) struct Budgets {
    ratio: f32,
    per_second: u32,
    hosts: Mutex<HashMap<Box<str>, Arc<TpsBudget>>>,
}

impl Budgets {
    pub(crate) fn new(settings: &ClientSettings) -> Self {
        let (ratio, per_second) = (settings.retry_ratio as f32, settings.retries_per_second);
        Self { ratio, per_second, hosts: Mutex::default() }
    }

    /// The budget of a call's host, with what the call puts in.
    pub(crate) fn deposit(&self, target: &Target) -> Arc<TpsBudget> {
        let authority = target.authority();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = match hosts.get(&*authority) {
            Some(budget) => Arc::clone(budget),
            None => {
                let name = if hosts.len() < HOSTS { &*authority } else { "" };
                let new = || Arc::new(TpsBudget::new(BUDGET_TTL, self.per_second, self.ratio));
                Arc::clone(hosts.entry(name.into()).or_insert_with(new))
            }
        };
        drop(hosts);
        budget.deposit();
        budget
    }
}

/// What an attempt has come to, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An answer, whatever it says.
    Status(StatusCode),
    /// Nothing was sent.
    NotSent,
    /// It may have been sent, and there is no answer.
    Unknown,
    /// A redirect that is not followed: another attempt would meet it again.
    Refused,
}

/// Whether an attempt that came to this is worth another one, and does no harm.
pub(crate) fn may_try_again(outcome: Outcome, idempotent: bool) -> bool {
    match outcome {
        Outcome::NotSent => true,
        Outcome::Unknown => idempotent,
        Outcome::Refused => false,
        Outcome::Status(status) => {
            let passing = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ];
            idempotent && passing.contains(&status)
        }
    }
}

/// Methods of which RFC 9110 says that twice is as good as once.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

/// How long to wait before attempt number `next`: what the other service asked for, or a random part of a time that
/// doubles.
pub(crate) fn pause(next: u32, answer: Option<&HeaderMap>, clock: &Clock) -> Duration {
    let asked = answer.and_then(|headers| headers.get(header::RETRY_AFTER)?.to_str().ok());
    if let Some(asked) = asked.and_then(|text| retry_after(text, clock)) {
        return asked;
    }
    let longest = FIRST_PAUSE.saturating_mul(1 << next.saturating_sub(2).min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(fastrand::f64())
}

/// Seconds, or a date.
fn retry_after(text: &str, clock: &Clock) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(until.duration_since(clock.now()).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_does_no_harm_is_tried_again() {
        let status = |code| Outcome::Status(StatusCode::from_u16(code).unwrap());
        for (outcome, idempotent, again) in [
            (Outcome::NotSent, false, true),
            (Outcome::NotSent, true, true),
            (Outcome::Unknown, false, false),
            (Outcome::Unknown, true, true),
            (status(503), true, true),
            (status(503), false, false),
            (status(429), true, true),
            (status(500), true, false),
            (status(404), true, false),
            (status(200), true, false),
        ] {
            assert_eq!(may_try_again(outcome, idempotent), again, "{outcome:?} {idempotent}");
        }
        assert!(is_idempotent(&Method::DELETE) && !is_idempotent(&Method::POST) && !is_idempotent(&Method::PATCH));
    }

    #[test]
    fn the_other_service_says_how_long_to_wait() {
        let (clock, _) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let wait = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            pause(2, Some(&headers), &clock)
        };
        assert_eq!(wait("7"), Duration::from_secs(7));
        assert_eq!(wait("Thu, 01 Jan 2026 00:00:30 GMT"), Duration::from_secs(30));
        assert_eq!(wait("Wed, 31 Dec 2025 00:00:00 GMT"), Duration::ZERO);
        assert!(wait("soon") <= FIRST_PAUSE);
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_differ() {
        fastrand::seed(3);
        let clock = Clock::system();
        for (next, longest) in [(2, FIRST_PAUSE), (3, FIRST_PAUSE * 2), (4, FIRST_PAUSE * 4), (50, LONGEST_PAUSE)] {
            let pauses: Vec<_> = (0..100).map(|_| pause(next, None, &clock)).collect();
            assert!(pauses.iter().all(|pause| *pause <= longest));
            assert!(pauses.iter().any(|pause| *pause > longest / 2) && pauses.iter().any(|pause| *pause < longest / 2));
        }
    }
}
