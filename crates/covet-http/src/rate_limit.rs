//! How many requests a client may make, and what it hears when it makes more.
//!
//! | you want | look in |
//! |---|---|
//! | what the operator may set | [`RateLimitSettings`] |
//! | a route's own limit, cost or exemption | [`RateLimit`] |
//! | to count a caller that you have authenticated | [`admit`] |
//! | callers that no limit is for | [`RateLimitSettings::trusted`], [`Asking`], `trusted.rs` |
//! | which limits a request has to pass | `charge.rs` |
//! | the arithmetic, and the rule of the burst | `quota.rs` |
//! | the table of this process's clients | `cells.rs` |
//! | what all instances share, in Redis | `shared.rs` |
//! | the 429, its metric and its log line | `refusals.rs` |
//! | `RateLimit-…` fields | `headers.rs` |
//!
//! The pipeline asks once a request, before admission: a flood must not fill the queue that others wait in. Without Redis
//! that is a look into a table, in nanoseconds; with it, the one call is awaited, but not for a client that this instance
//! knows to be refused. Limits by user and by key are asked where the caller becomes known: in the extractor that
//! authenticates.

mod caller;
mod cells;
mod charge;
mod client;
mod declared;
mod headers;
pub(crate) mod metrics;
mod quota;
mod refusals;
mod settings;
mod shared;
mod trusted;
mod verdict;

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use covet_cache::Redis;
use covet_core::clock::Clock;
use covet_telemetry::metrics::Registry;
use http::Method;

pub use caller::admit;
pub(crate) use caller::{InCharge, enter};
pub use client::{By, Who};
pub use declared::RateLimit;
pub(crate) use declared::RouteRules;
pub(crate) use headers::{MOST_FIELDS, Values};
pub use settings::{LimitHeaders, RateLimitSettings};
pub use trusted::{Asking, Trusts};
pub(crate) use verdict::Verdict;

use crate::Error;
use crate::metrics::HttpMetrics;
use crate::routing::RouteStamp;
use cells::Cells;
use charge::{Charge, OfAll};
pub(crate) use client::Network;
use client::Numbers;
use declared::Rule;
use quota::{Quota, State};
use refusals::Refusals;
use shared::Shared;
use trusted::Trusted;

const MINUTE: Duration = Duration::from_secs(60);
/// What the clock of the table shows when a process begins, in microseconds: a month, so that what began before the process
/// did has a time as well.
const BEGINNING: u64 = 30 * 86_400 * 1_000_000;

/// What limits are made of.
pub struct RateLimitParts<'a> {
    /// What is allowed.
    pub settings: &'a RateLimitSettings,
    /// The time.
    pub clock: Clock,
    /// Where refusals are counted.
    pub registry: &'a Registry,
    /// The routes, finished.
    pub metrics: &'a HttpMetrics,
    /// Requests that are let in beside those of trusted networks.
    pub trusts: Vec<Trusts>,
    /// Where all instances count together.
    pub redis: Option<Redis>,
}

/// The limits of a process, with the clients that it knows.
pub struct RateLimits {
    clock: Clock,
    base: Instant,
    cells: Cells,
    numbers: Numbers,
    of_all: OfAll,
    ipv6_prefix: u8,
    trusted: Trusted,
    headers: LimitHeaders,
    refusals: Refusals,
    shared: Option<Shared>,
}

/// The client of a connection's last request: nearly always that of the next one too.
pub(crate) type LastClient = std::cell::Cell<Option<(IpAddr, Network, u64)>>;

/// What becomes of a request.
pub(crate) enum Checked {
    /// It goes on; with a verdict, if a limit applies to it.
    LetIn(Option<Verdict>),
    /// It does not.
    Refused(Verdict, Network),
    /// All instances have to be asked.
    Ask(Asked),
}

/// The answer of all instances, to be waited for.
pub(crate) type Asked = Pin<Box<dyn Future<Output = (Option<Verdict>, Network)> + Send>>;

impl RateLimits {
    /// The limits; `None` when the settings say that there are none.
    #[must_use]
    pub fn new(parts: RateLimitParts<'_>) -> Option<Arc<Self>> {
        let settings = parts.settings;
        if !settings.enabled {
            return None;
        }
        let quota = |requests, burst| Quota::new(requests, MINUTE, if burst == 0 { requests } else { burst });
        let of_callers = |requests, by| (requests > 0).then(|| Rule::new("all", quota(requests, 0), by));
        let limits = Arc::new(Self {
            base: parts.clock.monotonic(),
            clock: parts.clock,
            cells: Cells::new(settings.clients),
            numbers: Numbers::default(),
            of_all: OfAll {
                address: Rule::new("all", quota(settings.per_minute, settings.burst), By::Address),
                user: of_callers(settings.user_per_minute, By::User),
                api_key: of_callers(settings.api_key_per_minute, By::ApiKey),
            },
            ipv6_prefix: settings.ipv6_prefix,
            trusted: Trusted { networks: settings.trusted.clone(), predicates: parts.trusts },
            headers: settings.headers,
            refusals: Refusals::new(parts.registry, parts.metrics.routes()),
            shared: parts.redis.filter(|_| settings.shared).map(Shared::new),
        });
        parts.registry.register(Arc::new(metrics::LimitCollector(Arc::downgrade(&limits))));
        Some(limits)
    }

    /// Which fields tell clients how they stand.
    pub(crate) fn headers(&self) -> LimitHeaders {
        self.headers
    }

    /// Whether no limit is for this request.
    #[inline]
    pub(crate) fn trusts(&self, asking: &Asking<'_>) -> bool {
        self.trusted.has(asking)
    }

    /// Counts a request by its address.
    #[inline]
    pub(crate) fn check(
        self: &Arc<Self>,
        client: IpAddr,
        last: &LastClient,
        at: Instant,
        route: Option<&'static RouteRules>,
    ) -> Checked {
        let (network, number) = match last.get() {
            Some((address, network, number)) if address == client => (network, number),
            _ => {
                let network = Network::of(client, self.ipv6_prefix);
                let number = self.numbers.of_network(network);
                last.set(Some((client, network, number)));
                (network, number)
            }
        };
        let now = self.micros(at);
        let charges = self.of_all.charges(By::Address, route, number);
        if !self.is_shared(charges.clone()) {
            return match self.take(charges, now) {
                Some(verdict) if verdict.is_refusal() => Checked::Refused(verdict, network),
                verdict => Checked::LetIn(verdict),
            };
        }
        if let Some(refusal) = self.known_refusal(charges, now) {
            return Checked::Refused(refusal, network);
        }
        let limits = Arc::clone(self);
        Checked::Ask(Box::pin(async move {
            let charges = limits.of_all.charges(By::Address, route, number);
            (limits.take_shared(&network.to_string(), charges, now).await, network)
        }))
    }

    /// Counts a request by its caller.
    async fn check_caller(&self, who: Who<'_>, route: Option<&'static RouteRules>) -> Option<Verdict> {
        let charges = self.of_all.charges(who.kind(), route, self.numbers.of_caller(who));
        let now = self.micros(self.clock.monotonic());
        if !self.is_shared(charges.clone()) {
            return self.take(charges, now);
        }
        match self.known_refusal(charges.clone(), now) {
            Some(refusal) => Some(refusal),
            None => self.take_shared(&who.shared_name(), charges, now).await,
        }
    }

    /// Whether a request that has to pass these limits is counted by all instances together, and not here.
    #[inline]
    fn is_shared<'a>(&self, mut charges: impl Iterator<Item = Charge<'a>>) -> bool {
        let Some(shared) = &self.shared else { return false };
        if charges.next().is_none() {
            return false;
        }
        if !shared.is_available() {
            shared.count_local();
            return false;
        }
        true
    }

    /// Whether a request may still be refused when its caller becomes known.
    #[inline]
    pub(crate) fn asks_for_callers(&self, route: Option<&'static RouteRules>) -> bool {
        self.of_all.ask_for_callers(route)
    }

    /// What a refused client hears; counted and logged. Inside the request's scope.
    #[cold]
    pub(crate) fn refuse(&self, verdict: Verdict, client: &impl Hash) -> Error {
        self.refusals.refuse(verdict, client, self.micros(self.clock.monotonic()))
    }

    /// The answer to a refused request, whose route is told to the request's scope first.
    #[cold]
    pub(crate) fn refuse_at(
        &self,
        stamp: Option<&'static RouteStamp>,
        method: &Method,
        verdict: Verdict,
        client: &impl Hash,
    ) -> Response {
        if let Some(stamp) = stamp {
            stamp.mark(method);
        }
        self.refuse(verdict, client).into_response()
    }

    /// Lets a request in through all limits, or takes from none.
    #[inline]
    fn take<'a>(&self, charges: impl Iterator<Item = Charge<'a>> + Clone, now: u64) -> Option<Verdict> {
        let mut others = charges.clone();
        let only = others.next()?;
        if others.next().is_none() {
            return Some(self.take_one(only, now));
        }
        // Two requests of one client at the same moment may both be let in here and one of them be refused below: then it has
        // been counted by a limit that another one did not let it through. That is rare and never too much.
        if let Some(refusal) = self.known_refusal(charges.clone(), now) {
            return Some(refusal);
        }
        charges.map(|charge| self.take_one(charge, now)).reduce(Verdict::strictest)
    }

    #[inline]
    fn take_one(&self, charge: Charge<'_>, now: u64) -> Verdict {
        let Charge { rule, cell, cost } = charge;
        let standing = self.cells.with(cell, now, |state| rule.quota.take(state, cost, now));
        Verdict { by: rule.by, quota: rule.quota, standing }
    }

    /// The refusal that this instance can tell by itself.
    #[inline]
    fn known_refusal<'a>(&self, charges: impl Iterator<Item = Charge<'a>>, now: u64) -> Option<Verdict> {
        let verdicts = charges.map(|Charge { rule, cell, cost }| {
            let standing = rule.quota.ask(self.cells.read(cell), cost, now);
            Verdict { by: rule.by, quota: rule.quota, standing }
        });
        verdicts.filter(|verdict| verdict.is_refusal()).reduce(Verdict::strictest)
    }

    /// The same as [`take`](Self::take) with what all instances have counted; with this one's own when they cannot be asked.
    async fn take_shared<'a>(
        &self,
        client: &str,
        charges: impl Iterator<Item = Charge<'a>> + Clone + Send,
        now: u64,
    ) -> Option<Verdict> {
        let shared = self.shared.as_ref()?;
        let Some(answer) = shared.take(client, charges.clone().map(|charge| (charge.rule, charge.cost))).await else {
            shared.count_local();
            return self.take(charges, now);
        };
        let verdicts = charges.zip(&answer.states).map(|(charge, state)| {
            let Charge { rule, cell, cost } = charge;
            // What the request has been let in for is taken already.
            let cost = if answer.let_in { 0 } else { cost };
            let standing = rule.quota.ask(*state, cost, answer.now);
            if standing.refused_for.is_some() {
                // Until then it is refused without asking again. Its time is counted from before the question, so that it
                // ends not later here than there.
                self.remember(cell, state.moved(answer.now, now), now);
            }
            Verdict { by: rule.by, quota: rule.quota, standing }
        });
        verdicts.reduce(Verdict::strictest)
    }

    fn remember(&self, cell: u64, state: State, now: u64) {
        self.cells.with(cell, now, |kept| {
            if kept.fresh_at < state.fresh_at {
                *kept = state;
            }
        });
    }

    /// Requests that were counted here because Redis could not be asked.
    fn counted_here(&self) -> u64 {
        self.shared.as_ref().map_or(0, Shared::counted_local)
    }

    /// The time of the table.
    #[inline]
    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base);
        BEGINNING + since.as_secs() * 1_000_000 + u64::from(since.subsec_micros())
    }
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits").field("of_all", &self.of_all).field("cells", &self.cells).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use covet_core::environment::Environment;
    use covet_core::settings::Section;

    use super::*;

    #[test]
    fn counting_a_request_takes_no_memory() {
        let registry = Registry::new();
        let parts = RateLimitParts {
            settings: &RateLimitSettings::defaults(Environment::Development),
            clock: Clock::system(),
            registry: &registry,
            metrics: &HttpMetrics::new(&registry),
            trusts: Vec::new(),
            redis: None,
        };
        let limits = RateLimits::new(parts).unwrap();
        let (last, route) = (LastClient::default(), RateLimit::per_minute(10).and(RateLimit::per_hour(20)));
        let route = route.resolve(&[Method::GET], "/");
        let request = |client: [u8; 4], route| {
            let now = limits.clock.monotonic();
            let Checked::LetIn(Some(verdict)) = limits.check(client.into(), &last, now, route) else { return };
            std::hint::black_box(limits.headers().values(verdict));
        };
        request([203, 0, 113, 9], None);
        request([203, 0, 113, 9], Some(route));
        let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().unwrap();
        let before = allocated.get();
        for _ in 0..200 {
            request([203, 0, 113, 9], None);
            request([203, 0, 113, 9], Some(route));
        }
        assert_eq!(allocated.get() - before, 0);
    }
}
