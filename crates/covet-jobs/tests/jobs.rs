//! Jobs on both databases: what is promised of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

mod jobs {
    pub(crate) mod bed;
    mod ends;
    mod lost_workers;
    mod queue;
    mod schedules;
}
