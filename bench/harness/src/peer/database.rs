//! The peers with a database.

use super::{ARGUMENTS, COVET, COVET_DUTIES, COVET_ENVIRONMENT, Peer};
use crate::database::Kind;

/// Covet on SQLite.
pub(crate) const COVET_SQLITE: &str = "covet-sqlite";
/// What ratios on PostgreSQL are taken from: the better of these, route by route.
pub(crate) const BY_HAND_POSTGRES: [&str; 2] = ["axum-tokio-postgres-1", "axum-tokio-postgres-4"];
/// What ratios on SQLite are taken from.
pub(crate) const BY_HAND_SQLITE: [&str; 1] = ["axum-rusqlite"];
/// Whom Covet is to be cheaper than.
pub(crate) const SQLX: &str = "axum-sqlx";

const ONE_CONNECTION: &[&str] = &["--port", "{port}", "--workers", "{workers}", "--connections", "1"];
const FOUR_CONNECTIONS: &[&str] = &["--port", "{port}", "--workers", "{workers}", "--connections", "4"];

/// In the order of a round.
pub(super) const PEERS: [Peer; 8] = [
    Peer {
        name: BY_HAND_POSTGRES[0],
        package: "axum-tokio-postgres",
        what: "bare axum; one connection shared by all requests, statements prepared at start and pipelined; nothing else",
        arguments: ONE_CONNECTION,
        environment: &[],
        duties: None,
        database: Some(Kind::Postgres),
    },
    Peer {
        name: BY_HAND_POSTGRES[1],
        package: "axum-tokio-postgres",
        what: "the same with four connections in turn",
        arguments: FOUR_CONNECTIONS,
        environment: &[],
        duties: None,
        database: Some(Kind::Postgres),
    },
    Peer {
        name: COVET,
        package: "covet-database-peer",
        what: "everything on, as in the table of requests, and of the database: 5 to 20 connections, statement timeout, queue \
               limit, retries of reads, metrics by table, spans of sampled requests, slow-query log",
        arguments: &[],
        environment: COVET_ENVIRONMENT,
        duties: Some(COVET_DUTIES),
        database: Some(Kind::Postgres),
    },
    Peer {
        name: "actix-tokio-postgres",
        package: "actix-tokio-postgres",
        what: "bare actix-web; one connection a worker, pipelined in the same way",
        arguments: ONE_CONNECTION,
        environment: &[],
        duties: None,
        database: Some(Kind::Postgres),
    },
    Peer {
        name: SQLX,
        package: "axum-sqlx",
        what: "bare axum; sqlx's pool of 20, otherwise its defaults",
        arguments: ARGUMENTS,
        environment: &[],
        duties: None,
        database: Some(Kind::Postgres),
    },
    Peer {
        name: "axum-sea-orm",
        package: "axum-sea-orm",
        what: "bare axum; SeaORM over sqlx's pool of 20, without its log line for each statement",
        arguments: ARGUMENTS,
        environment: &[],
        duties: None,
        database: Some(Kind::Postgres),
    },
    Peer {
        name: BY_HAND_SQLITE[0],
        package: "axum-rusqlite",
        what: "bare axum; rusqlite on the worker's own thread, a connection a thread",
        arguments: ARGUMENTS,
        environment: &[],
        duties: None,
        database: Some(Kind::Sqlite),
    },
    Peer {
        name: COVET_SQLITE,
        package: "covet-database-peer",
        what: "the same program as `covet`, on SQLite",
        arguments: &[],
        environment: COVET_ENVIRONMENT,
        duties: Some(COVET_DUTIES),
        database: Some(Kind::Sqlite),
    },
];
