//! A `redis-server` process, by itself or one of several, and `redis-cli` to ask it.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::server::Server;
use crate::{Process, Result, Signal, Stop, TempDir, find_program, free_port};

const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// Where a server is and how to sign in there.
#[derive(Debug, Clone)]
pub(super) struct Access {
    cli: PathBuf,
    pub(super) port: u16,
    /// Of the default user.
    pub(super) password: Option<String>,
    /// Whom clients sign in as, if not as the default user.
    pub(super) user: Option<(String, String)>,
    /// The authority of its certificate: it speaks TLS.
    pub(super) authority: Option<PathBuf>,
}

impl Access {
    /// A free port.
    pub(super) fn new(password: Option<String>) -> Result<Self> {
        let cli = find_program("redis-cli", "redis-tools")?;
        Ok(Self { cli, port: free_port()?, password, user: None, authority: None })
    }

    /// What stands before the host in a URL.
    pub(super) fn user_info(&self) -> String {
        match (&self.user, &self.password) {
            (Some((name, password)), _) => format!("{name}:{password}@"),
            (None, Some(password)) => format!(":{password}@"),
            (None, None) => String::new(),
        }
    }

    /// Runs one command with `redis-cli` and returns what it printed.
    pub(super) async fn cli(&self, words: &[&str]) -> Result<String> {
        // -e: an error reply is a failed command.
        let mut all = vec!["-e"];
        all.extend(words);
        self.cli_with(&all).await
    }

    /// Runs `redis-cli` with options and words.
    pub(super) async fn cli_with(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.cli);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if let Some(authority) = &self.authority {
            command.arg("--tls").arg("--cacert").arg(authority);
        }
        command.args(words);
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let finished = Process::run("redis-cli", &mut command, COMMAND_DEADLINE).await?;
        Ok(finished.success(&format!("redis-cli {}", words.join(" ")))?.stdout.trim_end().to_owned())
    }
}

/// A server without persistence, which writes what becomes of it into a configuration file of its own, as Sentinel wants.
#[derive(Debug)]
pub(super) struct Node {
    server: Server,
    access: Access,
    // Last: the server ends before its directory goes.
    _directory: TempDir,
}

impl Node {
    /// Not started yet. `lines` are of `redis.conf`; a `tls-port` among them is the only port.
    pub(super) fn new(access: Access, directory: TempDir, lines: &[(String, String)]) -> Result<Self> {
        let mut file = String::from("bind 127.0.0.1\nsave \"\"\nappendonly no\n");
        // Replicas are there at once, and what others know of them is fresh.
        file += "repl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n";
        if access.authority.is_none() {
            file += &format!("port {}\n", access.port);
        } else {
            file += "port 0\n";
        }
        if let Some(password) = &access.password {
            file += &format!("requirepass {password}\nmasterauth {password}\n");
        }
        Self::with_file(access, directory, file, lines, &[])
    }

    /// One that watches the others.
    pub(super) fn sentinel(access: Access, directory: TempDir, lines: &[(String, String)]) -> Result<Self> {
        let mut file = format!("bind 127.0.0.1\nport {}\n", access.port);
        if let Some(password) = &access.password {
            file += &format!("requirepass {password}\nsentinel sentinel-pass {password}\n");
        }
        Self::with_file(access, directory, file, lines, &["--sentinel"])
    }

    fn with_file(
        access: Access,
        directory: TempDir,
        mut file: String,
        lines: &[(String, String)],
        options: &[&str],
    ) -> Result<Self> {
        file += &format!("dir {}\n", directory.path().display());
        for (name, value) in lines {
            file += &format!("{name} {value}\n");
        }
        let file = directory.write("redis.conf", file)?;
        let mut command = Command::new(find_program("redis-server", "redis-server")?);
        command.current_dir(directory.path()).arg(file).args(options);
        // Times in its log are read.
        command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        Ok(Self { server: Server::new("redis-server", command, Stop::KILL), access, _directory: directory })
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn process(&self) -> Result<&Process> {
        self.server.process()
    }

    pub(super) fn is_running(&self) -> bool {
        self.server.process().is_ok()
    }

    pub(super) async fn start(&mut self) -> Result<()> {
        let access = &self.access;
        self.server.start(async || access.cli(&["PING"]).await.map(drop)).await
    }

    pub(super) async fn stop(&mut self) -> Result<ExitStatus> {
        self.server.stop_with(Signal::SIGTERM).await
    }

    pub(super) async fn kill9(&mut self) -> Result<ExitStatus> {
        self.server.stop_with(Signal::SIGKILL).await
    }

    pub(super) fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// Its last lines, for messages.
    pub(super) fn tail(&self) -> String {
        let said = self.server.process().map_or_else(|_| "not running".to_owned(), Process::tail);
        format!("--- port {}:\n{said}", self.access.port)
    }
}
