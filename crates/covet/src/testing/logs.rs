//! A log line, understood.

use std::fmt;
use std::ops::Index;

use serde_json::{Map, Value};

/// A line of the log. Its fields are those of `docs/reference/logging.md`: `line["route"]`, null when there is none.
#[derive(Clone, PartialEq, Eq)]
pub struct LogLine(Map<String, Value>);

impl LogLine {
    pub(super) fn parse(line: &str) -> Self {
        let fields = serde_json::from_str(line).unwrap_or_else(|error| panic!("not a log line: {error}: {line}"));
        Self(fields)
    }

    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    #[must_use]
    pub fn level(&self) -> &str {
        self.text("level")
    }

    /// Where it comes from, such as `covet.api` for access lines.
    #[must_use]
    pub fn logger(&self) -> &str {
        self.text("logger")
    }

    /// What it says.
    #[must_use]
    pub fn message(&self) -> &str {
        self.text("message")
    }

    /// All fields.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    fn text(&self, field: &str) -> &str {
        self[field].as_str().unwrap_or_default()
    }
}

impl Index<&str> for LogLine {
    type Output = Value;

    fn index(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or(&Value::Null)
    }
}

/// As it was written, but for the order of fields.
impl fmt::Debug for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Value::Object(self.0.clone()))
    }
}
