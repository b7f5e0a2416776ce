//! From our spans to those of OpenTelemetry's SDK.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{self, Link, SpanContext, SpanKind, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue, StringValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::traces::{Attributes, Kind, Span, Status, TraceContext, Value};

/// Who made the spans.
static SCOPE: LazyLock<InstrumentationScope> =
    LazyLock::new(|| InstrumentationScope::builder("covet").with_version(env!("CARGO_PKG_VERSION")).build());

pub(super) fn span_data(span: Span) -> SpanData {
    let state = span.tracestate.and_then(|state| state.parse().ok()).unwrap_or_default();
    let (attributes, dropped_attributes_count) = attributes(span.attributes);
    let mut links = SpanLinks::default();
    links.links = span.links.into_iter().map(link).collect();
    SpanData {
        span_context: context(span.context, false, state),
        parent_span_id: span.parent.map_or(trace::SpanId::INVALID, |id| trace::SpanId::from_bytes(id.bytes())),
        parent_span_is_remote: span.remote_parent,
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
        },
        name: span.name,
        start_time: time(span.start_unix_nanos),
        end_time: time(span.end_unix_nanos),
        attributes,
        dropped_attributes_count,
        events: SpanEvents::default(),
        links,
        status: match span.status {
            Status::Unset => trace::Status::Unset,
            Status::Ok => trace::Status::Ok,
            Status::Error(description) => trace::Status::error(description),
        },
        instrumentation_scope: SCOPE.clone(),
    }
}

fn context(context: TraceContext, remote: bool, state: TraceState) -> SpanContext {
    let flags = if context.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let trace_id = trace::TraceId::from_bytes(context.trace_id.bytes());
    SpanContext::new(trace_id, trace::SpanId::from_bytes(context.span_id.bytes()), flags, remote, state)
}

fn link(to: TraceContext) -> Link {
    Link::new(context(to, false, TraceState::default()), Vec::new(), 0)
}

fn time(unix_nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_nanos)
}

fn attributes(attributes: Attributes) -> (Vec<KeyValue>, u32) {
    let (all, dropped) = attributes.into_parts();
    let attribute = |(name, value)| {
        let value = match value {
            Value::Text(text) => StringValue::from(text).into(),
            Value::Shared(text) => StringValue::from(text).into(),
            Value::Integer(number) => number.into(),
            Value::Float(number) => number.into(),
            Value::Flag(flag) => flag.into(),
        };
        KeyValue::new::<Key, opentelemetry::Value>(Key::from(name), value)
    };
    (all.into_iter().map(attribute).collect(), dropped)
}
