//! Spans made with `tracing` become spans of the trace: `tracing::info_span!`, `#[tracing::instrument]`.
//!
//! Inside of a request that is not recorded, such a span is disabled: neither this layer nor the registry hears of it.
//! Outside of a request, the outermost span begins a trace, which is recorded or not as the sampler says.
//!
//! Why not `tracing-opentelemetry`: it has spans only below other spans of `tracing` or an OpenTelemetry context, so that
//! each request would need one before anybody knows whether it is recorded; and it copies every log line into the span,
//! past the log's redaction. What it reads from fields (`otel.name`, `otel.kind`, `otel.status_code`,
//! `otel.status_description`) is read here, too.

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{self, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, dispatcher};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::{LookupSpan, Registry, SpanRef};

use super::context::TraceContext;
use super::here::{self, Here};
use super::span::{Attributes, Kind, Status, Value};
use super::tracer::{OpenSpan, Place, Tracer};
use crate::logging::{Levels, REDACTED, Redaction};
use crate::request::{self, RequestScope};

/// Records spans of `tracing`, and hands events on to another layer.
///
/// One layer for both, with its word over what is enabled at all: a layer with a filter of its own beside others is
/// asked about each span, and the registry makes the span whatever it answers.
#[derive(Debug)]
pub(crate) struct SpanLayer<L, F> {
    tracer: Tracer,
    levels: Levels,
    redaction: Arc<Redaction>,
    /// Who gets the events for which `filter` is.
    events: L,
    filter: F,
}

/// What the layer keeps of a span.
struct Record {
    context: TraceContext,
    /// `None` if the trace is not recorded.
    open: Option<OpenSpan>,
}

/// Whether any layer was made in this process: without, nothing has to be looked up.
static INSTALLED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// This thread makes no spans from now on: it is the one that sends them.
pub(super) fn silence_thread() {
    SILENT.set(true);
}

impl<L, F> SpanLayer<L, F> {
    /// Records spans of these levels with `tracer`; no attribute holds what the log would not write.
    pub(crate) fn new(tracer: Tracer, levels: Levels, redaction: Arc<Redaction>, events: L, filter: F) -> Self {
        INSTALLED.store(true, Relaxed);
        Self { tracer, levels, redaction, events, filter }
    }

    fn level_enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.enabled(metadata.target(), *metadata.level())
    }
}

impl<S, L, F> Layer<S> for SpanLayer<L, F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    L: Layer<S>,
    F: Filter<S> + 'static,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() {
            return self.filter.callsite_enabled(metadata);
        }
        if self.level_enabled(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        if metadata.is_event() {
            return self.filter.enabled(metadata, &context);
        }
        if SILENT.get() || !self.level_enabled(metadata) {
            return false;
        }
        match request::current(RequestScope::trace) {
            Some(trace) => trace.is_some_and(|trace| trace.sampled),
            None => here::innermost(current_in(&context)).is_none_or(|here| here.tracer.is_some()),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter.max_level_hint()?.max(self.levels.most_verbose()))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = match attributes.parent() {
            _ if attributes.is_root() => None,
            Some(parent) => context.span(parent).and_then(|parent| found(&parent)).map(|(_, here)| here),
            None => here::innermost(span.parent().and_then(|parent| found(&parent)))
                .or_else(|| request::current(RequestScope::recording).flatten().map(Here::from)),
        };
        let (place, tracer) = match parent {
            Some(parent) => (Place::below(parent.context), parent.tracer),
            None => {
                let context = self.tracer.place(None);
                let place = Place { context, parent: None, remote_parent: false };
                (place, context.sampled.then(|| self.tracer.clone()))
            }
        };
        let open = tracer.map(|tracer| {
            let mut fields = Fields::new(&self.redaction);
            attributes.record(&mut fields);
            let mut open = tracer.begin(attributes.metadata().name(), Kind::Internal, place, tracer.now());
            fields.put_into(&mut open);
            open
        });
        span.extensions_mut().insert(Record { context: place.context, open });
    }

    fn on_record(&self, id: &Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Before the lock: a value may log while it is formatted.
        let mut fields = Fields::new(&self.redaction);
        values.record(&mut fields);
        change(&span, |open| fields.put_into(open));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let followed = context.span(follows).and_then(|span| found(&span));
        if let (Some(span), Some((_, followed))) = (context.span(id), followed) {
            change(&span, |open| open.span_mut().links.push(followed.context));
        }
    }

    /// An error that is logged inside of a span is how it went, as `#[instrument(err)]` has it.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.events.on_event(event, context.clone());
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let Some(span) = context.event_span(event) else { return };
        let mut description = Description::default();
        event.record(&mut description);
        change(&span, |open| {
            if open.span_mut().status == Status::Unset {
                open.set_status(Status::Error(description.text().into()));
            }
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        if let Some(span) = context.span(&id) {
            // Ends it, outside of the lock.
            let record = span.extensions_mut().remove::<Record>();
            drop(record);
        }
    }
}

/// The innermost span that the layer knows, from this one outwards.
fn found<'a, S>(span: &SpanRef<'a, S>) -> Option<(Id, Here)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    span.scope().find_map(|span| {
        let extensions = span.extensions();
        let record = extensions.get::<Record>()?;
        let tracer = record.open.as_ref().map(|open| open.tracer().clone());
        Some((span.id(), Here { context: record.context, tracer }))
    })
}

fn current_in<S>(context: &Context<'_, S>) -> Option<(Id, Here)>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    found(&context.lookup_current()?)
}

/// Asks the span that is the current one in `tracing`.
fn with_current<R>(mut ask: impl FnMut(&SpanRef<'_, Registry>) -> Option<R>) -> Option<R> {
    if !INSTALLED.load(Relaxed) {
        return None;
    }
    dispatcher::get_default(|dispatch| {
        let registry = dispatch.downcast_ref::<Registry>()?;
        let current = registry.current_span();
        ask(&registry.span(current.id()?)?)
    })
}

/// The innermost span of `tracing` at hand that belongs to a trace.
pub(super) fn current() -> Option<(Id, Here)> {
    with_current(found)
}

/// Sets an attribute of the innermost span of `tracing`; gives it back if there is none.
pub(super) fn set_attribute(name: Cow<'static, str>, value: Value) -> Option<(Cow<'static, str>, Value)> {
    let mut attribute = Some((name, value));
    with_current(|span| {
        let span = span.scope().find(|span| span.extensions().get::<Record>().is_some())?;
        let (name, value) = attribute.take()?;
        change(&span, |open| open.set(name, value));
        Some(())
    });
    attribute
}

/// Changes what is recorded of a span, if it is recorded.
fn change<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, change: impl FnOnce(&mut OpenSpan)) {
    if let Some(Record { open: Some(open), .. }) = span.extensions_mut().get_mut::<Record>() {
        change(open);
    }
}

/// Fields of a span on their way into its attributes.
struct Fields<'a> {
    redaction: &'a Redaction,
    attributes: Attributes,
    name: Option<String>,
    kind: Option<Kind>,
    status: Option<Status>,
    status_description: Option<String>,
}

impl<'a> Fields<'a> {
    fn new(redaction: &'a Redaction) -> Self {
        let attributes = Attributes::default();
        Self { redaction, attributes, name: None, kind: None, status: None, status_description: None }
    }

    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if self.redaction.hides(name) {
            self.attributes.set(name, REDACTED);
        } else {
            self.attributes.set(name, value);
        }
    }

    fn set_text(&mut self, field: &Field, text: impl Into<String> + AsRef<str>) {
        match field.name() {
            "otel.name" => self.name = Some(text.into()),
            "otel.kind" => self.kind = kind(text.as_ref()),
            "otel.status_code" => self.status = status(text.as_ref()),
            "otel.status_description" => self.status_description = Some(text.into()),
            _ => {
                let masked = self.redaction.text(text.as_ref()).into_owned();
                self.set(field, masked);
            }
        }
    }

    fn put_into(self, open: &mut OpenSpan) {
        let span = open.span_mut();
        span.attributes.append(self.attributes);
        if let Some(name) = self.name {
            span.name = name.into();
        }
        if let Some(kind) = self.kind {
            span.kind = kind;
        }
        if let Some(status) = self.status {
            span.status = status;
        }
        if let Some(description) = self.status_description {
            span.status = Status::Error(description.into());
        }
    }
}

fn kind(text: &str) -> Option<Kind> {
    let kinds = [
        ("internal", Kind::Internal),
        ("server", Kind::Server),
        ("client", Kind::Client),
        ("producer", Kind::Producer),
        ("consumer", Kind::Consumer),
    ];
    kinds.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, kind)| kind)
}

fn status(text: &str) -> Option<Status> {
    let statuses = [("ok", Status::Ok), ("error", Status::Error(Cow::Borrowed("")))];
    statuses.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, status)| status)
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set_text(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_text(field, format!("{value:?}"));
    }
}

/// What an event says of an error.
#[derive(Default)]
struct Description {
    message: Option<String>,
    error: Option<String>,
}

impl Description {
    fn text(self) -> String {
        match (self.message, self.error) {
            (Some(message), Some(error)) => format!("{message}: {error}"),
            (message, error) => message.or(error).unwrap_or_default(),
        }
    }
}

impl Visit for Description {
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = Some(format!("{value:?}")),
            "error" => self.error = Some(format!("{value:?}")),
            _ => {}
        }
    }
}
