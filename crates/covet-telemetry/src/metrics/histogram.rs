//! Histograms of durations on [`Cells`], for counting on every request.
//!
//! A [`Durations`] knows where in a row of cells each bucket lies; many histograms of one metric share it.

use std::time::Duration;

use super::Metric;
use super::shard::{Cells, Lane};

/// The cells of one histogram: one a bucket, one for `+Inf`, one for the sum in nanoseconds.
///
/// ```
/// use covet_telemetry::metrics::{catalog, histogram::Durations, shard::Cells};
/// use std::time::Duration;
///
/// let layout = Durations::of(catalog::HTTP_REQUEST_DURATION_SECONDS);
/// let cells = Cells::new(layout.cells());
/// layout.record(cells.lane(), 0, Duration::from_millis(7));
///
/// let mut buckets = Vec::new();
/// let sum_seconds = layout.read(&cells, 0, &mut buckets);
/// assert_eq!((buckets[1], sum_seconds), (1, 0.007));
/// ```
#[derive(Debug, Clone)]
pub struct Durations {
    bounds_nanos: Box<[u64]>,
}

impl Durations {
    /// The layout for a histogram whose buckets are in seconds.
    #[must_use]
    pub fn of(metric: &Metric) -> Self {
        let nanos = |seconds: &f64| nanos(Duration::from_secs_f64(*seconds));
        Self { bounds_nanos: metric.kind.buckets().iter().map(nanos).collect() }
    }

    /// How many cells one histogram takes.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.bounds_nanos.len() + 2
    }

    /// How many buckets there are, `+Inf` among them.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.bounds_nanos.len() + 1
    }

    /// Counts one duration into the histogram whose first cell is `first`. Returns its bucket.
    #[inline]
    pub fn record(&self, lane: Lane<'_>, first: usize, duration: Duration) -> usize {
        let nanos = nanos(duration);
        let bucket = self.bounds_nanos.iter().filter(|bound| nanos > **bound).count();
        lane.add(first + bucket, 1);
        lane.add(first + self.bounds_nanos.len() + 1, nanos);
        bucket
    }

    /// Puts the counts of each bucket, `+Inf` last and none cumulative, into `buckets`, and returns the sum in
    /// seconds: what [`Exposition::histogram`](super::Exposition::histogram) takes.
    #[must_use]
    pub fn read(&self, cells: &Cells, first: usize, buckets: &mut Vec<u64>) -> f64 {
        buckets.clear();
        buckets.extend((first..=first + self.bounds_nanos.len()).map(|index| cells.sum(index)));
        Duration::from_nanos(cells.sum(first + self.bounds_nanos.len() + 1)).as_secs_f64()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::catalog;

    #[test]
    fn a_duration_on_a_bound_belongs_to_that_bucket() {
        let layout = Durations::of(catalog::HTTP_REQUEST_DURATION_SECONDS);
        let cells = Cells::new(3 + layout.cells());
        for millis in [0, 5, 6, 10_000, 10_001] {
            layout.record(cells.lane(), 3, Duration::from_millis(millis));
        }
        let mut buckets = Vec::new();
        let sum = layout.read(&cells, 3, &mut buckets);
        assert_eq!(buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((sum - 20.012).abs() < 1e-9);
    }
}
