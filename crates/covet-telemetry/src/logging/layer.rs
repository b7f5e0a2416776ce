//! From a `tracing` event to a line in the writer's queue.

use std::cell::RefCell;
use std::sync::Arc;

use covet_core::clock::Clock;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::escape::{push_json, push_plain};
use super::event::{Source, request_fields};
use super::human::{HumanStyle, Palette};
use super::json::JsonStyle;
use super::levels::logger;
use super::timestamp::TimeText;
use super::writer::Writer;

/// Writes events as lines. Made by [`Logging::layer`](super::Logging::layer).
#[derive(Debug, Clone)]
pub(super) struct LogLayer {
    pub(super) shared: Arc<Shared>,
}

/// What every line needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) writer: Writer,
    pub(super) clock: Clock,
    pub(super) look: Look,
    /// The service's name, escaped for JSON.
    pub(super) service_json: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    Json,
    Human(Palette),
}

/// Buffers that a thread uses for every line.
struct Scratch {
    time: TimeText,
    line: Vec<u8>,
    message: Vec<u8>,
    fields: Vec<u8>,
    below: Vec<u8>,
}

impl Scratch {
    const fn new() -> Self {
        Self { time: TimeText::new(), line: Vec::new(), message: Vec::new(), fields: Vec::new(), below: Vec::new() }
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.shared.log(event);
    }
}

impl Shared {
    /// Writes the line of `source`.
    pub(super) fn log(&self, source: &impl Source) {
        let written = SCRATCH.try_with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => self.write(&mut scratch, source),
            // A value that logs while it is being logged.
            Err(_) => self.write(&mut Scratch::new(), source),
        });
        if written.is_err() {
            // The thread is ending and has given its buffers back.
            self.write(&mut Scratch::new(), source);
        }
    }

    fn write(&self, scratch: &mut Scratch, source: &impl Source) {
        let Scratch { time, line, message, fields, below } = scratch;
        for buffer in [&mut *line, message, fields, below] {
            buffer.clear();
        }
        match self.look {
            Look::Json => {
                let mut style = JsonStyle { message, fields };
                request_fields(&mut style, source);
                source.give(&mut style);

                line.extend_from_slice(b"{\"timestamp\":\"");
                time.push(line, self.clock.unix_millis());
                line.extend_from_slice(b"\",\"level\":\"");
                line.extend_from_slice(source.level().as_str().as_bytes());
                line.extend_from_slice(b"\",\"logger\":\"");
                push_json(line, &logger(source.target()));
                line.extend_from_slice(b"\",\"service\":\"");
                line.extend_from_slice(&self.service_json);
                line.extend_from_slice(b"\",\"message\":\"");
                line.extend_from_slice(message);
                line.push(b'"');
                line.extend_from_slice(fields);
                line.extend_from_slice(b"}\n");
            }
            Look::Human(palette) => {
                let mut style = HumanStyle { palette, message, fields, below };
                source.give(&mut style);
                request_fields(&mut style, source);

                palette.dim(line, |line| time.push(line, self.clock.unix_millis()));
                line.push(b' ');
                palette.level(line, source.level());
                line.push(b' ');
                palette.dim(line, |line| push_plain(line, &logger(source.target()), " "));
                line.extend_from_slice(b": ");
                line.extend_from_slice(message);
                line.extend_from_slice(fields);
                line.extend_from_slice(below);
                line.push(b'\n');
            }
        }
        self.writer.send(line.clone(), 1);
    }
}
