//! An event as the parts of a line: what the JSON and the human format have in common.
//!
//! The order of a line: time, level, logger, service, message; then request, user and client address when the
//! event happens inside a request; then the event's own fields in their order.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::redact::{REDACTED, is_secret};
use crate::request;

/// A field's value.
pub(super) enum FieldValue<'a> {
    Text(&'a str),
    Debug(&'a dyn fmt::Debug),
    Display(&'a dyn fmt::Display),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Flag(bool),
    /// An error and, as `<name>_chain`, its causes.
    Error(&'a (dyn Error + 'static)),
}

/// How parts look.
pub(super) trait Style {
    /// Appends the message.
    fn message(&mut self, message: FieldValue<'_>);
    /// Appends a field.
    fn field(&mut self, name: &str, value: FieldValue<'_>);
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
    fn give(&self, style: &mut dyn Style);
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

    fn give(&self, style: &mut dyn Style) {
        self.record(&mut Fields(style));
    }
}

/// Fields of the line itself, which an event cannot have as its own.
const RESERVED: [&str; 4] = ["timestamp", "level", "logger", "service"];

/// Fields taken from the request, unless the event gives them itself.
const REQUEST_ID: &str = "request_id";
const USER_ID: &str = "user_id";
const IP_ADDRESS: &str = "ip_address";

/// Gives the fields of the request at hand, as far as `source` does not have them itself.
pub(super) fn request_fields(style: &mut dyn Style, source: &impl Source) {
    request::current(|scope| {
        let missing = |name: &str| !source.has(name);
        if missing(REQUEST_ID) {
            style.field(REQUEST_ID, FieldValue::Text(scope.id().as_str()));
        }
        if missing(USER_ID)
            && let Some(user) = scope.user()
        {
            style.field(USER_ID, FieldValue::Text(user));
        }
        if missing(IP_ADDRESS) {
            style.field(IP_ADDRESS, FieldValue::Display(&scope.client()));
        }
    });
}

/// Sends an event's own fields to a [`Style`].
struct Fields<'a>(&'a mut dyn Style);

impl Fields<'_> {
    fn give(&mut self, field: &Field, value: FieldValue<'_>) {
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name == "message" {
            self.0.message(value);
        } else if RESERVED.contains(&name) {
            self.0.field(&format!("field_{name}"), value);
        } else {
            self.0.field(name, value);
        }
    }

    fn give_text(&mut self, field: &Field, value: FieldValue<'_>) {
        let value = if is_secret(field.name()) { FieldValue::Text(REDACTED) } else { value };
        self.give(field, value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.give(field, FieldValue::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.give(field, FieldValue::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.give(field, FieldValue::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.give(field, FieldValue::Flag(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.give_text(field, FieldValue::Text(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.give_text(field, FieldValue::Error(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.give_text(field, FieldValue::Debug(value));
    }
}

/// The causes of an error, nearest first.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}
