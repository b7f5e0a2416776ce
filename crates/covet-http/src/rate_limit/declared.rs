//! What a route says about limits, and what becomes of it when the routes are finished.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use http::Method;
use sha2::{Digest, Sha256};

use super::client::By;
use super::quota::Quota;

/// Longest name of a rule, in bytes.
const LONGEST_NAME: usize = 200;

/// Most limits of one route.
pub(super) const MOST: usize = 4;

/// The limits of a route, beside or instead of those that the settings give to all.
///
/// Of several limits that apply to a request each must let it in; a request that one of them refuses counts for none.
///
/// ```
/// use covet_http::Router;
/// use covet_http::rate_limit::{By, RateLimit};
/// use covet_http::routing::{get, post};
///
/// let router: Router = Router::new()
///     // Five a minute from one address, 50 an hour, beside what the settings say.
///     .route("/login", post(async || "").rate_limit(RateLimit::per_minute(5).and(RateLimit::per_hour(50))))
///     // Costs as much as 20 others.
///     .route("/report", get(async || "").rate_limit(RateLimit::cost(20)))
///     // Asked again and again: has a limit of its own, by user, and none other.
///     .route("/progress", get(async || "").rate_limit(RateLimit::per_minute(600).by(By::User).instead()))
///     // Never refused.
///     .route("/status", get(async || "").rate_limit(RateLimit::exempt()));
/// assert_eq!(router.table()[0].limit.as_deref(), Some("5 a minute by address, 50 an hour by address"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RateLimit {
    /// What a request counts for in the limits of the settings; `None` when those do not apply.
    cost: Option<u32>,
    own: Vec<Own>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own {
    requests: u32,
    period: Duration,
    burst: u32,
    by: By,
}

impl RateLimit {
    /// So many requests a second from one address.
    ///
    /// # Panics
    /// With 0, as the others.
    pub fn per_second(requests: u32) -> Self {
        Self::per(requests, Duration::from_secs(1))
    }

    /// So many requests a minute from one address: exactly so many in the minute that the first one begins, then one each
    /// minute / `requests`.
    pub fn per_minute(requests: u32) -> Self {
        Self::per(requests, Duration::from_secs(60))
    }

    /// So many requests an hour from one address.
    pub fn per_hour(requests: u32) -> Self {
        Self::per(requests, Duration::from_secs(3_600))
    }

    fn per(requests: u32, period: Duration) -> Self {
        assert!(requests > 0, "a limit of 0 requests lets nobody in; leave the route out instead");
        Self { cost: Some(1), own: vec![Own { requests, period, burst: requests, by: By::Address }] }
    }

    /// No limit of its own; a request counts as `cost` in those that the settings give. Not more than they allow at once:
    /// a request that costs more takes all of it.
    ///
    /// # Panics
    /// With 0: that is [`exempt`](Self::exempt).
    pub fn cost(cost: u32) -> Self {
        assert!(cost > 0, "a request that costs nothing is RateLimit::exempt()");
        Self { cost: Some(cost), own: Vec::new() }
    }

    /// No limit at all.
    pub fn exempt() -> Self {
        Self { cost: None, own: Vec::new() }
    }

    /// Another number that may come at once than those of the whole period.
    ///
    /// # Panics
    /// With 0.
    pub fn burst(mut self, requests: u32) -> Self {
        assert!(requests > 0, "a burst of 0 requests lets nobody in");
        for own in &mut self.own {
            own.burst = requests;
        }
        self
    }

    /// Counts by user or by API key instead of by address. It applies to requests whose caller has been told to
    /// [`admit`](super::admit), as the extractors of `covet-identity` do.
    pub fn by(mut self, by: By) -> Self {
        for own in &mut self.own {
            own.by = by;
        }
        self
    }

    /// What the settings say does not apply to this route.
    pub fn instead(mut self) -> Self {
        self.cost = None;
        self
    }

    /// Another limit beside this one.
    ///
    /// # Panics
    /// When there are more than four.
    pub fn and(mut self, other: Self) -> Self {
        self.own.extend(other.own);
        assert!(self.own.len() <= MOST, "a route has at most {MOST} limits of its own");
        self.cost = match (self.cost, other.cost) {
            (Some(one), Some(other)) => Some(one.max(other)),
            _ => None,
        };
        self
    }

    /// What a refused caller is told in the API description; `None` when this route has no limit of its own.
    pub(crate) fn description(&self) -> Option<String> {
        if self.own.is_empty() {
            return None;
        }
        let own: Vec<_> = self.own.iter().map(ToString::to_string).collect();
        Some(format!("Too many requests; `Retry-After` says when to come back. Allowed are {}.", own.join(" and ")))
    }

    /// The rules of the route with these methods and this path.
    pub(crate) fn resolve(&self, methods: &[Method], path: &str) -> &'static RouteRules {
        let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
        let route = format!("{} {path}", if methods.is_empty() { "ANY".to_owned() } else { methods.join(",") });
        let rule = |own: &Own| Rule::new(&route, Quota::new(own.requests, own.period, own.burst), own.by);
        let (address, callers): (Vec<Own>, Vec<Own>) = self.own.iter().partition(|own| own.by == By::Address);
        // As long as the program, as the routes themselves.
        Box::leak(Box::new(RouteRules {
            cost: self.cost,
            address: address.iter().map(rule).collect(),
            callers: callers.iter().map(rule).collect(),
        }))
    }
}

/// As in the table of routes: "5 a minute by address".
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, own) in self.own.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{own}")?;
        }
        match (self.cost, self.own.is_empty()) {
            (None, true) => f.write_str("exempt"),
            (None, false) => f.write_str(", no other"),
            (Some(1), _) => Ok(()),
            (Some(cost), none) => write!(f, "{}costs {cost}", if none { "" } else { ", " }),
        }
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period.as_secs() {
            1 => "a second",
            60 => "a minute",
            _ => "an hour",
        };
        write!(f, "{} {period} by {}", self.requests, self.by.as_str())?;
        if self.burst != self.requests {
            write!(f, " ({} at once)", self.burst)?;
        }
        Ok(())
    }
}

/// One limit: its name, what it allows, to whom.
#[derive(Debug)]
pub(super) struct Rule {
    /// With what it allows, so that another release with another limit counts anew. Part of the shared store's keys.
    pub(super) name: String,
    pub(super) quota: Quota,
    pub(super) by: By,
    /// What keeps a client's cells of several rules apart in the table.
    pub(super) salt: u64,
}

impl Rule {
    /// `of`: what it is for.
    pub(super) fn new(of: &str, quota: Quota, by: By) -> Self {
        let mut name = format!("{of} by {}: {}/{}us", by.as_str(), quota.burst(), quota.window());
        if name.len() > LONGEST_NAME {
            // A key that is too long would become a hash without the client in braces.
            name = covet_core::hex::digits(Sha256::digest(&name));
        }
        Self { salt: RandomState::new().hash_one(&name), name, quota, by }
    }
}

/// The rules of a route, as its requests need them.
#[derive(Debug)]
pub(crate) struct RouteRules {
    /// See [`RateLimit`].
    pub(super) cost: Option<u32>,
    pub(super) address: Vec<Rule>,
    pub(super) callers: Vec<Rule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_as_it_was_declared() {
        for (limit, text) in [
            (RateLimit::per_minute(10), "10 a minute by address"),
            (RateLimit::per_hour(5).by(By::User).burst(2), "5 an hour by user (2 at once)"),
            (RateLimit::per_second(3).by(By::ApiKey).instead(), "3 a second by API key, no other"),
            (RateLimit::cost(5), "costs 5"),
            (RateLimit::per_minute(10).and(RateLimit::cost(5)), "10 a minute by address, costs 5"),
            (RateLimit::per_minute(10).and(RateLimit::exempt()), "10 a minute by address, no other"),
            (RateLimit::exempt(), "exempt"),
        ] {
            assert_eq!(limit.to_string(), text);
        }
    }

    #[test]
    fn a_rule_is_another_one_when_its_route_its_limit_or_its_clients_are() {
        let name = |limit: RateLimit, path| limit.resolve(&[Method::POST], path).address[0].name.clone();
        assert_eq!(name(RateLimit::per_minute(10), "/login"), "POST /login by address: 10/60000000us");
        assert_ne!(name(RateLimit::per_minute(10), "/login"), name(RateLimit::per_minute(11), "/login"));
        assert_ne!(name(RateLimit::per_minute(10), "/login"), name(RateLimit::per_minute(10), "/log"));
        assert_eq!(name(RateLimit::per_minute(10), &"/long".repeat(100)).len(), 64);
        let rules = RateLimit::per_minute(10).and(RateLimit::per_hour(5).by(By::User)).resolve(&[], "/");
        assert_eq!((rules.address.len(), rules.callers.len(), rules.cost), (1, 1, Some(1)));
        assert!(rules.callers[0].name.starts_with("ANY / by user"));
    }

    #[test]
    #[should_panic(expected = "at most 4")]
    fn more_than_four_are_refused() {
        let one = || RateLimit::per_minute(1);
        drop(one().and(one()).and(one()).and(one()).and(one()));
    }
}
