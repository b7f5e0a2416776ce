//! The ground floor: what every other room stands on and what knows none of them.
//!
//! | you want | look in |
//! |---|---|
//! | what the operator set, and where each value came from | [`settings`] |
//! | development, staging or production | [`environment`] |
//! | a value that cannot be printed by accident | [`secret`] |
//! | an error as RFC 9457 problem details | [`problem`] |
//! | the phases of the process, from start to exit | [`lifecycle`] |
//! | health checks and their report | [`health`] |
//! | what is read again when its file changes | [`reload`] |
//! | the time | [`clock`] |
//! | pauses between attempts | [`backoff`] |
//! | identifiers and randomness | [`ids`] |
//! | bytes as hexadecimal digits | [`hex`] |
//! | certificates of connections to servers | `tls`, with the feature of this name |
//!
//! Not here: HTTP (`covet-http`), metrics and logs (`covet-telemetry`).

extern crate self as covet_core;

pub mod backoff;
pub mod clock;
pub mod environment;
pub mod health;
pub mod hex;
pub mod ids;
pub mod lifecycle;
pub mod problem;
pub mod reload;
pub mod secret;
pub mod settings;
#[cfg(feature = "tls")]
pub mod tls;
