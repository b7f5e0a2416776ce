//! A line for people: `2025-10-10T12:03:04.123Z INFO  covet.http.listener: listening address=0.0.0.0:8000`.

use std::io::Write as _;

use tracing::Level;

use super::escape::push_plain;
use super::event::{FieldValue, Style};

/// Where a field's text has line ends, each further line begins so.
const CONTINUED: &str = "\n    ";

/// Colours, or none of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    coloured: bool,
}

impl Palette {
    pub(super) fn new(coloured: bool) -> Self {
        Self { coloured }
    }

    fn paint(self, out: &mut Vec<u8>, code: &str, text: impl FnOnce(&mut Vec<u8>)) {
        if self.coloured {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(code.as_bytes());
            out.push(b'm');
        }
        text(out);
        if self.coloured {
            out.extend_from_slice(b"\x1b[0m");
        }
    }

    /// Greys what `text` appends.
    pub(super) fn dim(self, out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
        self.paint(out, "2", text);
    }

    /// The level in five columns.
    pub(super) fn level(self, out: &mut Vec<u8>, level: Level) {
        let (code, text) = match level {
            Level::ERROR => ("1;31", "ERROR"),
            Level::WARN => ("33", "WARN "),
            Level::INFO => ("32", "INFO "),
            Level::DEBUG => ("34", "DEBUG"),
            Level::TRACE => ("35", "TRACE"),
        };
        self.paint(out, code, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// The status of an answer, coloured by its class.
    pub(super) fn status(self, out: &mut Vec<u8>, status: u16) {
        let code = match status {
            500.. => "1;31",
            400.. => "33",
            _ => "32",
        };
        self.paint(out, code, |out| out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes()));
    }

    /// ` name=`.
    pub(super) fn name(self, out: &mut Vec<u8>, name: &str) {
        out.push(b' ');
        self.dim(out, |out| {
            push_plain(out, name, " ");
            out.push(b'=');
        });
    }
}

/// Takes colours out again, for the file.
pub(super) fn without_colours(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut parts = text.split(|byte| *byte == 0x1B);
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        // Every escape in a line is ours: `ESC [ … m`.
        let end = part.iter().position(|byte| *byte == b'm').map_or(0, |at| at + 1);
        out.extend_from_slice(&part[end..]);
    }
    out
}

/// Writes the message, the fields, and what takes more than a line, apart.
pub(super) struct HumanStyle<'a> {
    pub(super) palette: Palette,
    pub(super) message: &'a mut Vec<u8>,
    pub(super) fields: &'a mut Vec<u8>,
    /// Causes of errors, backtraces: each on lines of its own under the event.
    pub(super) below: &'a mut Vec<u8>,
}

impl Style for HumanStyle<'_> {
    fn message(&mut self, message: &str) {
        push_plain(self.message, message, CONTINUED);
    }

    fn field(&mut self, name: &str, value: FieldValue<'_>) {
        match value {
            FieldValue::Text(text) if text.contains('\n') => {
                self.below.extend_from_slice(b"\n  ");
                self.palette.dim(self.below, |out| push_plain(out, name, " "));
                self.below.extend_from_slice(CONTINUED.as_bytes());
                push_plain(self.below, text.trim_end(), CONTINUED);
            }
            FieldValue::Text(text) => {
                self.palette.name(self.fields, name);
                push_value(self.fields, text);
            }
            value => {
                self.palette.name(self.fields, name);
                // Writing to a Vec does not fail.
                let _ = write!(self.fields, "{value}");
            }
        }
    }

    fn causes(&mut self, _: &str, causes: &[String]) {
        for cause in causes {
            self.below.extend_from_slice(b"\n  ");
            self.palette.dim(self.below, |out| out.extend_from_slice(b"caused by: "));
            push_plain(self.below, cause, CONTINUED);
        }
    }
}

/// A value on one line, in quotes where it would not be clear where it ends.
pub(super) fn push_value(out: &mut Vec<u8>, text: &str) {
    let clear = !text.is_empty() && !text.contains([' ', '"', '=']);
    if clear {
        push_plain(out, text, "\\n");
        return;
    }
    out.push(b'"');
    push_plain(out, &text.replace('\\', "\\\\").replace('"', "\\\""), "\\n");
    out.push(b'"');
}
