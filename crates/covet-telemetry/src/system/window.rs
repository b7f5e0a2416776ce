//! A share of time, measured from one reading to the next, so that nobody has to wait for it.

/// Two readings nearer to each other than this say little; the last share is shown again.
const LEAST_SECONDS: f64 = 0.25;

/// Begins at zero: the first share is that since the beginning.
#[derive(Debug, Default)]
pub(super) struct Window {
    busy_seconds: f64,
    total_seconds: f64,
    percent: f64,
}

impl Window {
    /// The share of time since the last reading in percent. `tracks` clocks run side by side in the total.
    pub(super) fn percent(&mut self, busy_seconds: f64, total_seconds: f64, tracks: usize) -> f64 {
        let elapsed = total_seconds - self.total_seconds;
        if elapsed >= LEAST_SECONDS * tracks as f64 {
            self.percent = ((busy_seconds - self.busy_seconds) / elapsed * 100.0).max(0.0);
            (self.busy_seconds, self.total_seconds) = (busy_seconds, total_seconds);
        }
        self.percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
    }

    #[test]
    fn each_share_is_that_since_the_last_reading() {
        let mut window = Window::default();
        assert_close(window.percent(10.0, 100.0, 2), 10.0);
        assert_close(window.percent(15.0, 110.0, 2), 50.0);
        assert_close(window.percent(15.0, 120.0, 2), 0.0);
    }

    #[test]
    fn two_scrapers_at_once_see_the_same() {
        let mut window = Window::default();
        assert_close(window.percent(10.0, 100.0, 2), 10.0);
        assert_close(window.percent(10.4, 100.4, 2), 10.0);
        assert_close(window.percent(10.5, 101.0, 2), 50.0);
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_nonsense() {
        let mut window = Window::default();
        window.percent(10.0, 100.0, 1);
        assert_close(window.percent(9.0, 101.0, 1), 0.0);
    }
}
