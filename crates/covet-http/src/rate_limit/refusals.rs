//! A refused request: what its client hears, what is counted and logged of it.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covet_core::problem::Problem;
use covet_telemetry::logging::{security, vocabulary};
use covet_telemetry::metrics::Registry;
use covet_telemetry::metrics::instruments::RateLimitInstruments;
use covet_telemetry::request;

use super::client::By;
use super::verdict::Verdict;
use crate::Error;
use crate::metrics::RouteMetrics;

/// At most one line in this time, in microseconds: a flood must not become one of the log. All are counted, and each has
/// its access line.
const LINE_EVERY: u64 = 1_000_000;

/// Where refusals go.
pub(super) struct Refusals {
    registry: Registry,
    routes: Arc<[Arc<RouteMetrics>]>,
    /// By the route's number.
    instruments: Box<[OnceLock<RateLimitInstruments>]>,
    next_line_at: AtomicU64,
}

impl Refusals {
    pub(super) fn new(registry: &Registry, routes: Arc<[Arc<RouteMetrics>]>) -> Self {
        let instruments = routes.iter().map(|_| OnceLock::new()).collect();
        Self { registry: registry.clone(), routes, instruments, next_line_at: AtomicU64::new(0) }
    }

    /// Counts and logs a refusal of `client` and says what it hears. Inside the request's scope, whose route is known.
    #[cold]
    pub(super) fn refuse(&self, verdict: Verdict, client: &impl Hash, now: u64) -> Error {
        let route = request::current(|scope| scope.route().unwrap_or(0)).unwrap_or(0) as usize;
        let route = route.min(self.routes.len() - 1);
        let endpoint = self.routes[route].endpoint();
        self.instruments[route].get_or_init(|| RateLimitInstruments::new(&self.registry, endpoint)).exceeded(client);
        if self.may_write_line(now) {
            let limit = verdict.by.policy();
            security(vocabulary::RATE_LIMITED)
                .failure("too_many_requests")
                .target("limit", limit)
                .log("request refused");
        }
        Error::new(problem(verdict))
    }

    fn may_write_line(&self, now: u64) -> bool {
        let due = self.next_line_at.load(Relaxed);
        now >= due && self.next_line_at.compare_exchange(due, now + LINE_EVERY, Relaxed, Relaxed).is_ok()
    }
}

fn problem(verdict: Verdict) -> Problem {
    let (limit, window) = (verdict.quota.burst(), verdict.quota.window_seconds());
    let whose = match verdict.by {
        By::Address => "from your address",
        By::User => "of this user",
        By::ApiKey => "with this API key",
    };
    let seconds = verdict.retry_after_seconds();
    let unit = |count: u64, one: &'static str, many: &'static str| if count == 1 { one } else { many };
    let requests = unit(u64::from(limit), "request", "requests");
    let window_unit = unit(window, "second", "seconds");
    let wait_unit = unit(seconds, "second", "seconds");
    Problem::new(429)
        .kind("/problems/rate-limit-exceeded", "Rate limit exceeded")
        .detail(format!(
            "More than {limit} {requests} in {window} {window_unit} {whose}. Try again in {seconds} {wait_unit}."
        ))
        .retry_after(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::quota::{Quota, Standing};

    #[test]
    fn a_client_hears_what_it_has_exceeded_and_when_to_come_back() {
        let refused = |by, requests, refused_for| {
            let quota = Quota::new(requests, Duration::from_secs(60), requests);
            let standing = Standing { remaining: 0, more_in: refused_for, refused_for: Some(refused_for) };
            let problem = problem(Verdict { by, quota, standing });
            (problem.detail.unwrap_or_default().into_owned(), problem.retry_after.unwrap().as_secs())
        };
        assert_eq!(
            refused(By::Address, 100, 42_000_001),
            ("More than 100 requests in 60 seconds from your address. Try again in 43 seconds.".to_owned(), 43)
        );
        assert_eq!(
            refused(By::User, 1, 300),
            ("More than 1 request in 60 seconds of this user. Try again in 1 second.".to_owned(), 1)
        );
    }

    #[test]
    fn a_flood_writes_a_line_a_second() {
        let refusals = Refusals::new(&Registry::new(), Arc::new([]));
        let written = (0..5_000).filter(|n| refusals.may_write_line(7_000_000 + n * 1_000)).count();
        assert_eq!(written, 5);
    }
}
