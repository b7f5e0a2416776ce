//! What the system tests share. The tests themselves are in `tests/tests/`, one subject a file.
//!
//! | for | see |
//! |---|---|
//! | a user of `covet-api` with a token | [`account`] |
//! | the documented metrics | [`documented`] |
//! | a service with routes that misbehave on request | [`drill`] |
//! | the text of `/metrics`, understood | [`exposition`] |
//! | to scrape, also until something is so | [`scrape`] |
//! | a service that renames a column from release to release | [`rename`] |
//! | log lines, held against the published schema | [`log_lines`] |
//! | secrets that must be found nowhere | [`planted`] |
//! | bytes on a socket, for clients that do not behave | [`raw_http`] |
//! | load | [`wrk`] |
//! | writes of which each answer is kept, while the database fails over | [`write_load`] |
//! | thousands of sockets | [`limits`] |
//!
//! Not for starting servers: that is `covet-testkit`, which users' tests have too.

pub mod account;
pub mod documented;
pub mod drill;
pub mod exposition;
pub mod limits;
pub mod log_lines;
pub mod planted;
pub mod raw_http;
pub mod rename;
pub mod scrape;
pub mod write_load;
pub mod wrk;

use std::time::Duration;

/// A deadline for what happens at once on an idle machine. Tests wait for conditions; this only ends a hopeless wait.
pub const SOON: Duration = Duration::from_secs(30);
