//! How long a statement tends to take, from what its runs took.
//!
//! Two numbers: the mean, which tells quick statements from others, and the floor, which tells how long a quick one keeps
//! the server busy. A busy process looks at its answers late, which adds to what it measures and never takes away: so a
//! run that seems slower than the others counts only if its answer was looked at soon.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The pace of a statement. Unknown at first.
#[derive(Debug)]
pub(crate) struct Pace(AtomicU64);

/// Mean and floor, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    mean: u32,
    floor: u32,
}

const UNKNOWN: u64 = u64::MAX;
/// Longer is not told apart: after one run of a minute a statement is quick again after some twenty quick ones.
const LONGEST_MICROS: u32 = 50_000;
/// An answer looked at this soon was not kept waiting by a busy process.
const SOON: Duration = Duration::from_micros(500);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(UNKNOWN))
    }
}

impl Pace {
    /// What is known; `None` before the first run.
    pub(crate) fn estimate(&self) -> Option<Estimate> {
        let packed = self.0.load(Ordering::Relaxed);
        (packed != UNKNOWN).then(|| Estimate::unpack(packed))
    }

    /// Notes a run, whose answer was looked at so `late`. Of two runs at once one may be lost; that does not matter.
    pub(crate) fn note(&self, took: Duration, late: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).clamp(1, LONGEST_MICROS);
        let next = match self.estimate() {
            None => Estimate { mean: micros, floor: micros },
            Some(Estimate { mean, .. }) if micros > mean && late > SOON => return,
            Some(Estimate { mean, floor }) => Estimate {
                mean: mean - mean.div_ceil(8) + micros.div_ceil(8),
                floor: micros.min(floor + (micros.saturating_sub(floor)).div_ceil(16)),
            },
        };
        let packed = next.pack();
        // Stored only when it changes: the line is read by every thread.
        if self.0.load(Ordering::Relaxed) != packed {
            self.0.store(packed, Ordering::Relaxed);
        }
    }

    /// It was stopped because it took too long for a quick one.
    pub(crate) fn note_slow(&self) {
        self.0.store(Estimate { mean: LONGEST_MICROS, floor: LONGEST_MICROS }.pack(), Ordering::Relaxed);
    }
}

impl Estimate {
    pub(crate) fn is_quicker_than(self, limit: Duration) -> bool {
        Duration::from_micros(self.mean.into()) < limit
    }

    /// How long it keeps the server busy, in microseconds.
    pub(crate) fn floor_micros(self) -> u32 {
        self.floor
    }

    fn pack(self) -> u64 {
        u64::from(self.mean) << 32 | u64::from(self.floor)
    }

    #[expect(clippy::cast_possible_truncation, reason = "two halves")]
    fn unpack(packed: u64) -> Self {
        Self { mean: (packed >> 32) as u32, floor: packed as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(5);

    fn quick(pace: &Pace) -> bool {
        pace.estimate().is_some_and(|estimate| estimate.is_quicker_than(LIMIT))
    }

    #[test]
    fn a_statement_is_quick_once_it_has_been() {
        let pace = Pace::default();
        assert!(pace.estimate().is_none());
        pace.note(Duration::from_micros(200), Duration::ZERO);
        assert!(quick(&pace));
        assert_eq!(pace.estimate().unwrap().floor_micros(), 200);
    }

    #[test]
    fn one_that_is_often_slow_is_not_quick() {
        let pace = Pace::default();
        for n in 0..100 {
            pace.note(Duration::from_micros(if n % 3 == 0 { 40_000 } else { 100 }), Duration::ZERO);
        }
        assert!(!quick(&pace));
    }

    #[test]
    fn delays_of_the_process_do_not_make_it_slow() {
        let pace = Pace::default();
        pace.note(Duration::from_micros(60), Duration::ZERO);
        for _ in 0..200 {
            pace.note(Duration::from_millis(20), Duration::from_millis(19));
        }
        assert!(quick(&pace), "{pace:?}");
        assert_eq!(pace.estimate().unwrap().floor_micros(), 60);
    }

    #[test]
    fn after_a_slow_run_it_takes_some_quick_ones() {
        let pace = Pace::default();
        pace.note(Duration::from_micros(100), Duration::ZERO);
        pace.note_slow();
        assert!(!quick(&pace));
        let runs = (0..).take_while(|_| {
            pace.note(Duration::from_micros(100), Duration::ZERO);
            !quick(&pace)
        });
        assert!((10..30).contains(&runs.count()));
    }
}
