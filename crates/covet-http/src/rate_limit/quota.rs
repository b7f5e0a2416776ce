//! How many requests a client may make: the arithmetic, without clients, clocks or stores.
//!
//! It is the generic cell rate algorithm (GCRA, virtual scheduling; ITU-T I.371, Annex A): a client's state is the time at
//! which all it has asked for is paid off at one request an `interval`, and a request is let in unless that time has run too
//! far ahead. Whole microseconds throughout; nothing is ever rounded in a client's favour.
//!
//! **The burst rule.** Plain GCRA gives requests back while the burst still goes on: whoever sends steadily gets nearly twice
//! the limit through in the first minute, and which request is refused depends on how fast they come. Here a client that comes
//! afresh has `burst` requests for its first `window` (`burst` × `interval`), at whatever pace; when that is over it has one
//! more each `interval`, and what it leaves unused adds up to `burst` again. So "100 a minute" lets exactly 100 through in the
//! minute that the first one begins, the 101st hears when the minute is over, and in no time t does more pass than plain GCRA
//! lets through: `burst` + t / `interval`.

use std::time::Duration;

/// Requests that a client may make: so many in a window that its first one begins, then one each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    interval: u64,
    burst: u32,
}

/// What is kept of a client: two times, in microseconds of the store's clock. A client that is not known has zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// When its window began.
    pub(super) start: u64,
    /// From when on it is as good as unknown: it may make `burst` requests again.
    pub(super) fresh_at: u64,
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Requests that it may make now.
    pub(super) remaining: u32,
    /// Microseconds until it may make one more than that.
    pub(super) more_in: u64,
    /// Of a request that is refused: microseconds until it would be let in.
    pub(super) refused_for: Option<u64>,
}

impl Quota {
    /// `requests` in `period` on average, `burst` of them at once.
    ///
    /// # Panics
    /// When one of them is nothing.
    pub(crate) const fn new(requests: u32, period: Duration, burst: u32) -> Self {
        assert!(requests > 0 && burst > 0 && period.as_micros() > 0, "a limit of nothing lets nobody in");
        #[expect(clippy::cast_possible_truncation, reason = "no limit is for 500 000 years")]
        let interval = (period.as_micros() as u64).div_ceil(requests as u64);
        Self { interval, burst }
    }

    pub(crate) const fn burst(self) -> u32 {
        self.burst
    }

    /// In microseconds.
    pub(super) const fn interval(self) -> u64 {
        self.interval
    }

    /// The time in which `burst` requests come back, in microseconds.
    pub(super) const fn window(self) -> u64 {
        self.interval * self.burst as u64
    }

    /// How long a client remains known after all is paid off, in microseconds.
    const fn tail(self) -> u64 {
        self.interval * (self.burst as u64 - 1)
    }

    /// In seconds, rounded up.
    pub(crate) const fn window_seconds(self) -> u64 {
        self.window().div_ceil(1_000_000)
    }

    /// Lets a request in, if it may come in, and tells how the client stands after it.
    #[inline]
    pub(super) fn take(self, state: &mut State, cost: u32, now: u64) -> Standing {
        let (next, standing) = self.step(*state, cost, now);
        if standing.refused_for.is_none() {
            *state = next;
        }
        standing
    }

    /// What [`take`](Self::take) would say.
    #[inline]
    pub(super) fn ask(self, state: State, cost: u32, now: u64) -> Standing {
        self.step(state, cost, now).1
    }

    #[inline]
    fn step(self, state: State, cost: u32, now: u64) -> (State, Standing) {
        let Self { interval, burst } = self;
        let (window, tail) = (self.window(), self.tail());
        // A request that costs more than there can ever be costs all of it.
        let due = interval * u64::from(cost.min(burst));
        let (start, paid_at) = if state.fresh_at <= now {
            (now, now)
        } else {
            // A clock that was set back must not shut anybody out for longer than a window.
            (state.start.min(now), state.fresh_at.saturating_sub(tail).min(now + window))
        };
        // How far what is asked for may run ahead: to the end of the first window, then one request.
        let horizon = (now + interval).max(start + window);
        let after = paid_at + due;
        let let_in = after <= horizon;
        let paid_at = if let_in { after } else { paid_at };
        let left = horizon.saturating_sub(paid_at) / interval;
        let standing = Standing {
            remaining: u32::try_from(left).unwrap_or(burst).min(burst),
            more_in: (paid_at + left * interval).saturating_sub(now),
            refused_for: (!let_in).then(|| after - interval - now),
        };
        (State { start, fresh_at: paid_at + tail }, standing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SECOND: u64 = 1_000_000;
    /// Some time of a clock that has long been going.
    const NOON: u64 = 12 * 3_600 * SECOND;

    const HUNDRED: Quota = Quota::new(100, MINUTE, 100);

    fn let_in(quota: Quota, state: &mut State, at: u64) -> bool {
        quota.take(state, 1, at).refused_for.is_none()
    }

    #[test]
    fn a_fresh_client_has_exactly_a_hundred_in_its_minute_at_any_pace() {
        for pause in [0, 1, 10_000, 300_000, 599_000] {
            let mut state = State::default();
            let end = NOON + 60 * SECOND;
            let times = (0..400).map(|n| NOON + n * pause).filter(|at| *at < end);
            let taken = times.clone().filter(|at| let_in(HUNDRED, &mut state, *at)).count();
            assert_eq!(taken, times.count().min(100), "a request each {pause} µs");
        }
    }

    #[test]
    fn the_hundred_and_first_is_told_when_to_come_and_is_let_in_then() {
        let mut state = State::default();
        for n in 0..100 {
            let standing = HUNDRED.take(&mut state, 1, NOON + n * 1_000);
            assert_eq!((standing.remaining, standing.refused_for), (99 - n as u32, None));
        }
        let at = NOON + SECOND;
        let wait = HUNDRED.take(&mut state, 1, at).refused_for.unwrap();
        assert_eq!(wait, 59 * SECOND, "the end of its minute");
        assert!(!let_in(HUNDRED, &mut state, at + wait - 1));
        assert!(let_in(HUNDRED, &mut state, at + wait));
        assert!(!let_in(HUNDRED, &mut state, at + wait), "then one each 600 ms");
        assert!(let_in(HUNDRED, &mut state, at + wait + 600_000));
    }

    #[test]
    fn what_is_not_used_comes_back_but_never_more_than_the_burst() {
        let mut state = State::default();
        for _ in 0..100 {
            assert!(let_in(HUNDRED, &mut state, NOON));
        }
        let later = NOON + 90 * SECOND;
        let taken = (0..200).filter(|_| let_in(HUNDRED, &mut state, later)).count();
        assert_eq!(taken, 51, "that of the minute's end, and those of half a minute");
        let much_later = NOON + 86_400 * SECOND;
        let taken = (0..200).filter(|_| let_in(HUNDRED, &mut state, much_later)).count();
        assert_eq!(taken, 100);
    }

    #[test]
    fn whoever_keeps_to_the_rate_is_never_refused_whatever_the_burst() {
        for burst in [1, 7, 100, 5_000] {
            let quota = Quota::new(100, MINUTE, burst);
            let mut state = State::default();
            assert!((0..20_000).all(|n| let_in(quota, &mut state, NOON + n * 600_000)), "burst {burst}");
        }
    }

    #[test]
    fn a_cost_counts_as_so_many_and_one_over_the_burst_as_all_of_it() {
        let mut state = State::default();
        assert_eq!(HUNDRED.take(&mut state, 30, NOON).remaining, 70);
        assert_eq!(HUNDRED.take(&mut state, 70, NOON).remaining, 0);
        let mut state = State::default();
        assert_eq!(HUNDRED.take(&mut state, 1_000, NOON).refused_for, None);
        assert_eq!(HUNDRED.take(&mut state, 1, NOON).refused_for, Some(60 * SECOND));
    }

    #[test]
    fn one_request_in_a_minute_leaves_a_client_as_good_as_unknown_when_it_is_over() {
        let mut state = State::default();
        let standing = HUNDRED.take(&mut state, 1, NOON);
        assert_eq!((standing.remaining, standing.more_in), (99, 60 * SECOND));
        assert_eq!(state.fresh_at, NOON + 60 * SECOND);
        assert_eq!(HUNDRED.take(&mut state, 1, NOON + 60 * SECOND).remaining, 99);
    }

    #[test]
    fn asking_takes_nothing() {
        let mut state = State::default();
        HUNDRED.take(&mut state, 99, NOON);
        let before = state;
        assert_eq!(HUNDRED.ask(state, 1, NOON).remaining, 0, "after it");
        assert_eq!(HUNDRED.ask(state, 2, NOON).refused_for, Some(60 * SECOND));
        assert_eq!(state, before);
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out_for_longer_than_a_window() {
        let mut state = State::default();
        for _ in 0..100 {
            HUNDRED.take(&mut state, 1, NOON);
        }
        let earlier = NOON - 3_600 * SECOND;
        assert_eq!(HUNDRED.ask(state, 1, earlier).refused_for, Some(60 * SECOND));
    }

    #[test]
    fn intervals_are_rounded_up() {
        assert_eq!(Quota::new(7, MINUTE, 7).interval(), 8_571_429);
        assert_eq!(Quota::new(7, MINUTE, 7).window_seconds(), 61);
        assert_eq!(HUNDRED.window_seconds(), 60);
        assert_eq!(Quota::new(60_000_000, MINUTE, 60_000_000).interval(), 1);
    }

    proptest! {
        /// The promise of the algorithm: in no time t does more pass than the burst and what comes back in t.
        #[test]
        fn never_more_passes_than_the_burst_and_the_rate_allow(
            requests in 1_u32..500,
            burst in 1_u32..200,
            arrivals in prop::collection::vec((0_u64..3_000_000, 1_u32..4), 1..400),
        ) {
            let quota = Quota::new(requests, MINUTE, burst);
            let (mut state, mut now) = (State::default(), NOON);
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (pause, cost) in arrivals {
                now += pause;
                if quota.take(&mut state, cost, now).refused_for.is_none() {
                    passed.push((now, u64::from(cost.min(burst))));
                }
            }
            for (first, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (at, cost) in &passed[first..] {
                    sum += cost;
                    prop_assert!(sum <= u64::from(burst) + (at - from) / quota.interval());
                }
            }
        }

        /// A client hears the truth: not before, and then indeed.
        #[test]
        fn a_refused_request_passes_when_it_was_told_to_come_back(
            requests in 1_u32..500,
            burst in 1_u32..200,
            arrivals in prop::collection::vec((0_u64..2_000_000, 1_u32..4), 1..300),
        ) {
            let quota = Quota::new(requests, MINUTE, burst);
            let (mut state, mut now) = (State::default(), NOON);
            for (pause, cost) in arrivals {
                now += pause;
                let standing = quota.take(&mut state, cost, now);
                if let Some(wait) = standing.refused_for {
                    prop_assert!(wait > 0 && quota.ask(state, cost, now + wait - 1).refused_for.is_some());
                    prop_assert_eq!(quota.ask(state, cost, now + wait).refused_for, None);
                }
                let more = quota.ask(state, standing.remaining.max(1), now).refused_for;
                prop_assert_eq!(more.is_none(), standing.remaining > 0);
                let one_more = (standing.remaining + 1).min(burst);
                prop_assert_eq!(quota.ask(state, one_more, now + standing.more_in).refused_for, None);
            }
        }

        /// A copy of the state that is older than the store's never lets in what the store refuses, and refuses nothing
        /// that it would let in: what the shared store's answers are kept for.
        #[test]
        fn what_an_older_copy_refuses_is_refused(
            arrivals in prop::collection::vec((0_u64..900_000, any::<bool>()), 1..400),
        ) {
            let (mut state, mut copy, mut now) = (State::default(), State::default(), NOON);
            for (pause, look) in arrivals {
                now += pause;
                if HUNDRED.ask(copy, 1, now).refused_for.is_some() {
                    prop_assert!(HUNDRED.ask(state, 1, now).refused_for.is_some());
                }
                HUNDRED.take(&mut state, 1, now);
                if look {
                    copy = state;
                }
            }
        }
    }
}
