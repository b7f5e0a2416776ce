//! A throw-away Redis server (recipe R-REDIS).

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::server::Server;
use crate::{Process, Result, Signal, Stop, TempDir, find_program, free_port};

const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// A Redis server of its own on a free port, empty, without persistence.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    cli: PathBuf,
    port: u16,
    password: Option<String>,
    // Last: the server ends before its directory goes.
    _directory: TempDir,
}

/// Settings of a [`Redis`] before it starts.
#[derive(Debug, Default)]
pub struct RedisBuilder {
    password: Option<String>,
    settings: Vec<(String, String)>,
}

impl Redis {
    /// Starts a server.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without an installed Redis; otherwise what the server said.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// To set a password or lines of `redis.conf`.
    #[must_use]
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// The value for `REDIS_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}/0", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server process, for its output and its state.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn process(&self) -> Result<&Process> {
        self.server.process()
    }

    /// Runs one command with `redis-cli` and returns what it printed, for example `["GET", "key"]`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] with the server's message.
    pub async fn cli(&self, command: &[&str]) -> Result<String> {
        run_cli(&self.cli, self.port, self.password.as_deref(), command).await
    }

    /// Stops it as an operator would.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`], or [`crate::Error::Deadline`] when it does not end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.server.stop_with(Signal::SIGTERM).await
    }

    /// Kills it as the kernel would when memory runs out.
    ///
    /// # Errors
    ///
    /// As [`Redis::stop`].
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.server.stop_with(Signal::SIGKILL).await
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Errors
    ///
    /// What the server said instead of answering.
    pub async fn start_again(&mut self) -> Result<()> {
        let (cli, port, password) = (&self.cli, self.port, self.password.as_deref());
        self.server.start(async || run_cli(cli, port, password, &["PING"]).await.map(drop)).await
    }

    /// Freezes the server: connections are accepted, nothing answers.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// Ends [`Redis::pause`].
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }
}

impl RedisBuilder {
    /// Clients have to give this password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// A line of `redis.conf`, for example `("maxmemory", "10mb")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// As [`Redis::start`].
    pub async fn start(self) -> Result<Redis> {
        let program = find_program("redis-server", "redis-server")?;
        let cli = find_program("redis-cli", "redis-tools")?;
        let directory = TempDir::new("redis")?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command.current_dir(directory.path());
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(directory.path());
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        for (name, value) in &self.settings {
            command.args([format!("--{name}"), value.clone()]);
        }
        let server = Server::new("redis-server", command, Stop::KILL);
        let mut redis = Redis { server, cli, port, password: self.password, _directory: directory };
        redis.start_again().await?;
        Ok(redis)
    }
}

async fn run_cli(cli: &PathBuf, port: u16, password: Option<&str>, words: &[&str]) -> Result<String> {
    let mut command = Command::new(cli);
    // -e: an error reply is a failed command.
    command.args(["-e", "-h", "127.0.0.1", "-p", &port.to_string()]).args(words);
    if let Some(password) = password {
        command.env("REDISCLI_AUTH", password);
    }
    let finished = Process::run("redis-cli", &mut command, COMMAND_DEADLINE).await?;
    Ok(finished.success(&format!("redis-cli {}", words.join(" ")))?.stdout.trim_end().to_owned())
}
