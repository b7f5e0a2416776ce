//! `Db` on SQLite, against real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sqlite {
    pub(crate) mod support;

    mod constraints;
    mod contention;
    mod health_and_metrics;
    mod lifecycle;
    mod limits;
    mod mapping;
    mod migrations;
    mod parameters;
    mod request_scope;
    mod spans;
    mod streams;
    mod transactions;
}
