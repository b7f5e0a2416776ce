//! Proof that a peer did its work while it was fast: every request is in its counters and in its access log, and the right
//! share of them has become traces.
//!
//! A service that drops log lines under load looks cheaper than it is. What is switched off must be off, too.

use std::fs::{DirEntry, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use crate::client::Connection;
use crate::interrupt::Interrupt;
use crate::server::Server;
use crate::verification::Duties;
use crate::wanting::Wanting;

/// Where the peer logs, in its working directory; rotated files stay beside it under names that begin the same.
pub(crate) const LOG_FILE: &str = "access.log";
const DROPPED: &str = "log_lines_dropped_total";
/// Lines are handed over in batches; the last one takes a moment.
const LIMIT: Duration = Duration::from_secs(5);
/// Share of lines that may be dropped before the figure counts as bought with silence.
const MOST_DROPPED: f64 = 0.01;
/// Share of requests that become traces, as every peer is told (`peer.rs`).
const SAMPLED: f64 = 0.001;
/// Lines of a service that writes none for requests: start and end.
const OTHER_LINES: u64 = 100;

/// What a peer's own books say.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Proof {
    /// Requests counted on the operator's port.
    pub(crate) counted: u64,
    /// Lines in the log.
    pub(crate) logged: u64,
    /// Lines given up because the writer could not keep up.
    pub(crate) dropped: u64,
    /// Traces that arrived at the receiver; known when the peer has ended.
    pub(crate) traces: u64,
}

impl Proof {
    /// Waits until the books hold `requests` requests.
    ///
    /// # Errors
    /// [`Wanting`] when some are missing or more than 1 % of the lines were dropped.
    pub(crate) fn of(server: &Server, requests: u64, duties: &Duties, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let end = Instant::now() + LIMIT;
        loop {
            let proof = Self::read(server, duties.requests)?;
            let lines = if duties.access_line { proof.counted } else { 0 };
            if proof.counted >= requests && proof.logged + proof.dropped >= lines {
                return proof.within_limit(duties.access_line);
            }
            if Instant::now() > end {
                return Err(Wanting::error(format!(
                    "it answered at least {requests} requests but counted {} and logged {} (dropped {}); something is \
                     switched off",
                    proof.counted, proof.logged, proof.dropped
                )));
            }
            interrupt.sleep(Duration::from_millis(250))?;
        }
    }

    /// The proof with what the receiver of spans has got by the peer's end.
    ///
    /// # Errors
    /// [`Wanting`] when that is far from the share that was to be sampled.
    pub(crate) fn with_traces(self, traces: u64, duties: &Duties) -> anyhow::Result<Self> {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
        let (found, expected) = (traces as f64, if duties.traces { SAMPLED * self.counted as f64 } else { 0.0 });
        // Sampling is by chance: five standard deviations are one false alarm in a million.
        if (found - expected).abs() > 5.0 * expected.sqrt() {
            return Err(Wanting::error(format!(
                "{traces} traces of {} requests arrived; {expected:.0} were to be sampled",
                self.counted
            )));
        }
        Ok(Self { traces, ..self })
    }

    fn read(server: &Server, requests: &str) -> anyhow::Result<Self> {
        let answer = Connection::open(server.operator_address)
            .and_then(|mut connection| connection.get("/metrics"))
            .context("reading /metrics")?;
        let metrics = String::from_utf8_lossy(&answer.body);
        Ok(Self {
            counted: sum(&metrics, requests),
            logged: lines(server.directory()).context("counting the lines of the access log")?,
            dropped: sum(&metrics, DROPPED),
            traces: 0,
        })
    }

    fn within_limit(self, access_line: bool) -> anyhow::Result<Self> {
        if !access_line && self.logged > OTHER_LINES {
            let lines = self.logged;
            return Err(Wanting::error(format!("the access line is switched off, and {lines} lines were logged")));
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
        let share = self.dropped as f64 / (self.logged + self.dropped).max(1) as f64;
        if share > MOST_DROPPED {
            return Err(Wanting::error(format!(
                "{} of {} log lines were dropped: the writer does not keep up, and the figure is not that of a service that \
                 logs",
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

/// The lines that contain a text, while the log is still short.
///
/// # Errors
/// It cannot be read.
pub(crate) fn log_lines_with(directory: &Path, text: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files(directory)? {
        let log = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let log = String::from_utf8_lossy(&log);
        found.extend(log.lines().filter(|line| line.contains(text)).map(str::to_owned));
    }
    Ok(found)
}

/// The log and what it was rotated into.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = directory.read_dir()?.collect::<Result<Vec<_>, _>>()?;
    let is_log = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with(LOG_FILE);
    Ok(entries.iter().filter(|entry| is_log(entry)).map(DirEntry::path).collect())
}

/// How many lines the log has.
fn lines(directory: &Path) -> anyhow::Result<u64> {
    let mut count = 0;
    let mut chunk = vec![0; 1 << 20];
    for path in files(directory)? {
        let mut file = File::open(path)?;
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
    use super::{Proof, lines, log_lines_with, sum};
    use crate::server::working_directory;
    use crate::verification::Duties;
    use crate::wanting::Wanting;

    fn proof(dropped: u64) -> Proof {
        Proof { counted: 100_000, logged: 100_000 - dropped, dropped, traces: 0 }
    }

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
        assert_eq!(log_lines_with(directory.path(), "3").unwrap(), ["3"]);
        assert!(log_lines_with(directory.path(), "no").unwrap().is_empty());
    }

    #[test]
    fn a_few_dropped_lines_are_told_and_many_are_wanting() {
        assert_eq!(proof(1000).within_limit(true).unwrap().dropped, 1000);
        assert!(proof(1001).within_limit(true).unwrap_err().is::<Wanting>());
    }

    #[test]
    fn lines_of_a_service_whose_access_line_is_off_are_wanting() {
        assert!(Proof { logged: 3, ..proof(0) }.within_limit(false).is_ok());
        assert!(proof(0).within_limit(false).unwrap_err().is::<Wanting>());
    }

    #[test]
    fn the_share_of_traces_must_be_about_right() {
        let all = Duties::all("requests");
        for (traces, duties, good) in [
            (100, all, true),
            (60, all, true),
            (140, all, true),
            (0, all, false),
            (200, all, false),
            (0, Duties { traces: false, ..all }, true),
            (1, Duties { traces: false, ..all }, false),
        ] {
            assert_eq!(proof(0).with_traces(traces, &duties).is_ok(), good, "{traces} traces, {duties:?}");
        }
    }
}
