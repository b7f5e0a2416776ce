//! The time of day without asking for it: the monotonic reading that a request takes anyway, and how far the two
//! clocks were apart when a worker last looked.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use covet_core::clock::Clock;

#[derive(Debug)]
pub(super) struct WallClock {
    base: Instant,
    base_unix_millis: AtomicU64,
}

impl WallClock {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { base: clock.monotonic(), base_unix_millis: AtomicU64::new(clock.unix_millis()) }
    }

    /// Looks at both clocks. A step of the time of day is followed from here on.
    pub(super) fn set(&self, clock: &Clock) {
        let since_base = self.millis_since_base(clock.monotonic());
        self.base_unix_millis.store(clock.unix_millis().saturating_sub(since_base), Relaxed);
    }

    /// Milliseconds since 1970-01-01 UTC at a monotonic reading.
    pub(super) fn unix_millis(&self, at: Instant) -> u64 {
        self.base_unix_millis.load(Relaxed) + self.millis_since_base(at)
    }

    fn millis_since_base(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base);
        since.as_secs() * 1_000 + u64::from(since.subsec_millis())
    }
}

impl Clone for WallClock {
    fn clone(&self) -> Self {
        Self { base: self.base, base_unix_millis: AtomicU64::new(self.base_unix_millis.load(Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_tells_what_the_clock_would() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let wall_clock = WallClock::new(&clock);
        hand.advance(Duration::from_millis(61_250));
        assert_eq!(wall_clock.unix_millis(clock.monotonic()), clock.unix_millis());
        wall_clock.set(&clock);
        assert_eq!(wall_clock.unix_millis(clock.monotonic()), clock.unix_millis());
    }
}
