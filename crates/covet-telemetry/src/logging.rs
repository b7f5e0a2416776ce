//! The log: one line an event, as JSON for machines or as text for people, to standard output and to a file.
//!
//! | you want | look in |
//! |---|---|
//! | to log something | `tracing::info!` and its siblings |
//! | the line of every request | [`access`] |
//! | to begin and end logging | [`init`], [`Logging`] |
//! | which levels are on, and to change them | [`Levels`], [`LogLevels`] |
//! | to tell a security review or an auditor something | [`security`], [`audit`] |
//! | where a fault comes from | [`backtrace`](mod@backtrace) |
//! | the order and names of the fields | `event.rs` |
//! | what is never written | `redact.rs`, `personal.rs` |
//! | that writing never makes anybody wait | `writer.rs` |
//! | the file and its rotation | `file.rs` |
//!
//! `docs/reference/logging.md` fixes field names, loggers and levels for those who read the log.
//!
//! **Loggers.** The `logger` of a line is the event's target with dots: `covet_http::listener` logs as
//! `covet.http.listener`. Every crate logs under its own name: `covet.core`, `covet.telemetry`, `covet.http`,
//! `covet.data`, `covet.identity`, and the service under its crate's name. Three loggers are no modules: [`API`]
//! (`covet.api`) has the line of every request, [`SECURITY`] and [`AUDIT`] are streams of their own.
//! Libraries log under their own names, whether they use `tracing` or the `log` crate.
//!
//! **Levels.** ERROR: somebody has to act. WARN: it went on, but not as it should. INFO: what an operator wants
//! to know of a healthy service. DEBUG and TRACE: for whoever looks for a fault.

pub mod access;
pub mod backtrace;
mod bridge;
mod capture;
mod escape;
mod event;
mod file;
mod human;
mod json;
mod layer;
mod levels;
mod personal;
mod policy;
mod record;
mod redact;
mod start;
mod stdout;
mod stream;
mod timestamp;
mod writer;

pub use capture::CapturedLines;
pub use levels::Levels;
pub(crate) use personal::Personal;
pub use personal::truncated as truncated_address;
pub use record::{Actor, Record, audit, security, vocabulary};
pub use redact::NamePattern;
pub(crate) use start::ThreadLog;
pub use start::{LogError, LogLevels, Logging, init};
pub use stream::{AUDIT, SECURITY};
pub(crate) use writer::ALL as METRICS;

pub(crate) use redact::{REDACTED, Redaction};
pub(crate) use start::init_with_spans;

/// Target of the access line.
pub const API: &str = "covet::api";
