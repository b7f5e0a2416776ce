//! [`Ttl`]: how long an entry lives.

use std::time::Duration;

use crate::settings::CacheSettings;

/// Shortest and longest time that an entry is given. Redis refuses 0, and overflows beyond 2⁶³ milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long an entry lives: a class, of which the operator sets the time, or a time of one's own.
///
/// Entries of `Response`, `Query` and `Static` live up to a tenth shorter (`COVET_CACHE__JITTER_PERCENT`), so that what was
/// stored together does not have to be loaded together again. `Session` and `Of` are kept to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Sessions, tokens: `COVET_CACHE__SESSION_TTL`, 24 h.
    Session,
    /// Answers of the API and what they are made of: `COVET_CACHE__RESPONSE_TTL`, 5 min.
    Response,
    /// Results of queries: `COVET_CACHE__QUERY_TTL`, 1 h.
    Query,
    /// What hardly ever changes: `COVET_CACHE__STATIC_TTL`, 1 d.
    Static,
    /// This long.
    Of(Duration),
}

/// The operator's times.
#[derive(Debug, Clone)]
pub(crate) struct Lifetimes {
    session: Duration,
    response: Duration,
    query: Duration,
    r#static: Duration,
    nothing: Duration,
    jitter: f64,
}

impl Lifetimes {
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        Self {
            session: settings.session_ttl,
            response: settings.response_ttl,
            query: settings.query_ttl,
            r#static: settings.static_ttl,
            nothing: settings.nothing_ttl,
            jitter: f64::from(settings.jitter_percent) / 100.0,
        }
    }

    /// The time for one entry.
    pub(crate) fn of(&self, ttl: Ttl) -> Duration {
        let time = match ttl {
            Ttl::Session => self.session,
            Ttl::Of(time) => time,
            Ttl::Response => self.jittered(self.response),
            Ttl::Query => self.jittered(self.query),
            Ttl::Static => self.jittered(self.r#static),
        };
        time.clamp(SHORTEST, LONGEST)
    }

    /// The time for the note that there is nothing.
    pub(crate) fn nothing(&self, own: Option<Duration>) -> Duration {
        own.unwrap_or(self.nothing).clamp(SHORTEST, LONGEST)
    }

    /// The time for the generation of a tag: longer than that of the entries that bear it. One that ends earlier costs a
    /// load.
    pub(crate) fn tag(&self, entry: Duration) -> Duration {
        let longest = self.session.max(self.response).max(self.query).max(self.r#static).max(entry);
        (longest * 2).min(LONGEST)
    }

    fn jittered(&self, time: Duration) -> Duration {
        time.mul_f64(1.0 - fastrand::f64() * self.jitter)
    }
}

#[cfg(test)]
mod tests {
    use covet_core::environment::Environment;
    use covet_core::settings::Section as _;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn classes_have_the_documented_times_and_end_at_different_moments() {
        let lifetimes = Lifetimes::new(&CacheSettings::defaults(Environment::Production));
        for (ttl, documented) in
            [(Ttl::Response, Duration::from_secs(300)), (Ttl::Query, HOUR), (Ttl::Static, HOUR * 24)]
        {
            let times: Vec<_> = (0..100).map(|_| lifetimes.of(ttl)).collect();
            assert!(times.iter().all(|time| *time <= documented && *time >= documented.mul_f64(0.9)), "{times:?}");
            assert!(times.iter().any(|time| *time != times[0]));
        }
        assert_eq!(lifetimes.of(Ttl::Session), HOUR * 24);
        assert_eq!(lifetimes.of(Ttl::Of(HOUR * 3)), HOUR * 3);
        assert_eq!(lifetimes.nothing(None), Duration::from_secs(30));
    }

    #[test]
    fn times_that_redis_would_refuse_are_not_given() {
        let lifetimes = Lifetimes::new(&CacheSettings::defaults(Environment::Production));
        assert_eq!(lifetimes.of(Ttl::Of(Duration::ZERO)), SHORTEST);
        assert_eq!(lifetimes.of(Ttl::Of(Duration::MAX)), LONGEST);
        assert_eq!(lifetimes.tag(Duration::MAX.min(LONGEST)), LONGEST);
    }
}
