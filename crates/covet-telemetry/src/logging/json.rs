//! A line as one JSON object.

use std::fmt::Write as _;

use super::escape::{JsonText, push_json};
use super::event::{FieldValue, Style, causes};

/// Writes the message and the fields apart, as the message comes first wherever the event has it.
pub(super) struct JsonStyle<'a> {
    /// The message's text, escaped.
    pub(super) message: &'a mut Vec<u8>,
    /// `,"name":value` for each field.
    pub(super) fields: &'a mut Vec<u8>,
}

impl Style for JsonStyle<'_> {
    fn message(&mut self, message: FieldValue<'_>) {
        push_text(self.message, &message);
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
            text => {
                out.push(b'"');
                push_text(out, &text);
                out.push(b'"');
                if let FieldValue::Error(error) = text
                    && error.source().is_some()
                {
                    push_name(out, name, "_chain");
                    for (index, cause) in causes(error).enumerate() {
                        out.extend_from_slice(if index == 0 { b"[\"" } else { b",\"" });
                        let _ = write!(JsonText(out), "{cause}");
                        out.push(b'"');
                    }
                    out.push(b']');
                }
            }
        }
    }
}

fn push_name(out: &mut Vec<u8>, name: &str, suffix: &str) {
    out.extend_from_slice(b",\"");
    push_json(out, name);
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_text(out: &mut Vec<u8>, value: &FieldValue<'_>) {
    let mut out = JsonText(out);
    // Text goes to a buffer: only a broken Debug or Display can fail, and then the rest is left out.
    let _ = match value {
        FieldValue::Text(text) => out.write_str(text),
        FieldValue::Debug(value) => write!(out, "{value:?}"),
        FieldValue::Display(value) => write!(out, "{value}"),
        FieldValue::Error(error) => write!(out, "{error}"),
        FieldValue::Integer(value) => write!(out, "{value}"),
        FieldValue::Unsigned(value) => write!(out, "{value}"),
        FieldValue::Float(value) => write!(out, "{value}"),
        FieldValue::Flag(value) => write!(out, "{value}"),
    };
}
