//! Exemplars: for each bucket of a histogram one observation with the trace that it came from, so that a slow bucket on
//! a dashboard leads to a slow trace.
//!
//! Only OpenMetrics shows them. They are bounded: one a bucket; a younger observation takes the place of one that is
//! at least a second old. So a bucket is written at most once a second, however many requests are sampled, and the
//! request path otherwise only looks at a time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::traces::TraceId;

/// How long an exemplar stays at least.
const KEPT_MILLIS: u64 = 1000;

/// An observation and its trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// The trace.
    pub trace: TraceId,
    /// What was observed, in the histogram's unit.
    pub value: f64,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub unix_millis: u64,
}

impl Exemplar {
    pub(super) fn younger(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.unix_millis > a.unix_millis { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// The exemplars of one histogram. Their memory is taken with the first observation of a sampled request.
#[derive(Debug, Default)]
pub struct Exemplars(OnceLock<Box<[Slot]>>);

#[derive(Debug, Default)]
struct Slot {
    /// When the exemplar may be replaced.
    due_millis: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

impl Exemplars {
    /// Keeps `exemplar` for this bucket of `buckets` (`+Inf` is one), unless there is a young one. Never waits.
    pub fn offer(&self, buckets: usize, bucket: usize, exemplar: Exemplar) {
        let slots = self.0.get_or_init(|| (0..buckets).map(|_| Slot::default()).collect());
        let Some(slot) = slots.get(bucket) else { return };
        if exemplar.unix_millis < slot.due_millis.load(Relaxed) {
            return;
        }
        // Taken: somebody else keeps one right now, or a scrape reads it.
        if let Ok(mut kept) = slot.exemplar.try_lock() {
            slot.due_millis.store(exemplar.unix_millis + KEPT_MILLIS, Relaxed);
            *kept = Some(exemplar);
        }
    }

    /// The exemplar of each bucket; nothing when no request was sampled.
    #[must_use]
    pub fn read(&self) -> Vec<Option<Exemplar>> {
        let slots = self.0.get().map(|slots| &slots[..]).unwrap_or_default();
        slots.iter().map(|slot| *slot.exemplar.lock().unwrap_or_else(PoisonError::into_inner)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(unix_millis: u64) -> Exemplar {
        Exemplar { trace: TraceId::new([7; 16]).unwrap(), value: 0.25, unix_millis }
    }

    #[test]
    fn a_bucket_keeps_one_exemplar_for_a_second_at_least() {
        let exemplars = Exemplars::default();
        assert!(exemplars.read().is_empty());
        for unix_millis in [5000, 5001, 5999] {
            exemplars.offer(3, 1, exemplar(unix_millis));
            assert_eq!(exemplars.read(), [None, Some(exemplar(5000)), None]);
        }
        exemplars.offer(3, 1, exemplar(6000));
        assert_eq!(exemplars.read()[1], Some(exemplar(6000)));
    }

    #[test]
    fn an_offer_does_not_wait_for_a_scrape() {
        let exemplars = Exemplars::default();
        exemplars.offer(1, 0, exemplar(5000));
        let held = exemplars.0.get().unwrap()[0].exemplar.lock().unwrap();
        exemplars.offer(1, 0, exemplar(9000));
        assert_eq!(*held, Some(exemplar(5000)));
    }
}
