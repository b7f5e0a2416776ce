//! How many requests a client may make, and what it hears when it makes more.
//!
//! | you want | look in |
//! |---|---|
//! | what the operator may set | [`RateLimitSettings`] |
//! | a route's own limit, cost or exemption | [`RateLimit`] |
//! | to count a caller that you have authenticated | [`admit`] |
//! | callers that no limit is for | [`RateLimitSettings::trusted`], [`Asking`] |
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
mod client;
mod declared;
mod headers;
pub(crate) mod metrics;
mod quota;
mod refusals;
mod settings;
mod shared;
mod verdict;

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use covet_cache::Redis;
use covet_core::clock::Clock;
use covet_telemetry::metrics::Registry;
use http::{HeaderMap, Method, Uri};
use ipnet::IpNet;

pub use caller::admit;
pub(crate) use caller::{InCharge, enter};
pub use client::{By, Who};
pub use declared::RateLimit;
pub(crate) use declared::RouteRules;
pub(crate) use headers::{MOST_FIELDS, Values};
pub use settings::{LimitHeaders, RateLimitSettings};
pub(crate) use verdict::Verdict;

use crate::Error;
use crate::metrics::HttpMetrics;
use crate::routing::RouteStamp;
use cells::Cells;
pub(crate) use client::Network;
use client::Numbers;
use declared::Rule;
use quota::{Quota, State};
use refusals::Refusals;
use shared::Shared;

const MINUTE: Duration = Duration::from_secs(60);
/// What the clock of the table shows when a process begins, in microseconds: a month, so that what began before the process
/// did has a time as well.
const BEGINNING: u64 = 30 * 86_400 * 1_000_000;

/// A request that is about to be counted, as far as it is known: before its route and its body.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The client's address, as far as it can be trusted.
    pub client: IpAddr,
    /// The method.
    pub method: &'a Method,
    /// The address that was asked for.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Says which requests no limit is for.
pub type Trusts = Arc<dyn Fn(&Asking<'_>) -> bool + Send + Sync>;

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
    by_address: Rule,
    by_user: Option<Rule>,
    by_api_key: Option<Rule>,
    ipv6_prefix: u8,
    trusted: Vec<IpNet>,
    trusts: Vec<Trusts>,
    headers: LimitHeaders,
    refusals: Refusals,
    shared: Option<Shared>,
}

/// One limit that a request has to pass.
#[derive(Debug, Clone, Copy)]
struct Charge<'a> {
    rule: &'a Rule,
    /// The client's cell.
    cell: u64,
    cost: u32,
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
            by_address: Rule::new("all", quota(settings.per_minute, settings.burst), By::Address),
            by_user: of_callers(settings.user_per_minute, By::User),
            by_api_key: of_callers(settings.api_key_per_minute, By::ApiKey),
            ipv6_prefix: settings.ipv6_prefix,
            trusted: settings.trusted.clone(),
            trusts: parts.trusts,
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
        self.trusted.iter().any(|network| network.contains(&asking.client))
            || self.trusts.iter().any(|trusts| trust(trusts, asking))
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
        let Some(shared) = &self.shared else {
            return self.checked(self.take(self.charges_of_address(route, number), now), network);
        };
        if !shared.is_available() {
            shared.count_local();
            return self.checked(self.take(self.charges_of_address(route, number), now), network);
        }
        if self.charges_of_address(route, number).next().is_none() {
            return Checked::LetIn(None);
        }
        if let Some(refusal) = self.known_refusal(self.charges_of_address(route, number), now) {
            return Checked::Refused(refusal, network);
        }
        let limits = Arc::clone(self);
        Checked::Ask(Box::pin(async move {
            let charges = limits.charges_of_address(route, number);
            (limits.take_shared(&network.to_string(), charges, now).await, network)
        }))
    }

    fn checked(&self, verdict: Option<Verdict>, network: Network) -> Checked {
        match verdict {
            Some(verdict) if verdict.is_refusal() => Checked::Refused(verdict, network),
            verdict => Checked::LetIn(verdict),
        }
    }

    /// Counts a request by its caller.
    async fn check_caller(&self, who: Who<'_>, route: Option<&'static RouteRules>) -> Option<Verdict> {
        let number = self.numbers.of_caller(who);
        let charges = self.charges_of_caller(who.kind(), route, number);
        let now = self.micros(self.clock.monotonic());
        let Some(shared) = &self.shared else { return self.take(charges, now) };
        if !shared.is_available() {
            shared.count_local();
            return self.take(charges, now);
        }
        charges.clone().next()?;
        if let Some(refusal) = self.known_refusal(charges.clone(), now) {
            return Some(refusal);
        }
        self.take_shared(&who.shared_name(), charges, now).await
    }

    /// Whether a request may still be refused when its caller becomes known.
    #[inline]
    pub(crate) fn asks_for_callers(&self, route: Option<&'static RouteRules>) -> bool {
        self.by_user.is_some() || self.by_api_key.is_some() || route.is_some_and(|route| !route.callers.is_empty())
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

    #[inline]
    fn charges_of_address(
        &self,
        route: Option<&'static RouteRules>,
        number: u64,
    ) -> impl Iterator<Item = Charge<'_>> + Clone + Send {
        charges(Some(&self.by_address), route, route.map_or(&[][..], |route| &route.address), number)
    }

    fn charges_of_caller(
        &self,
        by: By,
        route: Option<&'static RouteRules>,
        number: u64,
    ) -> impl Iterator<Item = Charge<'_>> + Clone + Send {
        let of_all = match by {
            By::User => self.by_user.as_ref(),
            By::ApiKey => self.by_api_key.as_ref(),
            By::Address => None,
        };
        let own = route.map_or(&[][..], |route| &route.callers);
        charges(of_all, route, own, number).filter(move |charge| charge.rule.by == by)
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

/// What a predicate of the service's own says. One that panics, outside the request's guard, trusts nobody; the panic is in the
/// log.
fn trust(trusts: &Trusts, asking: &Asking<'_>) -> bool {
    std::panic::catch_unwind(AssertUnwindSafe(|| trusts(asking))).unwrap_or(false)
}

/// The limits that the settings give, unless the route says otherwise, and those of the route.
#[inline]
fn charges<'a>(
    of_all: Option<&'a Rule>,
    route: Option<&'static RouteRules>,
    own: &'static [Rule],
    number: u64,
) -> impl Iterator<Item = Charge<'a>> + Clone + Send {
    let cost = route.map_or(Some(1), |route| route.cost);
    let of_all = of_all.zip(cost);
    let own = own.iter().map(|rule| -> (&'a Rule, u32) { (rule, 1) });
    // The salt keeps a client's cells apart; the number is as random as before.
    of_all.into_iter().chain(own).map(move |(rule, cost)| Charge { rule, cell: number ^ rule.salt, cost })
}

impl fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimits")
            .field("by_address", &self.by_address)
            .field("cells", &self.cells)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use covet_core::environment::Environment;
    use covet_core::settings::Section;

    use super::*;

    fn limits(trusts: Vec<Trusts>) -> Arc<RateLimits> {
        let registry = Registry::new();
        let parts = RateLimitParts {
            settings: &RateLimitSettings::defaults(Environment::Development),
            clock: Clock::system(),
            registry: &registry,
            metrics: &HttpMetrics::new(&registry),
            trusts,
            redis: None,
        };
        RateLimits::new(parts).unwrap()
    }

    #[test]
    fn counting_a_request_takes_no_memory() {
        let limits = limits(Vec::new());
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

    #[test]
    fn a_predicate_that_panics_trusts_nobody() {
        let (uri, headers) = (Uri::from_static("/"), HeaderMap::new());
        let asking = Asking { client: [127, 0, 0, 1].into(), method: &Method::GET, uri: &uri, headers: &headers };
        let panics: Trusts = Arc::new(|_| panic!("on purpose"));
        assert!(!limits(vec![panics.clone()]).trusts(&asking));
        assert!(limits(vec![panics, Arc::new(|asking| asking.client.is_loopback())]).trusts(&asking));
    }
}
