//! What every peer promises: the same command line and the same answers.
//!
//! A peer listens on `127.0.0.1:PORT` with the given number of worker threads and answers
//!
//! - `GET /json` with [`Greeting`],
//! - `GET /users/{id}` (an unsigned 64-bit number) with [`User`],
//!
//! both serialised by `serde_json` on every request and sent as `application/json`. Nothing about routing or serving is
//! shared here: that is what is compared. The harness keeps the expected bytes (`harness/src/route.rs`).

use std::net::{Ipv4Addr, SocketAddr};

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

/// A peer's command line: `--port N --workers N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arguments {
    /// Where to listen, on 127.0.0.1.
    pub port: u16,
    /// Worker threads.
    pub workers: usize,
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

    fn parse_from(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut port, mut workers) = (None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a number after it"));
            match word.as_str() {
                "--port" => port = Some(value()?.parse().context("--port: not a port number")?),
                "--workers" => workers = Some(value()?.parse().context("--workers: not a number of threads")?),
                _ => bail!("unknown argument {word}; expected --port N --workers N"),
            }
        }
        let arguments = Self { port: port.context("--port N is missing")?, workers: workers.unwrap_or(1) };
        if arguments.workers == 0 {
            bail!("--workers must be at least 1");
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
        assert_eq!(parse("--workers 2 --port 8000").unwrap(), Arguments { port: 8000, workers: 2 });
    }

    #[test]
    fn one_worker_unless_told_otherwise() {
        assert_eq!(parse("--port 8000").unwrap().workers, 1);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in ["", "--port", "--port x", "--port 8000 --workers 0", "--port 8000 --fast"] {
            assert!(parse(line).is_err(), "{line:?} was accepted");
        }
    }
}
