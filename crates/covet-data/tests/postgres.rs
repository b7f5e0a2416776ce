//! `Db` on PostgreSQL, against a real server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod postgres {
    pub(crate) mod support;

    mod constraints;
    mod driver;
    mod failover;
    mod health_and_metrics;
    mod lanes;
    mod lint;
    mod mapping;
    mod migrations;
    mod parameters;
    mod pgbouncer;
    #[path = "../both/plans.rs"]
    mod plans;
    mod pool;
    #[path = "../both/query_cache.rs"]
    mod query_cache;
    #[path = "../both/sea.rs"]
    mod sea;
    mod statements;
    mod streams;
    mod tls;
    mod transactions;
    #[path = "../both/transactions.rs"]
    mod transactions_on_both;
}
