//! Calls of a real server, in good and bad times.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client {
    pub(crate) mod support;

    mod bounds;
    mod retries;
    mod secrets;
    mod tracing;
}
