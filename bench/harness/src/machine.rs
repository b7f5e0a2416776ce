//! Where and when a table was made: without this line no figure may be quoted.

use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, bail};
use serde::Serialize;

/// The circumstances of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// UTC, to the minute.
    date: String,
    /// Cores this process may use.
    pub(crate) cores: usize,
    cpu: String,
    kernel: String,
    /// Short commit, `-dirty` when the work tree differs from it.
    commit: String,
    /// Measured programs that are not of this commit.
    built_elsewhere: Vec<String>,
}

impl Machine {
    /// Looks around; call it before a report is written into the work tree.
    ///
    /// # Errors
    /// The number of cores is unknown.
    pub(crate) fn look() -> anyhow::Result<Self> {
        Ok(Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            cores: thread::available_parallelism().context("counting cores")?.get(),
            cpu: cpu_model(),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            commit: commit(),
            built_elsewhere: Vec::new(),
        })
    }

    /// # Errors
    /// There is one core only: a server and its load need one each.
    pub(crate) fn check_cores(&self) -> anyhow::Result<()> {
        if self.cores < 2 {
            bail!("a server and its load need a core each; this process may use {}", self.cores);
        }
        Ok(())
    }

    /// Names programs that are not of this commit.
    pub(crate) fn with_built_elsewhere(self, built_elsewhere: Vec<String>) -> Self {
        Self { built_elsewhere, ..self }
    }

    /// One line for under a table.
    pub(crate) fn line(&self) -> String {
        let not = match self.built_elsewhere.as_slice() {
            [] => String::new(),
            labels => format!(" (not {})", labels.join(", ")),
        };
        let Self { date, cores, cpu, kernel, commit, .. } = self;
        format!("{date}, {cores} cores, {cpu}, Linux {kernel}, commit {commit}{not}")
    }
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or_else(|| "unknown CPU".to_owned(), |rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (git(&["rev-parse", "--short=10", "HEAD"]), git(&["status", "--porcelain"])) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit}-dirty"),
        (None, _) => "unknown".to_owned(),
    }
}

/// The `bench/` folder this harness was built from.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
