//! Finished spans on their way to the thread that sends them: bounded, never waited for, losses counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::Notify;

use super::span::Span;
use super::tracer::Sink;
use crate::metrics::{Collector, Exposition};

crate::declare_metrics! {
    /// Traces.
    ///
    /// Only with `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) ALL;

    /// Spans that the receiver has taken.
    counter SPANS_EXPORTED_TOTAL = "trace_spans_exported_total" {};
    /// Spans lost, by reason: the queue was full, sending failed, the process was ending.
    counter SPANS_DROPPED_TOTAL = "trace_spans_dropped_total" {reason};
    /// Spans that wait to be sent.
    gauge SPANS_QUEUED = "trace_spans_queued" {};
}

/// Why spans were lost.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    QueueFull,
    SendFailed,
    Closed,
}

const LOSSES: [(Loss, &str); 3] =
    [(Loss::QueueFull, "queue_full"), (Loss::SendFailed, "send_failed"), (Loss::Closed, "closed")];

/// The end that spans are put into.
#[derive(Debug)]
pub(super) struct Queue {
    spans: Sender<Box<Span>>,
    /// So many are worth sending before the time has come.
    batch_size: usize,
    shared: Arc<Shared>,
}

/// What both ends know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) batch_is_full: Notify,
    closed: AtomicBool,
    exported: AtomicU64,
    dropped: [AtomicU64; 3],
}

/// The end that spans are taken out of.
#[derive(Debug)]
pub(super) struct Waiting {
    spans: Receiver<Box<Span>>,
    batch_size: usize,
    pub(super) shared: Arc<Shared>,
}

/// A queue of this capacity, emptied in batches.
pub(super) fn queue(capacity: usize, batch_size: usize) -> (Arc<Queue>, Waiting) {
    let (sender, receiver) = bounded(capacity);
    let shared = Arc::<Shared>::default();
    let queue = Queue { spans: sender, batch_size, shared: Arc::clone(&shared) };
    (Arc::new(queue), Waiting { spans: receiver, batch_size, shared })
}

impl Sink for Queue {
    fn take(&self, span: Box<Span>) {
        if self.shared.is_closed() {
            return self.shared.lost(Loss::Closed, 1);
        }
        match self.spans.try_send(span) {
            Ok(()) if self.spans.len() >= self.batch_size => self.shared.batch_is_full.notify_one(),
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.shared.lost(Loss::QueueFull, 1),
            Err(TrySendError::Disconnected(_)) => self.shared.lost(Loss::Closed, 1),
        }
    }
}

impl Queue {
    /// Takes no more spans.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Relaxed);
    }
}

impl Waiting {
    /// The next spans, at most a batch.
    pub(super) fn batch(&self) -> Vec<Span> {
        self.spans.try_iter().take(self.batch_size).map(|span| *span).collect()
    }

    /// Throws away what waits, and says how much that was.
    pub(super) fn drop_all(&self) -> u64 {
        self.spans.try_iter().count() as u64
    }

    /// True if there is a whole batch.
    pub(super) fn has_batch(&self) -> bool {
        self.spans.len() >= self.batch_size
    }
}

impl Shared {
    /// True when no more spans are taken: it is the end.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(super) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Relaxed);
    }

    pub(super) fn lost(&self, loss: Loss, spans: u64) {
        self.dropped[loss as usize].fetch_add(spans, Relaxed);
    }

    /// How many were lost, whatever the reason.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.iter().map(|count| count.load(Relaxed)).sum()
    }
}

impl Collector for Queue {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn collect(&self, out: &mut Exposition) {
        out.counter(SPANS_EXPORTED_TOTAL, &[], self.shared.exported.load(Relaxed));
        for (loss, reason) in LOSSES {
            out.counter(SPANS_DROPPED_TOTAL, &[reason], self.shared.dropped[loss as usize].load(Relaxed));
        }
        out.gauge(SPANS_QUEUED, &[], self.spans.len() as f64);
    }
}

#[cfg(test)]
mod tests {
    use covet_core::clock::Clock;
    use covet_core::environment::Environment;
    use covet_core::settings::Section;

    use super::*;
    use crate::settings::TraceSettings;
    use crate::traces::{Kind, Place, Tracer};

    #[test]
    fn what_does_not_fit_is_dropped_at_once_and_counted() {
        let (queue, waiting) = queue(3, 2);
        let settings = TraceSettings::defaults(Environment::Development);
        let clock = Clock::system();
        let tracer = Tracer::new(&settings, &clock, queue.clone());
        let end_one = || drop(tracer.begin("x", Kind::Internal, Place::below(tracer.place(None)), clock.monotonic()));
        (0..5).for_each(|_| end_one());
        assert_eq!(queue.shared.dropped[Loss::QueueFull as usize].load(Relaxed), 2);
        assert!(waiting.has_batch());
        assert_eq!((waiting.batch().len(), waiting.batch().len(), waiting.batch().len()), (2, 1, 0));
        end_one();
        queue.close();
        end_one();
        assert_eq!(queue.shared.dropped[Loss::Closed as usize].load(Relaxed), 1);
        assert_eq!((waiting.batch().len(), waiting.shared.dropped()), (1, 3));
    }
}
