//! Traces: which requests are recorded, the spans in them, and sending these to a receiver by OTLP.
//!
//! | you want | look in |
//! |---|---|
//! | a span around work of your own | `tracing::info_span!`, `#[tracing::instrument]` |
//! | an attribute of the request's span | [`set_attribute`] |
//! | a span around a call of something else, cheaply | [`recording`], [`Recording`] |
//! | trace id and span id, to write them somewhere | [`current`] |
//! | the part that a request has in a trace | [`Traces`] |
//! | the ids themselves, and `traceparent` | [`context`] |
//! | where spans go | [`Export`], or a [`Sink`] of your own |
//!
//! **What it costs.** The decision comes first, from the caller's flag or a random number. A request that is not
//! recorded has its ids and nothing else: its spans are not made, whoever makes them. The span of a recorded request is
//! made when it has ended, from what is known of it anyway.
//!
//! Not here: what else is known of a request ([`crate::request`]), and which attributes an HTTP request or a statement
//! has (`covet-http`, `covet-data`).

pub mod context;
mod export;
mod here;
mod layer;
mod propagation;
mod queue;
mod sampler;
mod span;
#[cfg(test)]
mod tests;
mod tracer;

pub use context::{SpanId, TraceContext, TraceId};
pub use export::{Export, TraceError};
pub use here::{Recording, current, recording, set_attribute};
pub use propagation::{RequestTrace, Traces};
pub use span::{Attributes, Kind, Span, Status, Value};
pub use tracer::{Collected, OpenSpan, Place, Sink, Tracer};

pub(crate) use here::below_request;
pub(crate) use layer::SpanLayer;
pub(crate) use propagation::Extra;
pub(crate) use queue::ALL as METRICS;
