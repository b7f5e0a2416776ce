//! A server under measurement: started in a directory of its own, with an empty environment, ended by its pid whatever
//! happens to the harness.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::client::Connection;
use crate::interrupt::Interrupt;

/// Time to end after SIGTERM before SIGKILL; a server under valgrind writes its counts in it.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Linux hands out ports from 32768 by default.
const PORTS: Range<u16> = 10_000..32_000;
const OUTPUT: &str = "output.log";
/// Lines of a failed server's output that are shown.
const SHOWN_LINES: usize = 15;

/// What to start. In `arguments` and `environment`, `{port}`, `{operator_port}` and `{directory}` are replaced.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The executable, absolute.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// All it gets besides `PATH`: a stray `DATABASE_URL` must not change a measurement.
    pub(crate) environment: Vec<(String, String)>,
    /// The core it is bound to.
    pub(crate) core: Option<usize>,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) operator_address: SocketAddr,
    directory: PathBuf,
    /// Just before the process was made.
    started: Instant,
}

/// The command, bound to a core when one is given. `taskset` replaces itself by the program, so the pid is the program's.
pub(crate) fn pinned(core: Option<usize>, program: &OsStr) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// A directory for a server's files, removed when dropped.
///
/// # Errors
/// The temporary directory is full or not writable.
pub(crate) fn working_directory() -> anyhow::Result<TempDir> {
    tempfile::Builder::new().prefix("covet-bench-").tempdir().context("making a working directory")
}

impl Launch {
    /// Starts it on free ports of 127.0.0.1.
    ///
    /// # Errors
    /// The program cannot be run or no port is free.
    pub(crate) fn start(&self, directory: &Path) -> anyhow::Result<Server> {
        let (address, operator_address) = free_addresses()?;
        let fill = |text: &str| {
            text.replace("{port}", &address.port().to_string())
                .replace("{operator_port}", &operator_address.port().to_string())
                .replace("{directory}", &directory.to_string_lossy())
        };
        let output = File::create(directory.join(OUTPUT)).context("making the output file")?;
        let mut command = pinned(self.core, self.program.as_os_str());
        command
            .args(self.arguments.iter().map(|argument| fill(argument)))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin")))
            .envs(self.environment.iter().map(|(name, value)| (name, fill(value))))
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        Ok(Server { child, address, operator_address, directory: directory.to_owned(), started })
    }
}

impl Server {
    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Time from the start of the process to the first 200 of `path`, looking every `interval`.
    ///
    /// # Errors
    /// The server ends, or is not ready within `limit`; the message carries the end of its output.
    pub(crate) fn until_ready(
        &mut self,
        path: &str,
        interval: Duration,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Duration> {
        loop {
            let answer = Connection::open(self.address).and_then(|mut connection| connection.get(path));
            if matches!(&answer, Ok(answer) if answer.status == 200) {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status} before it was ready. Its last lines:\n{}", self.output());
            }
            if self.started.elapsed() > limit {
                let last = match answer {
                    Ok(answer) => format!("answered {}", answer.status),
                    Err(error) => format!("gave no answer ({error:#})"),
                };
                bail!("after {limit:?}, {path} still {last}. The server's last lines:\n{}", self.output());
            }
            interrupt.sleep(interval)?;
        }
    }

    /// SIGTERM, and SIGKILL when that is not heeded; returns when the process is gone.
    ///
    /// # Errors
    /// The process cannot be signalled or waited for, or the user asked to stop.
    pub(crate) fn stop(self, interrupt: &Interrupt) -> anyhow::Result<()> {
        self.stop_within(END_LIMIT, interrupt)
    }

    fn stop_within(mut self, limit: Duration, interrupt: &Interrupt) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id().try_into()?);
        if self.child.try_wait()?.is_none() {
            kill(pid, Signal::SIGTERM).context("ending the server")?;
        }
        let end = Instant::now() + limit;
        while self.child.try_wait()?.is_none() && Instant::now() < end {
            interrupt.sleep(Duration::from_millis(5))?;
        }
        Ok(()) // Whatever is left, `drop` kills.
    }

    /// The end of what the server printed.
    fn output(&self) -> String {
        let text = std::fs::read(self.directory.join(OUTPUT)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Does nothing when the process has been waited for; a pid is never signalled after that.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Two ports that were free a moment ago.
fn free_addresses() -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let (one, other) = (free_port()?, free_port()?);
    let address = |port: &TcpListener| anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port.local_addr()?.port())));
    Ok((address(&one)?, address(&other)?))
}

/// A free port below those the kernel hands out by itself, so that no passing connection takes it before the server does.
fn free_port() -> anyhow::Result<TcpListener> {
    for _ in 0..1000 {
        let random = RandomState::new().build_hasher().finish() % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(random)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            return Ok(listener);
        }
    }
    bail!("no port between {} and {} is free", PORTS.start, PORTS.end)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::{Launch, Server, working_directory};
    use crate::interrupt::Interrupt;

    fn shell(script: &str) -> Launch {
        Launch {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("PLACE".into(), "{directory}".into())],
            core: None,
        }
    }

    fn is_gone(server: &Pid) -> bool {
        kill(*server, None) == Err(Errno::ESRCH)
    }

    fn pid(server: &Server) -> Pid {
        Pid::from_raw(server.pid().try_into().unwrap())
    }

    #[test]
    fn a_panic_ends_the_server() {
        let directory = working_directory().unwrap();
        let server = shell("exec sleep 600").start(directory.path()).unwrap();
        let pid = pid(&server);
        assert!(!is_gone(&pid));
        let panic = std::thread::spawn(move || {
            let _server = server;
            panic!("on purpose");
        });
        assert!(panic.join().is_err());
        assert!(is_gone(&pid));
    }

    #[test]
    fn a_server_that_ignores_sigterm_is_killed() {
        let directory = working_directory().unwrap();
        let mut server =
            shell("trap '' TERM; echo up > up; while :; do sleep 0.1; done").start(directory.path()).unwrap();
        let pid = pid(&server);
        while !directory.path().join("up").exists() {
            assert!(server.child.try_wait().unwrap().is_none());
        }
        server.stop_within(Duration::from_millis(200), &Interrupt::never()).unwrap();
        assert!(is_gone(&pid));
    }

    #[test]
    fn a_server_that_dies_early_is_reported_with_its_last_words() {
        let directory = working_directory().unwrap();
        let mut server = shell("echo no settings in $PLACE; exit 3").start(directory.path()).unwrap();
        let limit = Duration::from_secs(20);
        let error = server.until_ready("/", Duration::from_millis(1), limit, &Interrupt::never()).unwrap_err();
        let expected = format!("no settings in {}", directory.path().display());
        assert!(error.to_string().contains(&expected), "{error}");
    }
}
