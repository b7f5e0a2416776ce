//! The cache: values kept in memory or in Redis, and messages between instances.
//!
//! | you want | look in |
//! |---|---|
//! | to declare what is cached | [`Keyspace`], [`Ttl`] |
//! | to read, load, store, invalidate | [`Cache`] |
//! | to tell other instances something | [`PubSub`], [`Subscription`] |
//! | commands and scripts of your own on Redis | [`Redis`] |
//! | what can go wrong | [`Error`] |
//! | what an operator can set | [`settings::CacheSettings`] |
//! | health and metrics | [`CacheCheck`], [`CacheCollector`] |
//! | how a miss is loaded once | `load.rs`, `flight.rs` (this process), `remote/lease.rs` (all processes) |
//! | what lies in Redis | `format.rs`, `remote.rs` |
//!
//! Not here: results of queries, which `covet-data` keeps by the tables they were read from; responses, which
//! `covet-http` keeps by the rules of HTTP, in this cache.

mod begun;
mod cache;
mod collector;
mod error;
mod flight;
mod format;
mod health;
mod keyspace;
mod load;
mod look;
mod memory;
mod near;
mod operations;
mod owed;
mod pubsub;
pub mod redis;
mod remote;
pub mod settings;
mod ttl;
mod uses;

pub use self::redis::Redis;
pub use begun::Begun;
pub use cache::{Cache, CacheParts};
pub use collector::CacheCollector;
pub use error::{Error, Result};
pub use format::Cacheable;
pub use health::CacheCheck;
pub use keyspace::{CacheKey, Keyspace};
pub use pubsub::{Event, PubSub, Subscription};
pub use ttl::Ttl;

pub use covet_telemetry::metrics::instruments::CacheOperation;
