//! What the limits say of a request, and of several verdicts the strictest.

use super::client::By;
use super::quota::{Quota, Standing};

/// How a request stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(super) by: By,
    pub(super) quota: Quota,
    pub(super) standing: Standing,
}

impl Verdict {
    pub(crate) fn is_refusal(self) -> bool {
        self.standing.refused_for.is_some()
    }

    /// A refusal over a pass, the longer refusal, the least that is left: what a client has to go by.
    pub(crate) fn strictest(self, other: Self) -> Self {
        let severity = |of: Self| {
            let Standing { remaining, more_in, refused_for } = of.standing;
            (refused_for, std::cmp::Reverse(remaining), more_in)
        };
        if severity(other) > severity(self) { other } else { self }
    }

    /// Whole seconds until a refused request would be let in, never too few.
    pub(super) fn retry_after_seconds(self) -> u64 {
        self.standing.refused_for.map_or(0, |wait| seconds_up(wait).max(1))
    }

    /// Whole seconds until one more than `remaining` may come.
    pub(super) fn reset_seconds(self) -> u64 {
        seconds_up(self.standing.more_in)
    }
}

fn seconds_up(micros: u64) -> u64 {
    micros.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn verdict(remaining: u32, more_in: u64, refused_for: Option<u64>) -> Verdict {
        let quota = Quota::new(10, Duration::from_secs(60), 10);
        Verdict { by: By::Address, quota, standing: Standing { remaining, more_in, refused_for } }
    }

    #[test]
    fn the_strictest_speaks() {
        let roomy = verdict(50, 1, None);
        let narrow = verdict(2, 1, None);
        let short = verdict(0, 5, Some(5));
        let long = verdict(0, 9, Some(9));
        for (one, other, expected) in [(roomy, narrow, narrow), (narrow, short, short), (short, long, long)] {
            assert_eq!(one.strictest(other), expected);
            assert_eq!(other.strictest(one), expected);
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(verdict(0, 1, Some(1)).retry_after_seconds(), 1);
        assert_eq!(verdict(0, 1, Some(1_000_000)).retry_after_seconds(), 1);
        assert_eq!(verdict(0, 1, Some(1_000_001)).retry_after_seconds(), 2);
        assert_eq!(verdict(3, 600_000, None).reset_seconds(), 1);
    }
}
