//! Several processes of one service on one host, shown as one: whichever is scraped answers for all.
//!
//! Processes that share a directory (`PROMETHEUS_MULTIPROC_DIR`) find one another in it. Counting stays what it is, in
//! cells of each process's own threads; files and sockets are touched only when somebody scrapes:
//!
//! 1. the process that is asked writes down its own values, and asks every other one over its socket;
//! 2. each of those writes down its values and answers with them;
//! 3. the values are added up as each metric says ([`Merge`](super::Merge)), with those of processes that have ended.
//!
//! | kind of metric | living processes | processes that have ended |
//! |---|---|---|
//! | counter, histogram, summary | added up | added up |
//! | gauge | added up; or the largest, or the smallest, where the metric says so | – |
//! | of the machine (`system_*`) | that of the process asked | – |
//! | info | one of each | – |
//!
//! What a scrape shows has been written down before. So a counter never goes back when a process ends, not even when it
//! is killed: what it counted since the last scrape is lost, and was never seen. The first process to join when none
//! lives begins anew, as a process alone would.
//!
//! A process that does not answer in time (stopped, or starved of processor time) is shown with the counts that it last
//! wrote down, and counted in `metrics_collector_failures_total{collector="processes"}`.

mod directory;
mod neighbour;

use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::ids::random_bytes;

use self::directory::Directory;
use self::neighbour::{Answer, Neighbour};
use super::exposition::Sender;
use super::{Exposition, Registry};

crate::declare_metrics! {
    /// Processes of the service on this host.
    ///
    /// Only with `PROMETHEUS_MULTIPROC_DIR`.
    pub(crate) PROCESS_GROUP;

    /// Processes that answered this scrape, the one asked among them.
    gauge(own) PROCESSES = "metrics_processes" {};
}

/// Longest wait for all other processes together. They only read their memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a process cannot join the others.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The directory cannot be used.
    #[error(
        "the processes cannot show their metrics together in {directory}: {source}. PROMETHEUS_MULTIPROC_DIR needs a \
         directory on a local file system that this user may write to, with a name of at most 80 bytes"
    )]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A process's place among the others. Dropping it leaves.
#[derive(Debug)]
#[must_use]
pub struct Membership {
    shared: Arc<Shared>,
    registry: Registry,
    socket: PathBuf,
}

/// What a registry knows of the other processes.
#[derive(Debug, Clone)]
pub(super) struct Processes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: Directory,
    id: String,
    clock: Clock,
    leaving: AtomicBool,
    /// Held from reading the own values until they are written down: what is shown is never more than what is written.
    writing: Mutex<()>,
}

/// Joins the processes that share `directory`: from now on `registry` shows the values of all.
///
/// # Errors
/// When the directory cannot be made or written to.
pub fn join(registry: &Registry, directory: &Path, clock: &Clock) -> Result<Membership, JoinError> {
    let failed = |source| JoinError::Directory { directory: directory.to_owned(), source };
    let random = covet_core::hex::digits(random_bytes::<4>());
    let id = format!("{}-{random}", std::process::id());
    let directory = Directory::open(directory).map_err(failed)?;
    let (listener, socket) = directory.enter(&id).map_err(failed)?;
    let (leaving, writing) = (AtomicBool::new(false), Mutex::default());
    let shared = Arc::new(Shared { directory, id, clock: clock.clone(), leaving, writing });
    registry.declare_all(PROCESS_GROUP);
    let answering = (Arc::clone(&shared), registry.clone());
    let thread = thread::Builder::new().name("covet-metrics".to_owned());
    thread.spawn(move || answer(&answering.0, &answering.1, &listener)).map_err(failed)?;
    registry.join(Processes(Arc::clone(&shared)));
    Ok(Membership { shared, registry: registry.clone(), socket })
}

/// Answers other processes until this one leaves.
fn answer(shared: &Shared, registry: &Registry, listener: &UnixListener) {
    for stream in listener.incoming() {
        if shared.leaving.load(Relaxed) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        // Who asked may have gone; what could not be written down is not shown.
        let _ = stream.set_write_timeout(Some(PATIENCE));
        let _ = shared.write_down(|| registry.encode()).and_then(|lines| stream.write_all(lines.as_bytes()));
    }
}

impl Shared {
    /// Writes the process's values down, and returns them.
    fn write_down(&self, values: impl FnOnce() -> String) -> io::Result<String> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = values();
        self.directory.write_counts(&self.id, &lines)?;
        Ok(lines)
    }
}

impl Processes {
    /// Puts the values of all processes into `out`: the own ones by `collect`, then those of the others. Waits for them
    /// up to [`PATIENCE`].
    pub(super) fn gather(&self, out: &mut Exposition, collect: impl FnOnce(&mut Exposition)) -> Vec<String> {
        let shared = &self.0;
        let mut failures = Vec::new();
        let written = shared.write_down(|| {
            collect(out);
            out.encode()
        });
        if let Err(error) = written {
            failures.push(format!("cannot write {}: {error}", shared.directory.path().display()));
        }
        let answers = match shared.directory.others(&shared.id) {
            Ok(others) => self.ask(others),
            Err(error) => {
                failures.push(format!("cannot read {}: {error}", shared.directory.path().display()));
                Vec::new()
            }
        };
        let gone = answers.iter().filter(|(_, answer)| matches!(answer, Answer::Gone)).map(|(id, _)| id.as_str());
        let ended = match shared.directory.with_ended(gone) {
            Ok(ended) => ended,
            Err(error) => {
                failures.push(format!("cannot add up ended processes: {error}"));
                directory::Ended::default()
            }
        };
        let mut absorb = |who: &str, lines: &str, sender| {
            let absorbed = out.absorb(lines, sender);
            absorbed.unwrap_or_else(|error| failures.push(format!("process {who}: {error}")));
        };
        if let Some(lines) = ended.lines() {
            absorb("ended", lines, Sender::Ended);
        }
        let mut living = 1_u64;
        for (id, answer) in &answers {
            // One that answered and has ended since is among those that have ended.
            if ended.contains(id) {
                continue;
            }
            match answer {
                Answer::Values(lines) => {
                    living += 1;
                    absorb(id, lines, Sender::Living);
                }
                Answer::Silent(_) => absorb(id, &shared.directory.counts(id), Sender::Ended),
                Answer::Gone => {}
            }
        }
        failures.extend(answers.iter().filter_map(|(id, answer)| match answer {
            Answer::Silent(reason) => Some(format!("process {id}: {reason}")),
            _ => None,
        }));
        out.gauge(PROCESSES, &[], living);
        failures
    }

    /// Asks all at once, then reads one after the other.
    fn ask(&self, others: Vec<String>) -> Vec<(String, Answer)> {
        let shared = &self.0;
        let deadline = shared.clock.monotonic() + PATIENCE;
        let asked: Vec<_> = others
            .into_iter()
            .map(|id| {
                let neighbour = Neighbour::ask(&shared.directory.socket(&id));
                (id, neighbour)
            })
            .collect();
        let left = || deadline.saturating_duration_since(shared.clock.monotonic());
        asked.into_iter().map(|(id, neighbour)| (id, neighbour.answer(left()))).collect()
    }
}

impl Membership {
    /// Writes the last counts down and leaves: the others count them from now on.
    ///
    /// # Errors
    /// When they cannot be written. What was counted since the last scrape is lost then.
    pub fn leave(self) -> io::Result<()> {
        self.end()
    }

    fn end(&self) -> io::Result<()> {
        let Shared { leaving, .. } = &*self.shared;
        if leaving.swap(true, Relaxed) {
            return Ok(());
        }
        let written = self.shared.write_down(|| self.registry.encode()).map(drop);
        // The thread that answers wakes up, sees that it is over, and closes the socket.
        let _ = Neighbour::ask(&self.socket);
        written
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last counts of this process are lost");
        }
    }
}
