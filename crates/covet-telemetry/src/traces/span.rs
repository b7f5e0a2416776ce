//! A span: what was done, when, for how long, and how it went.

use std::borrow::Cow;
use std::sync::Arc;

use super::context::{SpanId, TraceContext};

/// A finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What was done, of low cardinality: `GET /users/{id}`, `SELECT users`.
    pub name: Cow<'static, str>,
    /// Which side of a call it is.
    pub kind: Kind,
    /// The span's own ids.
    pub context: TraceContext,
    /// The span it is below. `None` at the root of a trace.
    pub parent: Option<SpanId>,
    /// Whether the parent is in another process.
    pub remote_parent: bool,
    /// When it began, in nanoseconds since 1970-01-01 UTC.
    pub start_unix_nanos: u64,
    /// When it ended, in nanoseconds since 1970-01-01 UTC.
    pub end_unix_nanos: u64,
    /// More about it.
    pub attributes: Attributes,
    /// Other spans that it has to do with.
    pub links: Vec<TraceContext>,
    /// How it went.
    pub status: Status,
    /// The header `tracestate` that came with the parent.
    pub tracestate: Option<Box<str>>,
}

/// Which side of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work inside of the process.
    Internal,
    /// A request that is answered.
    Server,
    /// A call of something else: a database, a cache, a service.
    Client,
    /// A message that is handed over to be worked on later.
    Producer,
    /// A message that is worked on.
    Consumer,
}

/// How a span went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Status {
    /// Nothing is said: it went well, as far as is known.
    #[default]
    Unset,
    /// It went well, somebody said so.
    Ok,
    /// It failed, with a description that may be empty.
    Error(Cow<'static, str>),
}

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// Text that many spans have.
    Shared(Arc<str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Flag(bool),
}

/// Most attributes of a span: OpenTelemetry's default limit.
const MAX_ATTRIBUTES: usize = 128;
/// Longest text of a value, in bytes. Longer ones are cut.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// Names with their values. A name that is set again has its last value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes {
    all: Vec<(Cow<'static, str>, Value)>,
    /// How many were left out.
    dropped: u32,
}

impl Attributes {
    /// No attributes, with room for so many.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { all: Vec::with_capacity(capacity), dropped: 0 }
    }

    /// Sets one. A text beyond 4 KiB is cut; names beyond 128 are left out.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into().cut());
        if let Some((_, known)) = self.all.iter_mut().find(|(known, _)| *known == name) {
            *known = value;
        } else if self.all.len() < MAX_ATTRIBUTES {
            self.all.push((name, value));
        } else {
            self.dropped += 1;
        }
    }

    /// The value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.all.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All names and values, in the order in which they were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.all.iter().map(|(name, value)| (&**name, value))
    }

    /// How many were left out because there were too many.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    pub(super) fn into_parts(self) -> (Vec<(Cow<'static, str>, Value)>, u32) {
        (self.all, self.dropped)
    }

    pub(super) fn append(&mut self, other: Self) {
        other.all.into_iter().for_each(|(name, value)| self.set(name, value));
        self.dropped += other.dropped;
    }
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Shared(text) => Some(text),
            _ => None,
        }
    }

    fn cut(self) -> Self {
        match self {
            Self::Text(text) if text.len() > MAX_TEXT_BYTES => {
                let mut text = text.into_owned();
                let whole = (0..=MAX_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end));
                text.truncate(whole.unwrap_or_default());
                text.push('…');
                Self::Text(text.into())
            }
            value => value,
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for Value {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Text(text)
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

/// OpenTelemetry has no unsigned numbers: what is too large is the largest.
impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number.try_into().unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_last_value() {
        let mut attributes = Attributes::default();
        attributes.set("tenant", "a");
        attributes.set("rows", 3_u64);
        attributes.set("tenant", "b".to_owned());
        let all: Vec<_> = attributes.iter().collect();
        assert_eq!(all, [("tenant", &Value::from("b")), ("rows", &Value::Integer(3))]);
    }

    #[test]
    fn a_span_has_bounds() {
        let mut attributes = Attributes::default();
        for number in 0..200_u32 {
            attributes.set(format!("name {number}"), number);
        }
        assert_eq!((attributes.iter().count(), attributes.dropped()), (128, 72));
        attributes.set("name 1", "é".repeat(4_000));
        let text = attributes.get("name 1").and_then(Value::as_str).unwrap();
        assert!(text.ends_with("é…") && text.len() <= MAX_TEXT_BYTES + '…'.len_utf8(), "{}", text.len());
    }
}
