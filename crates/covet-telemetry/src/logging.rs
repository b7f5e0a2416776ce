//! The log: one line an event, as JSON for machines or as text for people, to standard output and to a file.
//!
//! | you want | look in |
//! |---|---|
//! | to log something | `tracing::info!` and its siblings |
//! | the line of every request | [`access`] |
//! | to begin and end logging | [`init`], [`Logging`] |
//! | which levels are on | [`Levels`] |
//! | the order and names of the fields | `event.rs` |
//! | that writing never makes anybody wait | `writer.rs` |
//! | the file and its rotation | `file.rs` |
//!
//! **Loggers.** The `logger` of a line is the event's target with dots: `covet_http::listener` logs as
//! `covet.http.listener`. Every crate logs under its own name: `covet.core`, `covet.telemetry`, `covet.http`,
//! `covet.data`, `covet.identity`, and the service under its crate's name. Two loggers are no modules: [`API`]
//! (`covet.api`) has the line of every request, [`SECURITY`] (`covet.security`) what a security review asks for.
//! Libraries log under their own names, whether they use `tracing` or the `log` crate.
//!
//! **Levels.** ERROR: somebody has to act. WARN: it went on, but not as it should. INFO: what an operator wants
//! to know of a healthy service. DEBUG and TRACE: for whoever looks for a fault.
//!
//! **Never logged:** passwords, tokens, cookies, the `Authorization` header, query strings. Fields with such
//! names are written as `[redacted]`, as a second line of defence.

pub mod access;
mod bridge;
mod escape;
mod event;
mod file;
mod human;
mod json;
mod layer;
mod levels;
mod redact;
mod start;
mod stdout;
mod timestamp;
mod writer;

pub use levels::Levels;
pub use start::{LogError, LogLevels, Logging, init};
pub(crate) use writer::ALL as METRICS;

pub(crate) use redact::{REDACTED, is_secret};
pub(crate) use start::init_with_spans;

/// Target of the access line.
pub const API: &str = "covet::api";

/// Target of events that matter to security: failed logins, refused tokens, changed rights.
///
/// ```
/// use covet_telemetry::logging::SECURITY;
///
/// tracing::warn!(target: SECURITY, reason = "bad_password", "login failed");
/// ```
pub const SECURITY: &str = "covet::security";
