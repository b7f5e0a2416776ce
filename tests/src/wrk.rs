//! `wrk` in the background: load for as long as a test needs it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use covet_testkit::{Process, Signal, Stop, find_program};

use crate::SOON;

/// A running `wrk`.
#[derive(Debug)]
pub struct Load {
    process: Process,
}

/// What `wrk` counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Responses received.
    pub requests: u64,
    /// Connections refused, broken or timed out.
    pub socket_errors: u64,
    /// Responses with a status from 400 up.
    pub bad_statuses: u64,
}

impl Load {
    /// Requests `url` over `connections` kept connections with these headers, until it is told to stop.
    ///
    /// # Errors
    ///
    /// When `wrk` is not installed.
    pub fn start(url: &str, connections: u16, headers: &[String]) -> Result<Self> {
        let mut command = Command::new(find_program("wrk", "wrk")?);
        // It ends by itself even when nobody stops it.
        command.args([
            "--threads",
            "1",
            "--connections",
            &connections.to_string(),
            "--duration",
            "600s",
            "--timeout",
            "20s",
        ]);
        for header in headers {
            command.args(["--header", header]);
        }
        let process = Process::spawn("wrk", command.arg(url), Stop::with(Signal::SIGKILL, Duration::ZERO))?;
        Ok(Self { process })
    }

    /// Stops the load and counts.
    ///
    /// # Errors
    ///
    /// When `wrk` ended early or printed something unexpected.
    pub async fn stop(self) -> Result<Report> {
        self.process.signal(Signal::SIGINT).context("wrk ended before it was stopped")?;
        self.process.wait_exit(SOON).await?;
        let text = self.process.stdout();
        report(&text).with_context(|| text)
    }
}

fn report(text: &str) -> Result<Report> {
    let mut report = Report::default();
    for line in text.lines().map(str::trim) {
        if let Some((requests, _)) = line.split_once(" requests in ") {
            report.requests = requests.parse()?;
        } else if let Some(errors) = line.strip_prefix("Socket errors: ") {
            let counts = errors.split(", ").filter_map(|error| error.split(' ').nth(1)?.parse::<u64>().ok());
            report.socket_errors = counts.sum();
        } else if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses: ") {
            report.bad_statuses = count.parse()?;
        }
    }
    anyhow::ensure!(report.requests > 0, "wrk got no response");
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_bad_statuses_are_counted() {
        let text = "  71903 requests in 1.00s, 10.21MB read\n  Socket errors: connect 1, read 2, write 0, timeout 3\n  \
                    Non-2xx or 3xx responses: 7\n";
        assert_eq!(report(text).unwrap(), Report { requests: 71_903, socket_errors: 6, bad_statuses: 7 });
    }
}
