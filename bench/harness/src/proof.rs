//! Proof that Covet did its work while it was fast: every request is in its counters and in its access log.
//!
//! A service that drops log lines under load looks cheaper than it is.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::client::Connection;
use crate::interrupt::Interrupt;
use crate::server::Server;
use crate::wanting::Wanting;

/// Where the peer logs, in its working directory; rotated files stay beside it under names that begin the same.
pub(crate) const LOG_FILE: &str = "access.log";
const REQUESTS: &str = "http_requests_total";
const DROPPED: &str = "log_lines_dropped_total";
/// Lines are handed over in batches; the last one takes a moment.
const LIMIT: Duration = Duration::from_secs(5);
/// Share of lines that may be dropped before the figure counts as bought with silence.
const MOST_DROPPED: f64 = 0.01;

/// What Covet's own books say.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Proof {
    /// Requests counted on the operator's port.
    pub(crate) counted: u64,
    /// Lines in the log.
    pub(crate) logged: u64,
    /// Lines given up because the writer could not keep up.
    pub(crate) dropped: u64,
}

impl Proof {
    /// Waits until the books hold `requests` requests.
    ///
    /// # Errors
    /// [`Wanting`] when some are missing or more than 1 % of the lines were dropped.
    pub(crate) fn of(server: &Server, requests: u64, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let end = Instant::now() + LIMIT;
        loop {
            let proof = Self::read(server)?;
            if proof.counted >= requests && proof.logged + proof.dropped >= requests {
                return proof.within_limit();
            }
            if Instant::now() > end {
                return Err(Wanting::error(format!(
                    "Covet answered at least {requests} requests but counted {} and logged {} (dropped {}); something is \
                     switched off",
                    proof.counted, proof.logged, proof.dropped
                )));
            }
            interrupt.sleep(Duration::from_millis(250))?;
        }
    }

    fn read(server: &Server) -> anyhow::Result<Self> {
        let answer = Connection::open(server.operator_address)
            .and_then(|mut connection| connection.get("/metrics"))
            .context("reading Covet's /metrics")?;
        let metrics = String::from_utf8_lossy(&answer.body);
        Ok(Self {
            counted: sum(&metrics, REQUESTS),
            logged: lines(server.directory()).context("counting the lines of the access log")?,
            dropped: sum(&metrics, DROPPED),
        })
    }

    fn within_limit(self) -> anyhow::Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
        let share = self.dropped as f64 / (self.logged + self.dropped).max(1) as f64;
        if share > MOST_DROPPED {
            return Err(Wanting::error(format!(
                "Covet dropped {} of {} log lines: its writer does not keep up, and the figure is not that of a service \
                 that logs",
                self.dropped,
                self.logged + self.dropped
            )));
        }
        Ok(self)
    }
}

/// The sum of a counter's series in the text format, where every value is a float.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, far below 2^52")]
fn sum(metrics: &str, name: &str) -> u64 {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then(|| value.parse::<f64>().ok()).flatten()
        })
        .sum::<f64>() as u64
}

/// Lines of the log and of what it was rotated into.
fn lines(directory: &Path) -> anyhow::Result<u64> {
    let mut count = 0;
    let mut chunk = vec![0; 1 << 20];
    for entry in directory.read_dir()? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(LOG_FILE) {
            continue;
        }
        let mut file = File::open(entry.path())?;
        loop {
            let length = file.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            count += u64::try_from(chunk[..length].iter().filter(|byte| **byte == b'\n').count())?;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::{Proof, lines, sum};
    use crate::server::working_directory;
    use crate::wanting::Wanting;

    #[test]
    fn all_series_of_a_counter_are_summed_and_no_other() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total{route=\"/b c\"} 2.0\na_total{route=\"/\"} 3\na_total_b 7\n";
        assert_eq!(sum(text, "a_total"), 5);
        assert_eq!(sum("a_total 4\n", "a_total"), 4);
        assert_eq!(sum(text, "c_total"), 0);
    }

    #[test]
    fn rotated_logs_count_and_other_files_do_not() {
        let directory = working_directory().unwrap();
        for (name, text) in [("access.log", "1\n2\n"), ("access.log.1", "3\n"), ("output.log", "no\n")] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        assert_eq!(lines(directory.path()).unwrap(), 3);
    }

    #[test]
    fn a_few_dropped_lines_are_told_and_many_are_wanting() {
        let proof = |dropped| Proof { counted: 1000, logged: 1000 - dropped, dropped }.within_limit();
        assert_eq!(proof(10).unwrap().dropped, 10);
        assert!(proof(11).unwrap_err().is::<Wanting>());
    }
}
