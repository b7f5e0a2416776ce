//! [`Tracer`]: decides which traces are recorded, knows the time of spans, and hands them on.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;

use super::context::{SpanId, TraceContext, TraceId};
use super::sampler::Sampler;
use super::span::{Attributes, Kind, Span, Status, Value};
use crate::settings::TraceSettings;

/// Takes finished spans. It is called where the span ended, so it must not wait.
pub trait Sink: Send + Sync {
    /// Takes one.
    fn take(&self, span: Box<Span>);
}

/// Keeps the spans, for a test to look at.
///
/// ```
/// use covet_core::{clock::Clock, environment::Environment, settings::Section};
/// use covet_telemetry::settings::TraceSettings;
/// use covet_telemetry::traces::{Collected, Tracer};
///
/// let collected = Collected::default();
/// let settings = TraceSettings::defaults(Environment::Development);
/// let tracer = Tracer::new(&settings, &Clock::system(), collected.sink());
/// assert!(collected.spans().is_empty());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Collected(Arc<Mutex<Vec<Span>>>);

impl Collected {
    /// Puts spans here.
    #[must_use]
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.clone())
    }

    /// All spans that have ended, in that order.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Collected {
    fn take(&self, span: Box<Span>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(*span);
    }
}

/// Records spans. Clones are the same tracer.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    sampler: Sampler,
    errors: ErrorBudget,
    clock: Clock,
    time: Time,
    sink: Arc<dyn Sink>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampler", &self.0.sampler).finish_non_exhaustive()
    }
}

impl Tracer {
    /// A tracer with the sampler of these settings.
    #[must_use]
    pub fn new(settings: &TraceSettings, clock: &Clock, sink: Arc<dyn Sink>) -> Self {
        Self(Arc::new(Inner {
            sampler: Sampler::new(settings),
            errors: ErrorBudget::new(settings.errors_per_second),
            time: Time::new(clock),
            clock: clock.clone(),
            sink,
        }))
    }

    /// A place of this process in the caller's trace, or in a new one; recorded or not.
    pub(super) fn place(&self, caller: Option<TraceContext>) -> TraceContext {
        let trace_id = caller.map_or_else(TraceId::random, |caller| caller.trace_id);
        let sampled = self.0.sampler.decide(trace_id, caller);
        TraceContext { trace_id, span_id: SpanId::random(), sampled }
    }

    /// True if one more request that failed may be recorded although its trace is not.
    #[must_use]
    pub fn keeps_error(&self) -> bool {
        self.0.errors.take(self.0.time.since_origin(self.now()))
    }

    /// Begins a span of which the ids are known.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind, place: Place, at: Instant) -> OpenSpan {
        let start_unix_nanos = self.0.time.unix_nanos(at);
        OpenSpan {
            tracer: self.clone(),
            span: Some(Box::new(Span {
                name: name.into(),
                kind,
                context: place.context,
                parent: place.parent,
                remote_parent: place.remote_parent,
                start_unix_nanos,
                end_unix_nanos: start_unix_nanos,
                attributes: Attributes::with_capacity(12),
                links: Vec::new(),
                status: Status::Unset,
                tracestate: None,
            })),
        }
    }

    /// Brings the time of spans together with the time of day again, which may have been set since.
    pub(super) fn set_time(&self) {
        self.0.time.set(&self.0.clock);
    }

    pub(super) fn now(&self) -> Instant {
        self.0.clock.monotonic()
    }
}

/// Where a span stands in its trace.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The span's own ids.
    pub context: TraceContext,
    /// The span it is below.
    pub parent: Option<SpanId>,
    /// Whether that one is in another process.
    pub remote_parent: bool,
}

impl Place {
    /// A new span below this one.
    #[must_use]
    pub fn below(parent: TraceContext) -> Self {
        let context = TraceContext { span_id: SpanId::random(), ..parent };
        Self { context, parent: Some(parent.span_id), remote_parent: false }
    }
}

/// A span that has begun. It ends when it is dropped, or by [`end_at`](Self::end_at).
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct OpenSpan {
    tracer: Tracer,
    /// There until it has ended. In a box, as that is how it waits to be sent.
    span: Option<Box<Span>>,
}

impl OpenSpan {
    /// The span's ids: what is below it has them as its parent.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.span().context
    }

    /// Sets an attribute. A text beyond 4 KiB is cut; names beyond 128 are left out.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.span_mut().attributes.set(name, value);
    }

    /// Sets several attributes.
    pub fn set_all(&mut self, attributes: Attributes) {
        self.span_mut().attributes.append(attributes);
    }

    /// Says that it failed: `error_type` is a short name of the kind of error, of low cardinality.
    pub fn failed(&mut self, error_type: impl Into<Cow<'static, str>>) {
        let error_type = error_type.into();
        self.set("error.type", error_type);
        self.set_status(Status::Error(Cow::Borrowed("")));
    }

    /// Says how it went.
    pub fn set_status(&mut self, status: Status) {
        self.span_mut().status = status;
    }

    /// Ends it.
    pub fn end_at(mut self, at: Instant) {
        self.end(at);
    }

    pub(super) fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    pub(super) fn span_mut(&mut self) -> &mut Span {
        self.span.as_mut().expect("it has not ended: that takes it by value")
    }

    fn span(&self) -> &Span {
        self.span.as_ref().expect("it has not ended: that takes it by value")
    }

    fn end(&mut self, at: Instant) {
        if let Some(mut span) = self.span.take() {
            span.end_unix_nanos = self.tracer.0.time.unix_nanos(at).max(span.start_unix_nanos);
            self.tracer.0.sink.take(span);
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        if self.span.is_some() {
            self.end(self.tracer.now());
        }
    }
}

/// Of so many readings of both clocks the best is taken: a thread may be held up between the two.
const READINGS: usize = 3;
/// Differences up to this come from reading the clocks one after the other.
const READING_ERROR_NANOS: u64 = 100_000;

/// The time of day of a reading of the monotonic clock, so that spans of a process stand in their true order.
struct Time {
    origin: Instant,
    /// The time of day at the origin, in nanoseconds since 1970-01-01 UTC.
    origin_unix_nanos: AtomicU64,
}

impl Time {
    fn new(clock: &Clock) -> Self {
        let time = Self { origin: clock.monotonic(), origin_unix_nanos: AtomicU64::new(0) };
        time.set(clock);
        time
    }

    /// Moves the origin if the time of day was set. Otherwise it stays: spans of a trace do not overlap by an error of
    /// reading.
    fn set(&self, clock: &Clock) {
        let Some((_, origin)) = (0..READINGS).map(|_| self.read(clock)).min() else { return };
        if self.origin_unix_nanos.load(Relaxed).abs_diff(origin) > READING_ERROR_NANOS {
            self.origin_unix_nanos.store(origin, Relaxed);
        }
    }

    /// The time of day at the origin, and how far off it may be, first.
    fn read(&self, clock: &Clock) -> (u64, u64) {
        let before = self.since_origin(clock.monotonic());
        let now = u64::try_from(clock.now().as_nanosecond()).unwrap_or(0);
        let after = self.since_origin(clock.monotonic());
        (after - before, now.saturating_sub(before))
    }

    fn since_origin(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.origin))
    }

    fn unix_nanos(&self, at: Instant) -> u64 {
        let origin = self.origin_unix_nanos.load(Relaxed);
        match at.checked_duration_since(self.origin) {
            Some(after) => origin.saturating_add(nanos(after)),
            None => origin.saturating_sub(nanos(self.origin.saturating_duration_since(at))),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// So many errors a second, and as many at once after a quiet second: the generic cell rate algorithm.
struct ErrorBudget {
    /// Nanoseconds that one error stands for; 0 when none is allowed.
    each: u64,
    /// When all errors so far are paid for, in nanoseconds since the origin.
    paid: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl ErrorBudget {
    fn new(per_second: u32) -> Self {
        Self { each: SECOND.checked_div(per_second.into()).unwrap_or(0), paid: AtomicU64::new(0) }
    }

    fn take(&self, now: u64) -> bool {
        if self.each == 0 {
            return false;
        }
        let next = |paid: u64| Some(paid.max(now) + self.each).filter(|paid| *paid <= now + SECOND);
        self.paid.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use covet_core::environment::Environment;
    use covet_core::settings::Section;

    use super::*;

    #[test]
    fn errors_are_kept_up_to_so_many_a_second() {
        let budget = ErrorBudget::new(10);
        assert_eq!((0..100).filter(|_| budget.take(5 * SECOND)).count(), 10);
        assert_eq!((0..100).filter(|n| budget.take(5 * SECOND + n * SECOND / 100)).count(), 9);
        assert_eq!((0..100).filter(|_| budget.take(60 * SECOND)).count(), 10);
        assert!(!ErrorBudget::new(0).take(60 * SECOND));
    }

    #[test]
    fn times_are_those_of_the_clock_and_follow_it_when_told() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let time = Time::new(&clock);
        let start = 1_767_225_600_000_000_000;
        assert_eq!(time.unix_nanos(clock.monotonic()), start);
        hand.advance(Duration::from_nanos(1_500));
        assert_eq!(time.unix_nanos(clock.monotonic()), start + 1_500);
        let earlier = clock.monotonic().checked_sub(Duration::from_secs(1)).unwrap();
        assert_eq!(time.unix_nanos(earlier), start + 1_500 - SECOND);
        time.origin_unix_nanos.store(0, Relaxed);
        time.set(&clock);
        assert_eq!(time.unix_nanos(clock.monotonic()), start + 1_500);
        time.origin_unix_nanos.store(start + READING_ERROR_NANOS, Relaxed);
        time.set(&clock);
        assert_eq!(
            time.unix_nanos(clock.monotonic()),
            start + READING_ERROR_NANOS + 1_500,
            "nobody set the time of day"
        );
    }

    #[test]
    fn a_span_ends_once_and_not_before_it_began() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let collected = Collected::default();
        let settings = TraceSettings::defaults(Environment::Development);
        let tracer = Tracer::new(&settings, &clock, collected.sink());
        let place = Place::below(tracer.place(None));
        let began = clock.monotonic();
        let dropped = tracer.begin("dropped", Kind::Internal, place, began);
        hand.advance(Duration::from_micros(3));
        drop(dropped);
        tracer.begin("turned round", Kind::Internal, place, clock.monotonic()).end_at(began);
        let lasted: Vec<_> = collected.spans().iter().map(|span| span.end_unix_nanos - span.start_unix_nanos).collect();
        assert_eq!(lasted, [3_000, 0]);
    }
}
