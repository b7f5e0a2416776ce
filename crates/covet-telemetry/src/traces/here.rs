//! Where the code at hand stands: which span it runs in, and whether that is recorded.
//!
//! From the inside out: a span made with `tracing` (`layer.rs`), a span entered by [`Recording::enter`], the request
//! ([`crate::request`]).

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{Duration, Instant};

use tracing::span::Id;

use super::context::TraceContext;
use super::layer;
use super::span::{Kind, Value};
use super::tracer::{OpenSpan, Place, Tracer};
use crate::request::{self, RequestScope};

/// A span, and who records it, if anybody does.
#[derive(Debug, Clone)]
pub(super) struct Here {
    pub(super) context: TraceContext,
    pub(super) tracer: Option<Tracer>,
}

impl Here {
    pub(super) fn recording(self) -> Option<Recording> {
        let Self { context, tracer } = self;
        Some(Recording { tracer: tracer?, context })
    }
}

/// A span that is recorded: others can be begun below it.
#[derive(Debug, Clone)]
pub struct Recording {
    tracer: Tracer,
    context: TraceContext,
}

impl From<Recording> for Here {
    fn from(Recording { tracer, context }: Recording) -> Self {
        Self { context, tracer: Some(tracer) }
    }
}

/// What was entered by [`Recording::enter`], and the span of `tracing` that was the current one then.
#[derive(Debug)]
struct Entered {
    recording: Recording,
    within: Option<Id>,
}

thread_local! {
    static ENTERED: RefCell<Option<Entered>> = const { RefCell::new(None) };
}

/// The trace and span that this code runs in, recorded or not. `None` outside of a request, and when the request has no
/// trace.
///
/// ```
/// // In a log line, beside the message:
/// if let Some(trace) = covet_telemetry::traces::current() {
///     println!("trace_id={} span_id={}", trace.trace_id, trace.span_id);
/// }
/// ```
#[must_use]
pub fn current() -> Option<TraceContext> {
    let request = request::current(RequestScope::trace).flatten();
    if request.is_some_and(|trace| !trace.sampled) {
        return request;
    }
    innermost(layer::current()).map(|here| here.context).or(request)
}

/// The span that this code runs in, if it is recorded: ask before collecting what a span needs.
///
/// ```
/// use covet_telemetry::traces::{self, Kind};
/// # fn charge() -> Result<(), &'static str> { Ok(()) }
///
/// let span = traces::recording().map(|here| here.begin("charge card", Kind::Client));
/// let outcome = charge();
/// if let (Some(mut span), Err(error)) = (span, outcome) {
///     span.failed(error);
/// } // It ends where it is dropped.
/// ```
#[must_use]
pub fn recording() -> Option<Recording> {
    let request = request::current(|scope| (scope.trace(), scope.recording()));
    match request {
        Some((Some(trace), _)) if !trace.sampled => None,
        Some((_, recording)) => innermost(layer::current()).map_or(recording, Here::recording),
        None => innermost(layer::current())?.recording(),
    }
}

/// Sets an attribute of the span that this code runs in: one made with `tracing`, or else that of the request. Does
/// nothing where nothing is recorded.
///
/// ```
/// covet_telemetry::traces::set_attribute("shop.basket.items", 3_u64);
/// ```
pub fn set_attribute(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
    let (name, value) = (name.into(), value.into());
    if let Some((name, value)) = layer::set_attribute(name, value) {
        request::current(|scope| scope.set_attribute(name, value));
    }
}

/// The innermost span but the request's: `found` is that of `tracing`, if there is one.
pub(super) fn innermost(found: Option<(Id, Here)>) -> Option<Here> {
    ENTERED.with_borrow(|entered| match (entered, found) {
        (Some(Entered { recording, within }), found) if within.as_ref() == found.as_ref().map(|(id, _)| id) => {
            Some(recording.clone().into())
        }
        (_, found) => found.map(|(_, here)| here),
    })
}

/// What to take along to another thread so that [`recording`] says the same there, beside the request.
pub(crate) fn below_request() -> Option<Recording> {
    let unrecorded = request::current(RequestScope::trace).flatten().is_some_and(|trace| !trace.sampled);
    if unrecorded { None } else { innermost(layer::current())?.recording() }
}

impl Recording {
    pub(crate) fn new(tracer: Tracer, context: TraceContext) -> Self {
        Self { tracer, context }
    }

    /// The recorded span's ids.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Begins a span below this one.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> OpenSpan {
        self.begin_at(name, kind, self.tracer.now())
    }

    /// Begins a span below this one, for something that has begun already.
    pub fn begin_at(&self, name: impl Into<Cow<'static, str>>, kind: Kind, at: Instant) -> OpenSpan {
        self.tracer.begin(name, kind, Place::below(self.context), at)
    }

    /// A span below this one for something that ends now and took this long.
    pub fn ended(&self, name: impl Into<Cow<'static, str>>, kind: Kind, took: Duration) -> OpenSpan {
        let now = self.tracer.now();
        self.begin_at(name, kind, now.checked_sub(took).unwrap_or(now))
    }

    /// Runs `work` inside of this span: what it begins is below.
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        struct Leave(Option<Entered>);
        impl Drop for Leave {
            fn drop(&mut self) {
                ENTERED.set(self.0.take());
            }
        }
        let within = layer::current().map(|(id, _)| id);
        let _leave = Leave(ENTERED.replace(Some(Entered { recording: self.clone(), within })));
        work()
    }
}

impl OpenSpan {
    /// This span, to begin others below it.
    #[must_use]
    pub fn recording(&self) -> Recording {
        Recording::new(self.tracer().clone(), self.context())
    }
}
