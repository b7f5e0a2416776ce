//! Real servers on free ports, for our tests and for yours.
//!
//! A test that depends on how a server behaves should talk to that server. This crate starts the service under test, PostgreSQL,
//! Redis, NGINX and Prometheus on free ports with throw-away data, waits until each one answers, and takes everything away again:
//! when the value is dropped, after a panic, and also when the test process itself is killed.
//!
//! ```no_run
//! # async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! use covet_testkit::Service;
//!
//! let service = Service::start().await?; // `covet-api` on free ports with an empty SQLite file
//! let response = service.client().get(service.url("/health/ready")).send().await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! | for | see |
//! |---|---|
//! | the service under test | [`Service`] |
//! | a server of one's own: database, cache, proxy, scraper | [`Postgres`], [`PgBouncer`], [`Redis`], [`Nginx`], [`Prometheus`] |
//! | PostgreSQL that fails over by itself | [`Patroni`] |
//! | Redis that fails over by itself, and Redis in parts | [`RedisSentinel`], [`RedisCluster`] |
//! | a network that is slow, silent or gone | [`FaultProxy`] |
//! | an empty database, on a server shared with other tests | [`Database`] |
//! | a receiver of traces | [`OtlpReceiver`] |
//! | an HTTP client | [`http_client`] |
//! | any other program | [`Process`], [`TempDir`], [`free_port`] |
//! | "until it is so", with a deadline | [`wait_until`], [`eventually`] |
//!
//! Not for: benchmarks (see `bench/`), and not for production code: it starts programs and sends signals.
//!
//! Variables it reads: `COVET_TESTKIT_KEEP=1` keeps the temporary directories and prints where they are; `<BINARY>_BIN` (for example
//! `COVET_API_BIN`) names a binary to test instead of the one that cargo builds.

mod certificate;
mod directory;
mod error;
mod fault_proxy;
mod http_client;
mod nginx;
mod otlp;
mod patroni;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod program;
mod prometheus;
mod redis;
mod server;
mod service;
mod undertaker;
mod wait;

pub use certificate::Certificate;
pub use directory::TempDir;
pub use error::{Error, Result};
pub use fault_proxy::FaultProxy;
pub use http_client::http_client;
pub use nginx::{Nginx, NginxBuilder};
pub use otlp::{OtlpBehaviour, OtlpReceiver, ReceivedSpan, SpanKind};
pub use patroni::Patroni;
pub use pgbouncer::PgBouncer;
pub use port::free_port;
pub use postgres::{Database, Postgres, PostgresBuilder};
pub use process::{Finished, Process, Signal, Stop};
pub use program::{cargo_binary, find_program};
pub use prometheus::Prometheus;
pub use redis::{Redis, RedisBuilder, RedisCluster, RedisSentinel};
pub use service::{Service, ServiceBuilder};
pub use wait::{eventually, wait_until};
