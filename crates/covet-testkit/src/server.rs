//! What all servers have in common: a command that can be started again, and a user to run as.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::unistd::{User, chown, geteuid};

use crate::{Error, Process, Result, Signal, Stop, wait_until};

/// How long a server may take to answer for the first time, also on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a server may take to end when asked to.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A server process that can be stopped, killed, frozen and started again with the same command.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    command: Command,
    stop: Stop,
    process: Option<Process>,
}

impl Server {
    /// Not started yet. `stop` is how it ends when the value is dropped.
    pub(crate) fn new(name: &'static str, command: Command, stop: Stop) -> Self {
        Self { name, command, stop, process: None }
    }

    /// Starts it and asks `answers` until it says `Ok`.
    pub(crate) async fn start(&mut self, answers: impl AsyncFn() -> Result<()>) -> Result<()> {
        let process = Process::spawn(self.name, &mut self.command, self.stop)?;
        let started = wait_until(format!("{} to answer", self.name), START_DEADLINE, async || {
            if let Some(status) = process.status() {
                return Ok(Err(process.ended(status, "it answered")));
            }
            match answers().await {
                Ok(()) => Ok(Ok(())),
                Err(error) => Err(format!("{error}; its last lines:\n{}", process.tail())),
            }
        });
        started.await??;
        self.process = Some(process);
        Ok(())
    }

    pub(crate) fn process(&self) -> Result<&Process> {
        self.process.as_ref().ok_or_else(|| Error::NotRunning { name: self.name.to_owned() })
    }

    /// Ends it with `signal` and waits.
    pub(crate) async fn stop_with(&mut self, signal: Signal) -> Result<ExitStatus> {
        self.process()?.signal(signal)?;
        self.ended().await
    }

    /// Waits for its end, which something else has brought about.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let status = self.process()?.wait_exit(STOP_DEADLINE).await?;
        self.process = None;
        Ok(status)
    }

    /// Freezes the whole server: connections are accepted by the kernel, nothing answers.
    pub(crate) fn pause(&self) -> Result<()> {
        self.process()?.signal_tree(Signal::SIGSTOP)
    }

    /// Ends [`Self::pause`].
    pub(crate) fn resume(&self) -> Result<()> {
        self.process()?.signal_tree(Signal::SIGCONT)
    }
}

/// A command that runs as `user` (or `nobody`) when this process is root, for servers that refuse to run as root; `directory` is
/// given to that user.
pub(crate) fn unprivileged(program: &Path, user: &str, directory: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(directory);
    if !geteuid().is_root() {
        return Ok(command);
    }
    let find = |name: &str| User::from_name(name).ok().flatten();
    let Some(user) = find(user).or_else(|| find("nobody")) else {
        return Err(Error::io(format!("find the user {user} or nobody"))(std::io::ErrorKind::NotFound.into()));
    };
    chown(directory, Some(user.uid), Some(user.gid))
        .map_err(|errno| Error::io(format!("give {} to {}", directory.display(), user.name))(errno.into()))?;
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    Ok(command)
}
