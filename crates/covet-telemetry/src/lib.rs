//! Seeing what the service does: metrics, logs, the request scope and readings of the machine.
//!
//! | you want | look in |
//! |---|---|
//! | everything started for a process | [`Telemetry`] |
//! | to count, and the text of `/metrics` | [`metrics`] |
//! | log lines | [`logging`] |
//! | to know the request a line of code runs for | [`request`] |
//! | to know the trace it is part of | [`traces`] |
//! | other telemetry for some threads, in tests | [`local`] |
//! | processor, memory, disk, network of machine and process | [`system`] |
//! | what an operator can set | [`settings`] |
//!
//! Not here: HTTP endpoints (`covet-http`) and anything that needs a database.

pub mod local;
pub mod logging;
pub mod metrics;
pub mod request;
pub mod settings;
pub mod system;
mod telemetry;
pub mod traces;

pub use telemetry::{Captured, Service, StartError, Telemetry, declare_all};
