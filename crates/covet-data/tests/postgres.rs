//! `Db` on PostgreSQL, against a real server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod postgres {
    pub(crate) mod support;

    mod constraints;
    mod driver;
    mod failover;
    mod health_and_metrics;
    mod lanes;
    mod mapping;
    mod migrations;
    mod parameters;
    mod pgbouncer;
    mod pool;
    mod statements;
    mod streams;
    mod tls;
    mod transactions;
}
