//! Spans as they were received, in a form that tests can compare.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span};

/// A span that was received.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedSpan {
    /// Its name.
    pub name: String,
    /// Which side of a call it is.
    pub kind: SpanKind,
    /// The trace, in hexadecimal digits.
    pub trace_id: String,
    /// The span, in hexadecimal digits.
    pub span_id: String,
    /// The span above, in hexadecimal digits. `None` at the root of a trace.
    pub parent_id: Option<String>,
    /// Since 1970-01-01 UTC.
    pub start: Duration,
    /// Since 1970-01-01 UTC.
    pub end: Duration,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// `None` unless it failed; else the description, which may be empty.
    pub error: Option<String>,
    /// Trace ids and span ids of its links.
    pub links: Vec<(String, String)>,
    /// What `tracestate` says.
    pub tracestate: String,
    /// Attributes of who sent it, as text.
    pub resource: BTreeMap<String, String>,
    /// Headers of the request it came with.
    pub headers: BTreeMap<String, String>,
}

/// Which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work inside of the process.
    Internal,
    /// A request that is answered.
    Server,
    /// A call of something else.
    Client,
    /// A message that is handed over.
    Producer,
    /// A message that is worked on.
    Consumer,
    /// It does not say.
    Unspecified,
}

impl ReceivedSpan {
    /// An attribute, empty if it is not there.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// True if this one is directly below `other`.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.trace_id == other.trace_id && self.parent_id.as_ref() == Some(&other.span_id)
    }
}

/// The spans of an export.
pub(super) fn spans(request: ExportTraceServiceRequest, headers: &BTreeMap<String, String>) -> Vec<ReceivedSpan> {
    let mut all = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
        all.extend(spans.map(|span| received(span, resource.clone(), headers.clone())));
    }
    all
}

fn received(span: Span, resource: BTreeMap<String, String>, headers: BTreeMap<String, String>) -> ReceivedSpan {
    ReceivedSpan {
        kind: match span.kind() {
            span::SpanKind::Unspecified => SpanKind::Unspecified,
            span::SpanKind::Internal => SpanKind::Internal,
            span::SpanKind::Server => SpanKind::Server,
            span::SpanKind::Client => SpanKind::Client,
            span::SpanKind::Producer => SpanKind::Producer,
            span::SpanKind::Consumer => SpanKind::Consumer,
        },
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        start: Duration::from_nanos(span.start_time_unix_nano),
        end: Duration::from_nanos(span.end_time_unix_nano),
        attributes: texts(span.attributes),
        error: span.status.and_then(error),
        links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
        tracestate: span.trace_state,
        resource,
        headers,
    }
}

fn error(status: Status) -> Option<String> {
    (status.code() == StatusCode::Error).then_some(status.message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, attribute.value.map_or_else(String::new, text))).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        None => String::new(),
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
    }
}
