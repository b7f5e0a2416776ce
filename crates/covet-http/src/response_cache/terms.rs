//! The decisions of RFC 9111 for a shared cache: may this response be kept, how long is it fresh, may it be used for
//! this request. Nothing here reads a clock or stores anything.
//!
//! Written here, since the crate that does this elsewhere (`http-cache-semantics`) reads directives in lower case only
//! and cuts quoted ones at their commas, so that `No-Store` would be stored; does not know `stale-if-error`; and
//! allocates for each request.

use std::time::Duration;

use http::header::{AGE, DATE, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Serialize};

use super::cache_control::{RequestDirectives, ResponseDirectives};
use crate::conditional::http_date;

/// Most header names that a kept response varies by.
const MOST_VARY_NAMES: usize = 16;
/// No response is kept longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a response is not kept, in the words of `Cache-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Cache-Control: no-store`.
    NoStore,
    /// `Cache-Control: private`, and the key does not hold the caller.
    Private,
    /// It sets a cookie.
    SetCookie,
    /// The handler has found out who asks, and the key does not hold the caller.
    Caller,
    /// `Vary: *`, or something that is no list of headers.
    VaryAny,
    /// A status that is not kept, or only if the response says how long.
    Status,
    /// It is over as soon as it is made.
    NoFreshness,
    /// Its body is a stream, or larger than the cache takes.
    Body,
    /// Its URI has as many variants as are kept.
    TooManyVariants,
    /// The cache cannot be reached.
    CacheUnavailable,
}

impl Refusal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::SetCookie => "set-cookie",
            Self::Caller => "caller",
            Self::VaryAny => "vary-any",
            Self::Status => "status",
            Self::NoFreshness => "no-freshness",
            Self::Body => "body",
            Self::TooManyVariants => "too-many-variants",
            Self::CacheUnavailable => "cache-unavailable",
        }
    }
}

/// What the route says for responses that do not say it themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Defaults {
    /// How long a response is fresh.
    pub(super) lifetime: Option<Duration>,
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
    /// Whether the key holds the caller.
    pub(super) per_caller: bool,
}

/// For how long and how a response may be used. Times in milliseconds; `made` since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    made: u64,
    age_when_made: u64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
    /// Never without asking the handler: `no-cache`.
    ask_always: bool,
    /// May be used stale by a client that says `max-stale`.
    may_be_stale: bool,
}

/// How a kept response may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// As it is.
    AsIs,
    /// As it is, while it is made anew.
    WhileRefreshing,
    /// Only once the handler has confirmed it: it is stale.
    Stale,
    /// The same, because this client wants it so.
    Refused,
}

impl Terms {
    /// Decides over a response that was made just now, at `now`, and took `delay` milliseconds.
    pub(super) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        defaults: &Defaults,
        now: u64,
        delay: u64,
    ) -> Result<Self, Refusal> {
        let said = ResponseDirectives::of(headers);
        if said.no_store {
            return Err(Refusal::NoStore);
        }
        if said.private && !defaults.per_caller {
            return Err(Refusal::Private);
        }
        if headers.contains_key(SET_COOKIE) {
            return Err(Refusal::SetCookie);
        }
        let explicit = explicit_lifetime(&said, headers, now);
        if !may_keep(status, explicit.is_some()) {
            return Err(Refusal::Status);
        }
        let to_millis = |time: Duration| u64::try_from(time.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        let seconds = |seconds: u64| to_millis(Duration::from_secs(seconds));
        let lifetime = explicit.map(seconds).or(defaults.lifetime.map(to_millis)).unwrap_or(0);
        let strict = said.no_cache || said.must_revalidate;
        // `s-maxage` forbids stale use (RFC 9111 §5.2.2.10), unless the response itself allows it by RFC 5861.
        let window = |own: Option<u64>, default: Duration| match (own, said.s_maxage) {
            _ if strict => 0,
            (Some(own), _) => seconds(own),
            (None, Some(_)) => 0,
            (None, None) => to_millis(default),
        };
        Ok(Self {
            made: now,
            age_when_made: seconds(age_when_made(headers, now).saturating_add(delay / 1_000)),
            lifetime,
            stale_while_revalidate: window(said.stale_while_revalidate, defaults.stale_while_revalidate),
            stale_if_error: window(said.stale_if_error, defaults.stale_if_error),
            ask_always: said.no_cache,
            may_be_stale: !strict && said.s_maxage.is_none(),
        })
    }

    /// How old the response is at `now`, in milliseconds.
    pub(super) fn age(&self, now: u64) -> u64 {
        self.age_when_made.saturating_add(now.saturating_sub(self.made))
    }

    /// How long it is still fresh at `now`, in seconds; negative since it is stale.
    pub(super) fn ttl_seconds(&self, now: u64) -> i64 {
        let signed = |millis: u64| i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
        signed(self.lifetime).saturating_sub(signed(self.age(now)))
    }

    /// How a request that says `wish` may use it at `now`.
    pub(super) fn usage(&self, now: u64, wish: &RequestDirectives) -> Use {
        let age = self.age(now);
        let millis = |seconds: u64| seconds.saturating_mul(1_000);
        let too_old = wish.max_age.is_some_and(|most| most == 0 || age > millis(most));
        let too_short = wish.min_fresh.is_some_and(|least| self.lifetime.saturating_sub(age) < millis(least));
        if wish.no_cache || too_old || too_short {
            return Use::Refused;
        }
        if self.ask_always {
            return Use::Stale;
        }
        if self.lifetime > age {
            return Use::AsIs;
        }
        let stale_for = age - self.lifetime;
        if self.may_be_stale && wish.max_stale.is_some_and(|most| stale_for <= millis(most)) {
            return Use::AsIs;
        }
        if stale_for < self.stale_while_revalidate { Use::WhileRefreshing } else { Use::Stale }
    }

    /// Whether it is stale from the start: each request asks the handler, and none waits for another.
    pub(super) fn is_never_fresh(&self) -> bool {
        self.ask_always || self.lifetime <= self.age_when_made
    }

    /// Whether it may be given out because the handler fails at `now`.
    pub(super) fn may_replace_error(&self, now: u64) -> bool {
        let age = self.age(now);
        !self.ask_always && (age < self.lifetime || age - self.lifetime < self.stale_if_error)
    }

    /// How long it is worth being kept. `to_confirm`: how long a stale one is kept since the handler may confirm it.
    pub(super) fn worth(&self, to_confirm: Duration) -> Option<Duration> {
        let fresh = if self.ask_always { 0 } else { self.lifetime.saturating_sub(self.age_when_made) };
        let stale = self.stale_while_revalidate.max(self.stale_if_error);
        let confirm = u64::try_from(to_confirm.as_millis()).unwrap_or(u64::MAX);
        let worth = Duration::from_millis(fresh.saturating_add(stale.max(confirm))).min(LONGEST);
        (!worth.is_zero()).then_some(worth)
    }
}

/// The headers that a response says it varies by, in lower case, sorted, each once.
pub(super) fn vary(headers: &HeaderMap) -> Result<Vec<HeaderName>, Refusal> {
    let mut names = Vec::new();
    for value in headers.get_all(VARY) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            // `*` is a name that no header can have as far as this is concerned.
            let known = if name == b"*" { None } else { HeaderName::from_bytes(name).ok() };
            names.push(known.ok_or(Refusal::VaryAny)?);
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > MOST_VARY_NAMES { Err(Refusal::VaryAny) } else { Ok(names) }
}

/// Seconds of freshness that the response itself gives: RFC 9111 §4.2.1, first match. There are no heuristics.
fn explicit_lifetime(said: &ResponseDirectives, headers: &HeaderMap, now: u64) -> Option<u64> {
    if let Some(seconds) = said.s_maxage.or(said.max_age) {
        return Some(seconds);
    }
    let mut expires = headers.get_all(EXPIRES).iter();
    let first = expires.next()?;
    if expires.next().is_some() {
        return Some(0);
    }
    let date = headers.get(DATE).and_then(http_date).unwrap_or(now / 1_000);
    // What is no date is a date in the past.
    Some(http_date(first).map_or(0, |expires| expires.saturating_sub(date)))
}

/// Which statuses are kept. Without a word about freshness only those that are as good in five minutes: an error may
/// be over by then, and its body names its request.
fn may_keep(status: StatusCode, explicit: bool) -> bool {
    match status.as_u16() {
        // Parts, and answers about what the client has.
        ..200 | 206 | 304 | 412 | 416 | 500.. => false,
        200 | 203 | 204 | 301 | 308 => true,
        _ => explicit,
    }
}

/// Seconds, by `Age` and `Date` (RFC 9111 §4.2.3).
fn age_when_made(headers: &HeaderMap, now: u64) -> u64 {
    let apparent = headers.get(DATE).and_then(http_date).map_or(0, |date| (now / 1_000).saturating_sub(date));
    let told = headers.get(AGE).and_then(|value| {
        let first = value.as_bytes().split(|byte| matches!(byte, b',' | b';')).next()?.trim_ascii();
        if first.is_empty() || !first.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(first.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
    });
    apparent.max(told.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_767_225_600_000; // 2026-01-01T00:00:00Z

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn terms(status: u16, of: &[(&'static str, &str)], defaults: &Defaults) -> Result<Terms, Refusal> {
        Terms::of(StatusCode::from_u16(status).unwrap(), &headers(of), defaults, NOW, 0)
    }

    fn fresh_for(of: &[(&'static str, &str)]) -> u64 {
        let terms = terms(200, of, &Defaults::default()).unwrap();
        terms.lifetime.saturating_sub(terms.age_when_made) / 1_000
    }

    #[test]
    fn the_most_specific_word_about_freshness_counts() {
        let expires = ("expires", "Thu, 01 Jan 2026 00:00:30 GMT");
        assert_eq!(fresh_for(&[("cache-control", "max-age=60, s-maxage=120"), expires]), 120);
        assert_eq!(fresh_for(&[("cache-control", "max-age=60"), expires]), 60);
        assert_eq!(fresh_for(&[expires]), 30);
        assert_eq!(fresh_for(&[expires, ("date", "Thu, 01 Jan 2026 00:00:10 GMT")]), 20);
        assert_eq!(fresh_for(&[("expires", "0")]), 0);
        assert_eq!(fresh_for(&[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")]), 0, "nothing is guessed");
    }

    #[test]
    fn age_counts_from_where_the_response_was_made() {
        assert_eq!(fresh_for(&[("cache-control", "max-age=60"), ("age", "20")]), 40);
        assert_eq!(fresh_for(&[("cache-control", "max-age=60"), ("age", "20, 0"), ("age", "0")]), 40);
        assert_eq!(fresh_for(&[("cache-control", "max-age=60"), ("date", "Wed, 31 Dec 2025 23:59:30 GMT")]), 30);
        assert_eq!(fresh_for(&[("cache-control", "max-age=60"), ("age", "-20")]), 60);
    }

    #[test]
    fn what_must_not_be_kept_is_not() {
        let class = Defaults { lifetime: Some(Duration::from_secs(300)), ..Defaults::default() };
        let refused = |status, of: &[(&'static str, &str)]| terms(status, of, &class).unwrap_err();
        assert_eq!(refused(200, &[("cache-control", "No-Store, max-age=60")]), Refusal::NoStore);
        assert_eq!(refused(200, &[("cache-control", "private")]), Refusal::Private);
        assert_eq!(refused(200, &[("set-cookie", "a=1"), ("cache-control", "public, max-age=60")]), Refusal::SetCookie);
        for status in [206, 304, 500, 503, 404, 302] {
            assert_eq!(refused(status, &[]), Refusal::Status, "{status}");
        }
        for status in [206, 304, 500, 599] {
            assert_eq!(refused(status, &[("cache-control", "max-age=60")]), Refusal::Status, "{status}");
        }
        for status in [302, 404, 410] {
            assert!(terms(status, &[("cache-control", "max-age=60")], &class).is_ok(), "{status}");
        }
        let per_caller = Defaults { per_caller: true, ..class };
        assert!(terms(200, &[("cache-control", "private, max-age=60")], &per_caller).is_ok());
    }

    #[test]
    fn stale_use_needs_leave_and_ends() {
        let wish = RequestDirectives::default();
        let with = |control: &str| terms(200, &[("cache-control", control)], &Defaults::default()).unwrap();
        let after = |seconds: u64| NOW + seconds * 1_000;
        let lenient = with("max-age=10, stale-while-revalidate=5, stale-if-error=60");
        assert_eq!(lenient.usage(after(9), &wish), Use::AsIs);
        assert_eq!(lenient.usage(after(10), &wish), Use::WhileRefreshing);
        assert_eq!(lenient.usage(after(15), &wish), Use::Stale);
        assert!(lenient.may_replace_error(after(69)) && !lenient.may_replace_error(after(70)));
        for strict in ["must-revalidate", "proxy-revalidate", "no-cache"] {
            let terms = with(&format!("max-age=10, stale-while-revalidate=5, stale-if-error=60, {strict}"));
            assert_eq!(terms.usage(after(11), &wish), Use::Stale, "{strict}");
            assert!(!terms.may_replace_error(after(11)), "{strict}");
            let any = RequestDirectives { max_stale: Some(u64::MAX), ..wish };
            assert_eq!(terms.usage(after(11), &any), Use::Stale, "{strict}");
        }
        let class = Defaults { stale_if_error: Duration::from_secs(60), ..Defaults::default() };
        assert!(terms(200, &[("cache-control", "max-age=10")], &class).unwrap().may_replace_error(after(11)));
        assert!(!terms(200, &[("cache-control", "s-maxage=10")], &class).unwrap().may_replace_error(after(11)));
    }

    #[test]
    fn a_client_may_want_it_fresher() {
        let terms = terms(200, &[("cache-control", "max-age=100")], &Defaults::default()).unwrap();
        let uses = |wish: RequestDirectives| terms.usage(NOW + 50_000, &wish);
        let none = RequestDirectives::default();
        assert_eq!(uses(none), Use::AsIs);
        assert_eq!(uses(RequestDirectives { max_age: Some(49), ..none }), Use::Refused);
        assert_eq!(uses(RequestDirectives { max_age: Some(51), ..none }), Use::AsIs);
        assert_eq!(uses(RequestDirectives { min_fresh: Some(51), ..none }), Use::Refused);
        assert_eq!(uses(RequestDirectives { no_cache: true, ..none }), Use::Refused);
    }

    #[test]
    fn vary_is_a_set_of_names_and_a_star_anywhere_is_none() {
        let names = |of: &[(&'static str, &str)]| vary(&headers(of)).map(|names| names.len());
        assert_eq!(names(&[("vary", "Accept, ,accept-language"), ("vary", "ACCEPT")]), Ok(2));
        for star in ["*", "*, *", ", *", "foo, *", "*, foo", "a b"] {
            assert_eq!(names(&[("vary", star)]), Err(Refusal::VaryAny), "{star}");
        }
        assert_eq!(names(&[("vary", ""), ("vary", "*")]), Err(Refusal::VaryAny));
    }
}
