//! The API over HTTP, as its clients see it: each test starts the service itself, with an empty database. Here it is
//! SQLite; `tests/api_postgres.rs` runs the same tests on PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

mod access;
mod admin;
mod api_keys;
mod api_keys_over_time;
#[path = "attacks/all.rs"]
mod attacks;
mod audit;
mod auth;
mod business;
mod cached;
#[path = "database/sqlite.rs"]
mod database;
mod events;
mod migrations;
mod notes;
mod openapi;
mod orders;
mod privacy;
mod security_page;
mod sessions;
mod support;
mod telemetry;
mod tokens;
mod users;
