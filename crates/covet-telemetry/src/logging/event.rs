//! An event as the parts of a line: what the JSON and the human format have in common.
//!
//! The order of a line: time, level, logger, service, message; then request, user, client address and trace when the
//! event happens inside a request; then the event's own fields in their order. Every value passes [`Parts`], which leaves
//! out and masks what the policy says.

use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::policy::Policy;
use super::redact::REDACTED;
use crate::{request, traces};

/// A field's value, with nothing in it that must not be written.
#[derive(Debug, Clone, Copy)]
pub(super) enum FieldValue<'a> {
    Text(&'a str),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Flag(bool),
}

/// How parts look.
pub(super) trait Style {
    /// Appends the message.
    fn message(&mut self, message: &str);
    /// Appends a field.
    fn field(&mut self, name: &str, value: FieldValue<'_>);
    /// Appends what stands under the error in the field `name`, nearest first.
    fn causes(&mut self, name: &str, causes: &[String]);
}

/// Something to log.
pub(super) trait Source {
    /// Its level.
    fn level(&self) -> Level;
    /// Where it comes from, as a module or a name.
    fn target(&self) -> &str;
    /// Whether it has a field of this name.
    fn has(&self, field: &str) -> bool;
    /// Gives its message and its fields.
    fn give(&self, parts: &mut Parts<'_>);
}

impl Source for Event<'_> {
    fn level(&self) -> Level {
        *self.metadata().level()
    }

    fn target(&self) -> &str {
        self.metadata().target()
    }

    fn has(&self, field: &str) -> bool {
        self.fields().any(|given| given.name() == field)
    }

    fn give(&self, parts: &mut Parts<'_>) {
        self.record(parts);
    }
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(value) => f.write_str(value),
            Self::Integer(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Flag(value) => value.fmt(f),
        }
    }
}

const MESSAGE: &str = "message";

/// Fields of the line itself, which an event cannot have as its own.
const RESERVED: [&str; 4] = ["timestamp", "level", "logger", "service"];

/// Fields taken from the request, unless the event gives them itself.
const REQUEST_ID: &str = "request_id";
const USER_ID: &str = "user_id";
const IP_ADDRESS: &str = "ip_address";
const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

/// Between an event and the look of its line: values become text here, and lose what must not be written.
pub(super) struct Parts<'a> {
    pub(super) style: &'a mut dyn Style,
    pub(super) policy: &'a Policy,
    /// Memory for text in the making.
    pub(super) text: &'a mut String,
}

impl Parts<'_> {
    /// Gives the fields of the request at hand, as far as `source` does not have them itself.
    pub(super) fn of_request(&mut self, source: &impl Source) {
        request::current(|scope| {
            let missing = |name: &str| !source.has(name);
            if missing(REQUEST_ID) {
                self.style.field(REQUEST_ID, FieldValue::Text(scope.id().as_str()));
            }
            if missing(USER_ID)
                && let Some(user) = scope.user().and_then(|user| self.policy.personal.user(user))
            {
                self.style.field(USER_ID, FieldValue::Text(&user));
            }
            if missing(IP_ADDRESS)
                && let Some(address) = self.policy.personal.address(scope.client())
            {
                self.style.field(IP_ADDRESS, FieldValue::Text(&address));
            }
        });
        if let Some(trace) = traces::current() {
            for (name, digits) in [(TRACE_ID, &trace.trace_id.hex()[..]), (SPAN_ID, &trace.span_id.hex()[..])] {
                if !source.has(name)
                    && let Ok(digits) = std::str::from_utf8(digits)
                {
                    self.style.field(name, FieldValue::Text(digits));
                }
            }
        }
    }

    /// Gives the message.
    pub(super) fn message(&mut self, message: fmt::Arguments<'_>) {
        let Self { style, policy, text } = self;
        style.message(&policy.redaction.text(rendered(text, message)));
    }

    /// A value that is no text, unless it must be hidden or is the message.
    fn value(&mut self, field: &Field, value: FieldValue<'_>) {
        let name = field_name(field);
        if name == MESSAGE || self.policy.redaction.hides(name) {
            return self.text(field, format_args!("{value}"));
        }
        give(self.style, name, value);
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field_name(field);
        if name == MESSAGE {
            return self.message(value);
        }
        let Self { style, policy, text } = self;
        if policy.redaction.hides(name) {
            return give(*style, name, FieldValue::Text(REDACTED));
        }
        let shown = policy.redaction.text(rendered(text, value));
        if let Some(shown) = policy.personal.field(name, &shown) {
            give(*style, name, FieldValue::Text(&shown));
        }
    }
}

impl Visit for Parts<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, FieldValue::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, FieldValue::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, FieldValue::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        // Whether there is a password is no secret.
        give(self.style, field_name(field), FieldValue::Flag(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, format_args!("{value}"));
        if value.source().is_none() || self.policy.redaction.hides(field.name()) {
            return;
        }
        let Self { style, policy, text } = self;
        let causes: Vec<String> = causes(value)
            .map(|cause| policy.redaction.text(rendered(text, format_args!("{cause}"))).into_owned())
            .collect();
        style.causes(field_name(field), &causes);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

fn field_name(field: &Field) -> &'static str {
    let name = field.name();
    name.strip_prefix("r#").unwrap_or(name)
}

/// Gives a field, under another name when the line has one of that name itself.
fn give(style: &mut dyn Style, name: &str, value: FieldValue<'_>) {
    if name == MESSAGE || RESERVED.contains(&name) {
        style.field(&format!("field_{name}"), value);
    } else {
        style.field(name, value);
    }
}

/// The value as text, in `buffer`. A broken `Display` or `Debug` leaves what it has written.
fn rendered<'a>(buffer: &'a mut String, value: fmt::Arguments<'_>) -> &'a str {
    buffer.clear();
    if buffer.write_fmt(value).is_err() {
        buffer.push_str("[cannot be shown]");
    }
    buffer
}

/// The causes of an error, nearest first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}
