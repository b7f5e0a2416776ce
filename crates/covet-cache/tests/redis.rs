//! The cache in Redis: one server, with TLS and a user, Sentinel, Cluster; and what happens when servers and networks fail.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "figures, for those who ask a test for its output")]

#[path = "suite/all.rs"]
mod suite;

#[path = "redis/cluster.rs"]
mod cluster;
#[path = "redis/everywhere.rs"]
mod everywhere;
#[path = "redis/faults.rs"]
mod faults;
#[path = "redis/messages.rs"]
mod messages;
#[path = "redis/sentinel.rs"]
mod sentinel;
#[path = "redis/support.rs"]
mod support;
