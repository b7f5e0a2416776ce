//! A line as one JSON object.

use super::escape::push_json;
use super::event::{FieldValue, Style};

/// Writes the message and the fields apart, as the message comes first wherever the event has it.
pub(super) struct JsonStyle<'a> {
    /// The message's text, escaped.
    pub(super) message: &'a mut Vec<u8>,
    /// `,"name":value` for each field.
    pub(super) fields: &'a mut Vec<u8>,
}

impl Style for JsonStyle<'_> {
    fn message(&mut self, message: &str) {
        push_json(self.message, message);
    }

    fn field(&mut self, name: &str, value: FieldValue<'_>) {
        let out = &mut *self.fields;
        push_name(out, name, "");
        match value {
            FieldValue::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            FieldValue::Unsigned(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
            // JSON has no word for infinity or "not a number".
            FieldValue::Float(value) if !value.is_finite() => out.extend_from_slice(b"null"),
            FieldValue::Float(value) => out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes()),
            FieldValue::Flag(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            FieldValue::Text(text) => push_string(out, text),
        }
    }

    fn causes(&mut self, name: &str, causes: &[String]) {
        let out = &mut *self.fields;
        push_name(out, name, "_chain");
        for (index, cause) in causes.iter().enumerate() {
            out.push(if index == 0 { b'[' } else { b',' });
            push_string(out, cause);
        }
        out.push(b']');
    }
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_json(out, text);
    out.push(b'"');
}

fn push_name(out: &mut Vec<u8>, name: &str, suffix: &str) {
    out.extend_from_slice(b",\"");
    push_json(out, name);
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}
