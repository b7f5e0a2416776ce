//! Traces: which trace the code at hand belongs to.
//!
//! | you want | look in |
//! |---|---|
//! | trace id and span id, to write them somewhere | [`current`] |
//! | the ids themselves, and `traceparent` | [`context`] |
//!
//! Not here: what else is known of a request ([`crate::request`]).

pub mod context;

pub use context::{SpanId, TraceContext, TraceId};

use crate::request::{self, RequestScope};

/// The trace and span that this code runs in. `None` outside of a request, and when the request has no trace.
///
/// ```
/// // In a log line, beside the message:
/// if let Some(trace) = covet_telemetry::traces::current() {
///     println!("trace_id={} span_id={}", trace.trace_id, trace.span_id);
/// }
/// ```
#[must_use]
pub fn current() -> Option<TraceContext> {
    request::current(RequestScope::trace).flatten()
}
