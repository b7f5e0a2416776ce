//! The values behind the `metrics` facade: counters and histograms on sharded cells, gauges as one number.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{CounterFn, GaugeFn, HistogramFn};

use super::shard::Cells;

/// Cells in one block: 8 KiB for each thread that counts.
const BLOCK: usize = 1024;

/// Hands out cells in blocks, so that a thread's counters lie together.
#[derive(Debug)]
pub(super) struct CellPool {
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    cells: Arc<Cells>,
    used: usize,
}

impl CellPool {
    pub(super) fn new() -> Self {
        Self { block: Mutex::new(Block { cells: Arc::new(Cells::new(BLOCK)), used: 0 }) }
    }

    /// `count` cells in a row, and the index of the first.
    fn take(&self, count: usize) -> (Arc<Cells>, usize) {
        let mut block = self.block.lock().unwrap_or_else(PoisonError::into_inner);
        if block.used + count > block.cells.len() {
            *block = Block { cells: Arc::new(Cells::new(BLOCK.max(count))), used: 0 };
        }
        let first = block.used;
        block.used += count;
        (Arc::clone(&block.cells), first)
    }
}

#[derive(Debug)]
pub(super) struct CounterCell {
    cells: Arc<Cells>,
    index: usize,
    /// What [`CounterFn::absolute`] asked for at least.
    at_least: AtomicU64,
}

impl CounterCell {
    pub(super) fn new(pool: &CellPool) -> Self {
        let (cells, index) = pool.take(1);
        Self { cells, index, at_least: AtomicU64::new(0) }
    }

    pub(super) fn value(&self) -> u64 {
        self.cells.sum(self.index).max(self.at_least.load(Relaxed))
    }
}

impl CounterFn for CounterCell {
    fn increment(&self, value: u64) {
        self.cells.add(self.index, value);
    }

    fn absolute(&self, value: u64) {
        self.at_least.fetch_max(value, Relaxed);
    }
}

#[derive(Debug, Default)]
pub(super) struct GaugeCell(AtomicU64);

impl GaugeCell {
    pub(super) fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

impl GaugeFn for GaugeCell {
    fn increment(&self, value: f64) {
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.0.fetch_update(Relaxed, Relaxed, add);
    }

    fn decrement(&self, value: f64) {
        self.increment(-value);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }
}

/// A histogram; with no bounds, a summary.
#[derive(Debug)]
pub(super) struct HistogramCell {
    cells: Arc<Cells>,
    /// Buckets, `+Inf`, sum.
    first: usize,
    bounds: &'static [f64],
}

impl HistogramCell {
    pub(super) fn new(pool: &CellPool, bounds: &'static [f64]) -> Self {
        let (cells, first) = pool.take(bounds.len() + 2);
        Self { cells, first, bounds }
    }

    /// The count of each bucket, `+Inf` last.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        (self.first..=self.first + self.bounds.len()).map(|index| self.cells.sum(index))
    }

    pub(super) fn sum(&self) -> f64 {
        self.cells.sum_f64(self.sum_index())
    }

    fn sum_index(&self) -> usize {
        self.first + self.bounds.len() + 1
    }
}

impl HistogramFn for HistogramCell {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    /// A value that is not a number is in no bucket, and would spoil the sum for ever.
    fn record_many(&self, value: f64, count: usize) {
        if value.is_nan() {
            return;
        }
        let bucket = self.bounds.iter().filter(|bound| value > **bound).count();
        let lane = self.cells.lane();
        lane.add(self.first + bucket, count as u64);
        lane.add_f64(self.sum_index(), value * count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_counter_never_falls() {
        let counter = CounterCell::new(&CellPool::new());
        counter.absolute(7);
        counter.absolute(3);
        assert_eq!(counter.value(), 7);
        counter.increment(9);
        assert_eq!(counter.value(), 9);
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_that_bucket_and_nan_to_none() {
        let histogram = HistogramCell::new(&CellPool::new(), &[1.0, 2.0]);
        histogram.record(1.0);
        histogram.record_many(1.5, 3);
        histogram.record(f64::INFINITY);
        histogram.record(f64::NAN);
        assert_eq!(histogram.counts().collect::<Vec<_>>(), [1, 3, 1]);
    }

    #[test]
    fn a_full_block_is_followed_by_another() {
        let pool = CellPool::new();
        let counters: Vec<_> = (0..3 * BLOCK).map(|_| CounterCell::new(&pool)).collect();
        for (index, counter) in counters.iter().enumerate() {
            counter.increment(index as u64);
        }
        assert!(counters.iter().enumerate().all(|(index, counter)| counter.value() == index as u64));
    }
}
