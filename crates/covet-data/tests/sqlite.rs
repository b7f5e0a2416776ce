//! `Db` on SQLite, against real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sqlite {
    pub(crate) mod support;

    mod constraints;
    mod contention;
    mod health_and_metrics;
    mod integrity;
    mod lifecycle;
    mod limits;
    mod mapping;
    mod migrations;
    mod parameters;
    #[path = "../both/plans.rs"]
    mod plans;
    #[path = "../both/query_cache.rs"]
    mod query_cache;
    mod request_scope;
    #[path = "../both/sea.rs"]
    mod sea;
    mod spans;
    mod streams;
    mod transactions;
    #[path = "../both/transactions.rs"]
    mod transactions_on_both;
}
