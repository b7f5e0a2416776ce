//! The load: one bounded run of `wrk`, reported exactly by a Lua script instead of its rounded text.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::client::Header;
use crate::interrupt::Interrupt;
use crate::route::Route;
use crate::server::pinned;

/// wrk closes within a second of its time; after this much more it is ended.
const GRACE: Duration = Duration::from_secs(10);
/// `done` runs after the load, so the script costs the requests nothing.
const SCRIPT: &str = include_str!("load.lua");
/// For routes that are asked for another number each time; the requests are made before the load.
const NUMBERS: &str = include_str!("load_numbers.lua");

/// How hard to press.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Load {
    /// wrk's threads.
    pub(crate) threads: usize,
    /// Open keep-alive connections, each with one request under way.
    pub(crate) connections: usize,
    /// How long.
    pub(crate) seconds: u64,
    /// The core wrk is bound to.
    pub(crate) core: Option<usize>,
}

/// What wrk saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) duration_us: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) connect_errors: u64,
    pub(crate) read_errors: u64,
    pub(crate) write_errors: u64,
    pub(crate) timeouts: u64,
    /// Answers above 399.
    pub(crate) status_errors: u64,
}

impl Outcome {
    /// Requests that did not end in a good answer.
    pub(crate) fn failed(&self) -> u64 {
        self.connect_errors + self.read_errors + self.write_errors + self.timeouts + self.status_errors
    }

    /// Answers per second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / (self.duration_us as f64 / 1e6)
    }
}

/// Whether `wrk` is there.
///
/// # Errors
/// It is not; the message says how to install it.
pub(crate) fn check_installed() -> anyhow::Result<()> {
    for (program, package) in [("wrk", "wrk"), ("taskset", "util-linux")] {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Err(error) = found {
            bail!(
                "{program} cannot be run ({error}). Install it: `apt-get install {package}` (Debian, Ubuntu) or \
                 `dnf install {package}` (Fedora)"
            );
        }
    }
    Ok(())
}

impl Load {
    /// Presses for the given time; never longer than that and a few seconds.
    ///
    /// # Errors
    /// wrk fails, hangs, or the user asked to stop.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        route: &Route,
        headers: &[Header<'_>],
        interrupt: &Interrupt,
    ) -> anyhow::Result<Outcome> {
        let script = tempfile::Builder::new().suffix(".lua").tempfile()?;
        let numbers = if route.numbers.is_some() { NUMBERS } else { "" };
        std::fs::write(script.path(), [SCRIPT, numbers].concat())?;
        let mut command = pinned(self.core, "wrk".as_ref());
        command
            .arg(format!("-t{}", self.threads))
            .arg(format!("-c{}", self.connections))
            .arg(format!("-d{}s", self.seconds))
            .arg("-s")
            .arg(script.path())
            .args(headers.iter().flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")]))
            .arg(format!("http://{address}{}", route.path))
            .args(numbers_of(route))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut wrk = Running(command.spawn().context("starting wrk")?);
        let status = wrk.wait(Duration::from_secs(self.seconds) + GRACE, interrupt)?;
        let mut output = String::new();
        wrk.0.stdout.take().context("wrk's output is piped")?.read_to_string(&mut output)?;
        if !status.success() {
            bail!("wrk ended with {status}: {output}");
        }
        parse(&output)
    }
}

/// What `load_numbers.lua` is told.
fn numbers_of(route: &Route) -> Vec<String> {
    let (Some(largest), Some((before, _))) = (route.numbers, route.path.rsplit_once('/')) else { return Vec::new() };
    vec!["--".to_owned(), route.method.to_owned(), format!("{before}/"), largest.to_string()]
}

fn parse(output: &str) -> anyhow::Result<Outcome> {
    let line = output.lines().find_map(|line| line.strip_prefix("covet-bench ")).context("wrk printed no summary")?;
    serde_json::from_str(line).with_context(|| format!("wrk's summary cannot be read: {line}"))
}

/// A child that is ended when nobody waits for it any more.
struct Running(Child);

impl Running {
    fn wait(&mut self, limit: Duration, interrupt: &Interrupt) -> anyhow::Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("wrk did not end within {limit:?}");
            }
            interrupt.sleep(Duration::from_millis(20))?;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is the usual case.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    const LINE: &str = r#"covet-bench {"requests":100,"duration_us":2000000,"p50_us":10.5,"p99_us":20,"connect_errors":0,"read_errors":1,"write_errors":0,"timeouts":2,"status_errors":3}"#;

    #[test]
    fn the_summary_is_found_among_wrks_own_lines() {
        let outcome = parse(&format!("Running 2s test\n{LINE}\n")).unwrap();
        assert_eq!(outcome.failed(), 6);
        assert!((outcome.requests_per_second() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn output_without_a_summary_is_an_error() {
        assert!(parse("unable to connect to 127.0.0.1:1\n").is_err());
    }
}
