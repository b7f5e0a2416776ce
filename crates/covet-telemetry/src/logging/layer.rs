//! From a `tracing` event to a line in the writer's queue.

use std::cell::RefCell;
use std::sync::Arc;

use covet_core::clock::Clock;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::escape::{push_json, push_plain};
use super::event::{Parts, Source};
use super::human::{HumanStyle, Palette};
use super::json::JsonStyle;
use super::levels::logger;
use super::policy::Policy;
use super::stream::Stream;
use super::timestamp::TimeText;
use super::writer::Writer;

/// Writes events as lines. Made by [`Logging::layer`](super::Logging::layer).
#[derive(Debug, Clone)]
pub(super) struct LogLayer {
    pub(super) shared: Arc<Shared>,
}

/// Where lines go, and how they look.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) writer: Writer,
    pub(super) format: Arc<LineFormat>,
}

/// What every line needs.
#[derive(Debug)]
pub(super) struct LineFormat {
    pub(super) clock: Clock,
    pub(super) look: Look,
    /// The service's name, escaped for JSON.
    pub(super) service_json: Vec<u8>,
    pub(super) policy: Policy,
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
    text: String,
}

impl Scratch {
    const fn new() -> Self {
        Self {
            time: TimeText::new(),
            line: Vec::new(),
            message: Vec::new(),
            fields: Vec::new(),
            below: Vec::new(),
            text: String::new(),
        }
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
        let line = self.format.line(source);
        self.writer.send_to(Stream::of(source.target()), line, 1);
    }
}

impl LineFormat {
    /// The line of `source`.
    pub(super) fn line(&self, source: &impl Source) -> Vec<u8> {
        let line = SCRATCH.try_with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => self.line_in(&mut scratch, source),
            // A value that logs while it is being logged.
            Err(_) => self.line_in(&mut Scratch::new(), source),
        });
        // Otherwise the thread is ending and has given its buffers back.
        line.unwrap_or_else(|_| self.line_in(&mut Scratch::new(), source))
    }

    fn line_in(&self, scratch: &mut Scratch, source: &impl Source) -> Vec<u8> {
        let Scratch { time, line, message, fields, below, text } = scratch;
        for buffer in [&mut *line, message, fields, below] {
            buffer.clear();
        }
        match self.look {
            Look::Json => {
                let mut style = JsonStyle { message, fields };
                let mut parts = Parts { style: &mut style, policy: &self.policy, text };
                parts.of_request(source);
                source.give(&mut parts);

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
                let mut parts = Parts { style: &mut style, policy: &self.policy, text };
                source.give(&mut parts);
                parts.of_request(source);

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
        line.clone()
    }
}
