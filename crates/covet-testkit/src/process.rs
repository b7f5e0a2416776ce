//! A child process whose output is kept and which cannot outlive the test.
//!
//! Not for servers with their own ways of starting and stopping: [`crate::Service`], [`crate::Postgres`] and the others stand on this.

mod capture;

use std::fmt::Debug;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::Instant;

use self::capture::{Capture, Source};
use crate::{Error, Result, undertaker, wait_until};

pub use nix::sys::signal::Signal;

/// How long the pipes may take to run dry after the process has ended.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(2);
/// How many lines of output an error shows.
const SHOWN_LINES: usize = 40;

/// How a process is ended when its value is dropped.
#[derive(Debug, Clone, Copy)]
pub struct Stop {
    signal: Signal,
    patience: Duration,
}

impl Stop {
    /// SIGKILL at once: for programs without children that leave nothing outside their directory.
    pub const KILL: Self = Self { signal: Signal::SIGKILL, patience: Duration::ZERO };

    /// `signal`, and SIGKILL when the process still runs after `patience`: for programs that have children or clean up after themselves.
    #[must_use]
    pub const fn with(signal: Signal, patience: Duration) -> Self {
        Self { signal, patience }
    }
}

/// What a command that ran to its end left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; `None` after a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Both streams, for searching and for the message of an assertion.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Itself, when the exit code is 0.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] with `command` and the output, otherwise.
    pub fn success(self, command: &str) -> Result<Self> {
        if self.status.success() {
            return Ok(self);
        }
        Err(Error::Command { command: command.to_owned(), status: self.status, output: self.output() })
    }
}

/// A running child process: its output is read and kept, and it ends with this value.
///
/// It is ended by its process id, also when a panic unwinds past it, and by an undertaker process when the test process is killed.
/// The last 100 000 lines of its output are kept.
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
    capture: Arc<Capture>,
    stop: Stop,
}

impl Process {
    /// Starts `command` with no standard input and both outputs captured; `stop` says how it ends when the value is dropped.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when the program cannot be executed.
    pub fn spawn(name: impl Into<String>, command: &mut Command, stop: Stop) -> Result<Self> {
        let name = name.into();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(Error::io(format!("start {name} ({})", command.get_program().display())))?;
        let pid = child.id();
        undertaker::process_started(pid, stop.signal);
        let capture = Arc::new(Capture::default());
        if let Some(stdout) = child.stdout.take() {
            capture.read_from(Source::Stdout, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            capture.read_from(Source::Stderr, stderr);
        }
        Ok(Self { name, pid, child: Mutex::new(child), capture, stop })
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when it cannot be executed, [`crate::Error::Deadline`] when it takes longer than `deadline` (it is killed then).
    pub async fn run(name: impl Into<String>, command: &mut Command, deadline: Duration) -> Result<Finished> {
        let process = Self::spawn(name, command, Stop::KILL)?;
        let status = process.wait_exit(deadline).await?;
        Ok(Finished { status, stdout: process.stdout(), stderr: process.stderr() })
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, or `None` while it runs.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        status_of(self.pid, &mut self.child())
    }

    /// Sends a signal to the process itself.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] when it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // The lock keeps the process id from being waited for, and so from being given to a stranger, between question and signal.
        let mut child = self.child();
        if status_of(self.pid, &mut child).is_some() {
            return Err(Error::NotRunning { name: self.name.clone() });
        }
        send(self.pid, signal).map_err(Error::io(format!("send {signal} to {}", self.name)))
    }

    /// Sends a signal to the process and to all its descendants, for example SIGSTOP to make a whole server hang.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] when it has ended already.
    pub fn signal_tree(&self, signal: Signal) -> Result<()> {
        // Before the signal, because the children of a process that has ended belong to somebody else; and after it, because a
        // process may have started another one until it was stopped.
        let mut family = self.descendants();
        self.signal(signal)?;
        family.extend(self.descendants());
        for pid in family {
            // A child that has just ended needs no signal.
            let _ = send(pid, signal);
        }
        Ok(())
    }

    /// Waits until the process has ended and its output is read.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Deadline`] when it still runs after `deadline`; the message shows its last lines.
    pub async fn wait_exit(&self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} (process {}) to end", self.name, self.pid);
        let status = wait_until(what, deadline, async || {
            self.status().ok_or_else(|| format!("still running; its last lines:\n{}", self.tail()))
        })
        .await?;
        // A descendant may hold the pipe open for ever; what the process itself wrote has arrived by then.
        let _ = wait_until("the end of its output", OUTPUT_PATIENCE, async || {
            if self.capture.ended() { Ok(()) } else { Err("open pipes") }
        })
        .await;
        Ok(status)
    }

    /// Waits for a line that contains `text`, on either stream, and returns it. Lines of the past count too.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Deadline`] when none came, [`crate::Error::Ended`] when the process ended without it.
    pub async fn wait_for_line(&self, text: &str, deadline: Duration) -> Result<String> {
        let what = format!("{} to print {text:?}", self.name);

        wait_until(what, deadline, async || {
            // In this order: what was printed before the end is seen.
            let status = self.status().filter(|_| self.capture.ended());
            match (self.capture.find(|line| line.contains(text)), status) {
                (Some(line), _) => Ok(Ok(line)),
                (None, Some(status)) => Ok(Err(self.ended(status, format!("it printed {text:?}")))),
                (None, None) => Err(format!("its last lines:\n{}", self.tail())),
            }
        })
        .await?
    }

    /// Every kept line of both streams, in the order of arrival.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.capture.lines(None)
    }

    /// What it wrote to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        joined(self.capture.lines(Some(Source::Stdout)))
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        joined(self.capture.lines(Some(Source::Stderr)))
    }

    /// Resident memory, in bytes.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when the process has ended.
    pub fn rss_bytes(&self) -> Result<u64> {
        Ok(self.stat()?.rss * procfs::page_size())
    }

    /// Processor time used so far, in user and kernel mode together.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when the process has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = self.stat()?;
        let hertz = procfs::ticks_per_second();
        Ok(Duration::from_millis((stat.utime + stat.stime) * 1000 / hertz))
    }

    /// The ids of its children, their children, and so on.
    #[must_use]
    pub fn descendants(&self) -> Vec<u32> {
        descendants_of(self.pid)
    }

    /// The error for a process that ended although it was needed.
    pub(crate) fn ended(&self, status: ExitStatus, awaited: impl Into<String>) -> Error {
        Error::Ended { name: self.name.clone(), status, awaited: awaited.into(), output: self.tail() }
    }

    /// Its last lines, for messages.
    pub(crate) fn tail(&self) -> String {
        let lines = self.capture.lines(None);
        joined(lines[lines.len().saturating_sub(SHOWN_LINES)..].to_vec())
    }

    fn stat(&self) -> Result<procfs::process::Stat> {
        let pid = i32::try_from(self.pid).unwrap_or(i32::MAX);
        procfs::process::Process::new(pid)
            .and_then(|process| process.stat())
            .map_err(std::io::Error::other)
            .map_err(Error::io(format!("read the state of {} (process {pid})", self.name)))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status().is_some() {
            return;
        }
        let _ = self.signal(self.stop.signal);
        // A stopped process takes no signal but SIGKILL until it goes on.
        let _ = self.signal_tree(Signal::SIGCONT);
        let asked = Instant::now();
        while asked.elapsed() < self.stop.patience {
            if self.status().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
        undertaker::process_gone(self.pid);
    }
}

impl Debug for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Process").field("name", &self.name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Asks without waiting; tells the undertaker as soon as the process id is free again.
fn status_of(pid: u32, child: &mut Child) -> Option<ExitStatus> {
    let status = match child.try_wait() {
        Ok(status) => status?,
        // Cannot be waited for any more: gone, and nobody knows how.
        Err(_) => ExitStatus::from_raw(Signal::SIGKILL as i32),
    };
    undertaker::process_gone(pid);
    Some(status)
}

/// The ids of a process's children, their children, and so on.
pub(crate) fn descendants_of(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = procfs::process::all_processes()
        .into_iter()
        .flatten()
        .filter_map(|process| process.ok()?.stat().ok())
        .filter_map(|stat| Some((u32::try_from(stat.pid).ok()?, u32::try_from(stat.ppid).ok()?)))
        .collect();
    let mut family = vec![pid];
    let mut seen = 0;
    while seen < family.len() {
        let parent = family[seen];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        seen += 1;
    }
    family.split_off(1)
}

/// Sends a signal to a process that is not necessarily a child.
pub(crate) fn send(pid: u32, signal: Signal) -> std::io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    kill(Pid::from_raw(pid), signal).map_err(Into::into)
}

fn joined(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn both_streams_are_kept_apart_and_together() {
        let finished = Process::run("sh", &mut shell("echo out; echo err >&2; exit 3"), SOON).await.unwrap();
        assert_eq!((finished.code(), &*finished.stdout, &*finished.stderr), (Some(3), "out\n", "err\n"));
        let error = finished.success("echo").unwrap_err().to_string();
        assert!(error.contains("out\nerr"), "{error}");
    }

    #[tokio::test]
    async fn a_line_is_awaited_and_a_process_that_ends_without_it_is_told_apart_from_a_slow_one() {
        let process = Process::spawn("sh", &mut shell("sleep 0.1; echo ready: 17; exec sleep 60"), Stop::KILL).unwrap();
        assert_eq!(process.wait_for_line("ready", SOON).await.unwrap(), "ready: 17");
        let slow = process.wait_for_line("never", Duration::from_millis(30)).await.unwrap_err();
        assert!(matches!(slow, Error::Deadline { .. }), "{slow}");
        let ended = Process::spawn("sh", &mut shell("echo no luck; exit 4"), Stop::KILL).unwrap();
        let ended = ended.wait_for_line("never", SOON).await.unwrap_err().to_string();
        assert!(ended.contains("exit status: 4") && ended.contains("no luck"), "{ended}");
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone_even_when_it_was_stopped_and_ignores_signals() {
        let mut command = shell("trap '' TERM; echo up; while :; do sleep 0.1; done");
        let process = Process::spawn("stubborn", &mut command, Stop::with(Signal::SIGTERM, Duration::from_millis(50)));
        let process = process.unwrap();
        process.wait_for_line("up", SOON).await.unwrap();
        process.signal_tree(Signal::SIGSTOP).unwrap();
        let pid = process.pid();
        drop(process);
        assert!(send(pid, Signal::SIGCONT).is_err(), "process {pid} still exists");
    }

    #[tokio::test]
    async fn memory_and_processor_time_are_read() {
        let process = Process::spawn("busy", &mut shell("while :; do :; done"), Stop::KILL).unwrap();
        let used = wait_until("processor time", SOON, async || match process.cpu_time() {
            Ok(time) if time > Duration::from_millis(20) => Ok(time),
            other => Err(format!("{other:?}")),
        });
        used.await.unwrap();
        let rss = process.rss_bytes().unwrap();
        assert!((100_000..100_000_000).contains(&rss), "{rss}");
    }

    #[tokio::test]
    async fn descendants_are_found_through_generations() {
        let process = Process::spawn("sh", &mut shell("sh -c 'sleep 60; :' ; :"), Stop::KILL).unwrap();
        let family = wait_until("two descendants", SOON, async || {
            let family = process.descendants();
            if family.len() == 2 { Ok(family) } else { Err(format!("{family:?}")) }
        });
        let family = family.await.unwrap();
        process.signal_tree(Signal::SIGKILL).unwrap();
        process.wait_exit(SOON).await.unwrap();
        for pid in family {
            wait_until("a killed grandchild to go", SOON, async || if is_alive(pid) { Err("alive") } else { Ok(()) })
                .await
                .unwrap();
        }
    }

    /// Not counting zombies, which only wait for their parent.
    fn is_alive(pid: u32) -> bool {
        let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat());
        stat.is_ok_and(|stat| stat.state != 'Z')
    }
}
