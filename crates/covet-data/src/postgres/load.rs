//! How busy a connection is, in numbers that every thread may read and change.
//!
//! A connection is used in one of two ways. On its *own*: by one caller at a time. As a *lane*: quick statements of many
//! callers follow one another without waiting for answers, and PostgreSQL runs them in that order. A lane takes a further
//! statement only while little is ahead of it, so that none waits long for the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Access;

const LANE_READ: u64 = 1 << 63;
const LANE_WRITE: u64 = 1 << 62;
/// No longer a lane, as soon as the last statement on it has its answer.
const DRAINING: u64 = 1 << 61;
const KIND: u64 = LANE_READ | LANE_WRITE | DRAINING;
/// One statement on its way.
const ONE: u64 = 1 << 32;
const IN_FLIGHT: u64 = 0xff_ffff * ONE;
/// Microseconds that the statements on their way are expected to take.
const BACKLOG: u64 = 0xffff_ffff;

#[derive(Debug)]
pub(super) struct Load {
    /// Kind, how many are in flight, and the backlog.
    state: AtomicU64,
    /// When its caller saw the last answer, or sent the first statement, in microseconds since `epoch`.
    head_since: AtomicU64,
    /// What its only user does may take any time.
    untimed: AtomicBool,
    epoch: Instant,
}

/// A statement's place on a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    expected_micros: u32,
}

/// What became of leaving a lane, or of no longer being one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Others are on it, or it stays a lane.
    Kept,
    /// It was draining, and the last one has left: the connection is free.
    Free,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: AtomicU64::new(0), head_since: AtomicU64::new(0), untimed: AtomicBool::new(false), epoch: now }
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn in_flight(&self) -> usize {
        let count = (self.state.load(Ordering::Acquire) & IN_FLIGHT) / ONE;
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub(super) fn is_lane(&self) -> bool {
        self.state.load(Ordering::Acquire) & KIND != 0
    }

    /// Microseconds that the statements on their way are expected to take.
    pub(super) fn backlog(&self) -> u64 {
        self.state.load(Ordering::Acquire) & BACKLOG
    }

    fn head_for(&self, now: Instant) -> Duration {
        Duration::from_micros(self.micros(now).saturating_sub(self.head_since.load(Ordering::Acquire)))
    }

    /// Takes a place on the lane, if what is ahead is expected to take no longer than `most_ahead`. `None`: it is no
    /// such lane, or too much is ahead.
    pub(super) fn enter(
        &self,
        lane: Access,
        expected_micros: u32,
        most_ahead: Duration,
        now: Instant,
    ) -> Option<Place> {
        let kind = kind_of(lane);
        let most_ahead = u64::try_from(most_ahead.as_micros()).unwrap_or(u64::MAX);
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let full = state & IN_FLIGHT != 0 && (state & BACKLOG > most_ahead || state & IN_FLIGHT == IN_FLIGHT);
            if state & KIND != kind || full {
                return None;
            }
            let next = state + ONE + u64::from(expected_micros);
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(before) => {
                    if before & IN_FLIGHT == 0 {
                        self.head_since.store(self.micros(now), Ordering::Release);
                    }
                    return Some(Place { expected_micros });
                }
                Err(current) => state = current,
            }
        }
    }

    /// The statement in this place has its answer. Returns since when it was its turn too.
    pub(super) fn leave(&self, place: Place, now: Instant) -> (Instant, Left) {
        let began = self.epoch + Duration::from_micros(self.head_since.load(Ordering::Acquire));
        let before = self.state.fetch_sub(ONE + u64::from(place.expected_micros), Ordering::AcqRel);
        self.head_since.store(self.micros(now), Ordering::Release);
        let free = before & DRAINING != 0 && before & IN_FLIGHT == ONE;
        (began, if free { Left::Free } else { Left::Kept })
    }

    /// Makes a lane of a connection that nobody uses.
    pub(super) fn become_lane(&self, lane: Access) {
        self.state.store(kind_of(lane), Ordering::Release);
    }

    /// Takes no further statements.
    pub(super) fn drain(&self) -> Left {
        let before = self.state.fetch_or(DRAINING, Ordering::AcqRel);
        let free = before & DRAINING == 0 && before & IN_FLIGHT == 0;
        if free { Left::Free } else { Left::Kept }
    }

    /// No lane any more. Only for who was told that it is free.
    pub(super) fn stop_being_lane(&self) {
        self.state.store(0, Ordering::Release);
    }

    /// The only user begins something.
    pub(super) fn begin(&self, now: Instant) {
        self.head_since.store(self.micros(now), Ordering::Release);
        self.state.fetch_add(ONE, Ordering::AcqRel);
    }

    /// The only user has its answer.
    pub(super) fn end(&self) {
        self.state.fetch_sub(ONE, Ordering::AcqRel);
    }

    /// Everything that the only user began has its answer.
    pub(super) fn end_all(&self) {
        self.state.store(0, Ordering::Release);
    }

    /// What its only user does from now on may take any time, or no longer.
    pub(super) fn set_untimed(&self, untimed: bool) {
        self.untimed.store(untimed, Ordering::Relaxed);
    }

    pub(super) fn is_timed(&self) -> bool {
        !self.untimed.load(Ordering::Relaxed)
    }

    /// How long ago the last statement had its answer; `None` while one is on its way.
    pub(super) fn unused_for(&self, now: Instant) -> Option<Duration> {
        (self.in_flight() == 0).then(|| self.head_for(now))
    }
}

fn kind_of(lane: Access) -> u64 {
    match lane {
        Access::Read => LANE_READ,
        Access::Write => LANE_WRITE,
    }
}

#[cfg(test)]
mod tests {
    use covet_core::clock::Clock;

    use super::*;

    const MOST: Duration = Duration::from_millis(1);

    #[test]
    fn a_lane_takes_statements_while_little_is_ahead() {
        let now = Clock::system().monotonic();
        let load = Load::new(now);
        assert!(load.enter(Access::Read, 100, MOST, now).is_none(), "no lane yet");
        load.become_lane(Access::Read);
        assert!(load.enter(Access::Write, 100, MOST, now).is_none(), "a lane of another kind");
        let places: Vec<Place> = std::iter::from_fn(|| load.enter(Access::Read, 100, MOST, now)).collect();
        assert_eq!(places.len(), 11);
        for place in places {
            assert_eq!(load.leave(place, now).1, Left::Kept);
        }
        assert_eq!((load.in_flight(), load.backlog()), (0, 0));
        // The first of all may be expected to take long.
        assert!(load.enter(Access::Read, 4_000, MOST, now).is_some());
        assert!(load.enter(Access::Read, 1, MOST, now).is_none());
    }

    #[test]
    fn the_turn_of_a_statement_begins_when_the_one_before_has_its_answer() {
        let start = Clock::system().monotonic();
        let at = |millis| start + Duration::from_millis(millis);
        let load = Load::new(start);
        load.become_lane(Access::Write);
        let first = load.enter(Access::Write, 10, MOST, at(1)).unwrap();
        let second = load.enter(Access::Write, 10, MOST, at(2)).unwrap();
        assert_eq!(load.leave(first, at(4)).0, at(1));
        assert_eq!(load.leave(second, at(5)).0, at(4));
    }

    #[test]
    fn a_draining_lane_is_free_once_and_told_once() {
        let now = Clock::system().monotonic();
        let load = Load::new(now);
        load.become_lane(Access::Read);
        let place = load.enter(Access::Read, 10, MOST, now).unwrap();
        assert_eq!(load.drain(), Left::Kept);
        assert!(load.enter(Access::Read, 10, MOST, now).is_none());
        assert_eq!(load.leave(place, now).1, Left::Free);
        assert_eq!(load.drain(), Left::Kept, "somebody has it already");
        load.stop_being_lane();
        load.become_lane(Access::Read);
        assert_eq!(load.drain(), Left::Free);
    }
}
