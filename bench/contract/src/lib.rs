//! What every peer promises: the same command line and the same answers.
//!
//! A peer listens on `127.0.0.1:PORT` with the given number of worker threads and answers
//!
//! - `GET /json` with [`Greeting`],
//! - `GET /users/{id}` (an unsigned 64-bit number) with [`User`],
//!
//! both serialised by `serde_json` on every request and sent as `application/json`. Nothing about routing or serving is
//! shared here: that is what is compared. The harness keeps the expected bytes (`harness/src/route.rs`).
//!
//! A peer with production crates moreover sends [`SECURITY_HEADERS`] with every answer and the request's `x-request-id`
//! back, lets the pages of [`ALLOWED_ORIGIN`] read its answers, writes a JSON line per request into its log file, answers
//! `GET /metrics` on a port of its own, and exports spans as the `OTEL_*` variables say
//! (`harness/src/verification.rs`, `harness/src/proof.rs`).
//!
//! Peers with a database answer other routes: [`database`].

pub mod database;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Serialize;

/// Body of `GET /json`.
#[derive(Debug, Serialize)]
pub struct Greeting {
    /// The text.
    pub message: &'static str,
}

/// The one greeting.
pub const GREETING: Greeting = Greeting { message: "Hello, World!" };

/// Body of `GET /users/{id}`.
#[derive(Debug, Serialize)]
pub struct User {
    /// The number in the path.
    pub id: u64,
    /// `user-` and the number.
    pub name: String,
}

impl User {
    /// The user with this number; every number has one.
    #[must_use]
    pub fn numbered(id: u64) -> Self {
        Self { id, name: format!("user-{id}") }
    }
}

/// The headers Covet sends by default, word for word.
pub const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "no-referrer-when-downgrade"),
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';",
    ),
    ("permissions-policy", "geolocation=(), microphone=(), camera=()"),
];

/// The one origin whose pages may call.
pub const ALLOWED_ORIGIN: &str = "https://app.example";

/// The series under which a peer tells how many log lines it gave up; Covet's name for it.
pub const DROPPED_LINES: &str = "log_lines_dropped_total";

/// A peer's command line: `--port N --workers N`, for one with production crates `--metrics-port N --log-file FILE`, and for one
/// whose connections to the database are counted `--connections N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Where to listen, on 127.0.0.1.
    pub port: u16,
    /// Worker threads.
    pub workers: usize,
    metrics_port: Option<u16>,
    log_file: Option<PathBuf>,
    connections: Option<usize>,
}

impl Arguments {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// An argument is unknown, missing or not a number.
    pub fn parse() -> anyhow::Result<Self> {
        Self::parse_from(std::env::args().skip(1))
    }

    /// Address to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Where `/metrics` is answered.
    ///
    /// # Errors
    /// `--metrics-port` was not given.
    pub fn metrics_address(&self) -> anyhow::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, self.metrics_port.context("--metrics-port N is missing")?).into())
    }

    /// What the log file's name begins with.
    ///
    /// # Errors
    /// `--log-file` was not given.
    pub fn log_file(&self) -> anyhow::Result<PathBuf> {
        self.log_file.clone().context("--log-file FILE is missing")
    }

    /// How many connections to the database it shares.
    ///
    /// # Errors
    /// `--connections` was not given.
    pub fn connections(&self) -> anyhow::Result<usize> {
        self.connections.context("--connections N is missing")
    }

    fn parse_from(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut port, mut workers, mut metrics_port, mut log_file, mut connections) = (None, None, None, None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value after it"));
            match word.as_str() {
                "--port" => port = Some(value()?.parse().context("--port: not a port number")?),
                "--workers" => workers = Some(value()?.parse().context("--workers: not a number of threads")?),
                "--metrics-port" => metrics_port = Some(value()?.parse().context("--metrics-port: not a port number")?),
                "--log-file" => log_file = Some(value()?.into()),
                "--connections" => connections = Some(value()?.parse().context("--connections: not a number")?),
                _ => bail!(
                    "unknown argument {word}; expected --port N --workers N --metrics-port N --log-file FILE --connections N"
                ),
            }
        }
        let port = port.context("--port N is missing")?;
        let arguments = Self { port, workers: workers.unwrap_or(1), metrics_port, log_file, connections };
        if arguments.workers == 0 || arguments.connections == Some(0) {
            bail!("--workers and --connections must be at least 1");
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn parse(line: &str) -> anyhow::Result<Arguments> {
        Arguments::parse_from(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn reads_port_and_workers_in_any_order() {
        let arguments = parse("--workers 2 --port 8000").unwrap();
        assert_eq!((arguments.port, arguments.workers), (8000, 2));
        assert!(arguments.metrics_address().is_err() && arguments.log_file().is_err());
    }

    #[test]
    fn a_peer_with_production_crates_is_told_where_its_metrics_and_log_go() {
        let arguments = parse("--port 8000 --metrics-port 9090 --log-file access.log").unwrap();
        assert_eq!(arguments.metrics_address().unwrap().port(), 9090);
        assert_eq!(arguments.log_file().unwrap().to_str(), Some("access.log"));
    }

    #[test]
    fn a_peer_with_a_database_is_told_how_many_connections_it_shares() {
        assert_eq!(parse("--port 8000 --connections 4").unwrap().connections().unwrap(), 4);
        assert!(parse("--port 8000").unwrap().connections().is_err());
    }

    #[test]
    fn one_worker_unless_told_otherwise() {
        assert_eq!(parse("--port 8000").unwrap().workers, 1);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in
            ["", "--port", "--port x", "--port 8000 --workers 0", "--port 8000 --connections 0", "--port 8000 --fast"]
        {
            assert!(parse(line).is_err(), "{line:?} was accepted");
        }
    }
}
