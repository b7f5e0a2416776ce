//! Health: checks, who is critical, and the report they make together.
//!
//! A probe must answer in time even when a dependency hangs, so every check runs in a task of its own with a
//! time limit, one run of a check at a time, and its outcome is kept for a short while. The HTTP endpoints are
//! in `covet-http`; disk and memory checks in `covet-telemetry`; each dependency's check with its own crate.

mod check;
mod registry;

pub use check::{Check, CheckFuture, Outcome, Status};
pub use registry::{Criticality, HealthSettings, Registry, Report};
