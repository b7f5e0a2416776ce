//! The time, from one place, so that a test can set it.
//!
//! `clippy.toml` bans reading the operating system's clock anywhere else.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A source of wall-clock and monotonic time. Cheap to clone.
///
/// ```
/// use covet_core::clock::Clock;
/// use std::time::Duration;
///
/// let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
/// hand.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().to_string(), "2026-01-01T00:01:00Z");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Clock {
    manual: Option<Arc<ManualTime>>,
}

#[derive(Debug)]
struct ManualTime {
    start: Timestamp,
    start_instant: Instant,
    advanced_nanos: AtomicU64,
}

/// The hand that moves a manual [`Clock`].
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<ManualTime>);

impl Clock {
    /// The operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { manual: None }
    }

    /// A clock that stands at `start` until its hand is moved.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let time = Arc::new(ManualTime { start, start_instant: Instant::now(), advanced_nanos: AtomicU64::new(0) });
        (Self { manual: Some(Arc::clone(&time)) }, ManualClock(time))
    }

    /// The time of day, UTC.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.manual {
            None => Timestamp::try_from(system_time()).unwrap_or(Timestamp::MAX),
            Some(time) => time.now(),
        }
    }

    /// Milliseconds since 1970-01-01 UTC. Cheaper than [`Clock::now`].
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        match &self.manual {
            None => {
                let since = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_secs() * 1_000 + u64::from(since.subsec_millis())
            }
            Some(time) => u64::try_from(time.now().as_millisecond()).unwrap_or(0),
        }
    }

    /// A reading to measure durations with; never goes backwards.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn monotonic(&self) -> Instant {
        match &self.manual {
            None => Instant::now(),
            Some(time) => time.start_instant + time.advanced(),
        }
    }
}

impl ManualTime {
    fn advanced(&self) -> Duration {
        Duration::from_nanos(self.advanced_nanos.load(Ordering::Relaxed))
    }

    fn now(&self) -> Timestamp {
        self.start.checked_add(self.advanced()).unwrap_or(Timestamp::MAX)
    }
}

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.advanced_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_its_hand() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        let before = clock.monotonic();
        hand.advance(Duration::from_millis(1_500));
        assert_eq!(clock.unix_millis(), 1_500);
        assert_eq!(clock.monotonic() - before, Duration::from_millis(1_500));
    }

    #[test]
    fn the_system_clock_agrees_with_itself() {
        let clock = Clock::system();
        let millis = i64::try_from(clock.unix_millis()).unwrap();
        assert!((clock.now().as_millisecond() - millis).abs() < 1_000);
    }
}
