//! Pauses between attempts that fail.

use std::time::Duration;

/// Pauses that double from the first to the longest, each shortened by up to a half: so instances that lost something at the
/// same moment do not all ask for it at the same moment again.
///
/// ```
/// use std::time::Duration;
/// use covet_core::backoff::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
/// for longest in [100, 200, 300, 300] {
///     let pause = backoff.pause();
///     assert!(pause >= Duration::from_millis(longest / 2) && pause <= Duration::from_millis(longest));
/// }
/// backoff.reset();
/// assert!(backoff.pause() <= Duration::from_millis(100));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`, or with `longest` if that is shorter.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self { first, longest, next: first }
    }

    /// The pause before the next attempt.
    #[must_use]
    pub fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(self.longest);
        pause
    }

    /// After an attempt that succeeded.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}
