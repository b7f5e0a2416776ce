//! The database: SQL text in, typed rows out.
//!
//! | you want | look in |
//! |---|---|
//! | to run a statement | [`Db::read`], [`Db::write`] |
//! | several statements that happen together | [`Db::begin`], [`Db::transaction`], [`Db::retry`] |
//! | results that are kept until a table is written to | [`Db::cached`] |
//! | which Rust type takes which column | `decode.rs` (the table at its top) |
//! | what can go wrong | [`Error`] |
//! | the schema | [`migrations!`], [`migrate::Migrator`] |
//! | what an operator can set | [`settings::DatabaseSettings`] |
//! | health and metrics | [`DatabaseCheck`], [`DatabaseCollector`] |
//! | the drivers | `sqlite.rs`, `postgres.rs` |
//!
//! Not here: any knowledge of HTTP.

mod address;
mod collector;
mod db;
mod decode;
mod dialect;
mod error;
mod fetch;
mod health;
mod instruments;
mod json;
pub mod migrate;
mod param;
mod plans;
mod postgres;
mod query;
mod query_cache;
#[cfg(feature = "sea-query")]
mod sea;
pub mod settings;
mod spans;
mod sqlite;
mod statement;
mod stream;
mod transaction;

pub use collector::DatabaseCollector;
pub use db::{Connections, Db};
pub use decode::RowMismatch;
pub use dialect::Dialect;
pub use error::{Error, Refused, Result};
pub use health::DatabaseCheck;
pub use json::Json;
pub use migrate::Migrations;
pub use param::{Element, Param, Params, ToParam};
pub use postgres::{InvalidPosition, Position, PostgresConnection};
pub use query::{Executor, Reader, Writer};
pub use query_cache::{Cached, CachedQuery, TableWrite};
pub use stream::RowStream;
pub use transaction::{Isolation, Transaction, TransactionOptions};

/// The drivers, for [`Db::sqlite`] and [`Db::postgres`].
pub use {rusqlite, tokio_postgres};

#[cfg(feature = "sea-query")]
pub use sea_query;

/// Used by the macros of this crate.
#[doc(hidden)]
pub mod __private {
    pub use include_dir;
}
