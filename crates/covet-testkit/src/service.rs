//! The service under test, as its own process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::{
    Error, Finished, Process, Result, Signal, Stop, TempDir, cargo_binary, free_port, http_client, wait_until,
};

/// How long a debug build may take to become ready on a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a service without work may take to end when asked to.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How long a command of the service's command line may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

const SECRET_KEY: &str = "b1946ac92492d2347c6235b4d2611184c9f0a3c1e52b7d6f80913a4c5e6f7081";
const JWT_SECRET_KEY: &str = "591785b794601e212b260e25925636fd0a1b2c3d4e5f60718293a4b5c6d7e8f9";

/// A service on free ports of 127.0.0.1, with an empty SQLite file in a directory of its own.
///
/// It sees none of this process's environment but `PATH`, and its working directory is its own, so neither a developer's `.env` nor
/// exported variables change what is tested. Rate limits are off, since all requests of a test come from one address; with
/// `.without_env("COVET_RATE_LIMIT__ENABLED")` they are as the service has them.
#[derive(Debug)]
pub struct Service {
    command: Command,
    client: reqwest::Client,
    port: u16,
    operator_port: u16,
    process: Option<Process>,
    // Last: the process ends before its directory goes.
    directory: TempDir,
}

/// What a [`Service`] is started with.
#[derive(Debug)]
pub struct ServiceBuilder {
    binary: Option<PathBuf>,
    wrapper: Vec<String>,
    environment: BTreeMap<String, Option<String>>,
    files: Vec<(String, String)>,
}

impl Service {
    /// Starts `covet-api` with its defaults and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] when it does not build, [`crate::Error::Ended`] with what it printed when it refuses to start.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// To set variables, files or another binary.
    #[must_use]
    pub fn builder() -> ServiceBuilder {
        ServiceBuilder { binary: None, wrapper: Vec::new(), environment: BTreeMap::new(), files: Vec::new() }
    }

    /// The address of `path` (which starts with `/`) on the API's port.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The address of `path` on the operator's port.
    #[must_use]
    pub fn operator_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.operator_port)
    }

    /// The API's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The operator's port.
    #[must_use]
    pub fn operator_port(&self) -> u16 {
        self.operator_port
    }

    /// An HTTP client that follows no proxy settings and gives up after 30 s.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The directory it works in.
    #[must_use]
    pub fn directory(&self) -> &TempDir {
        &self.directory
    }

    /// The process, for its output, its signals and what it uses.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] after [`Service::stop`].
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().ok_or_else(|| Error::NotRunning { name: "the service".to_owned() })
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Http`] when the operator's port does not answer with 200.
    pub async fn metrics(&self) -> Result<String> {
        let response = self.client.get(self.operator_url("/metrics")).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }

    /// Waits until `/health/ready` answers 200.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Ended`] with what it printed, or [`crate::Error::Deadline`].
    pub async fn wait_ready(&self) -> Result<()> {
        let process = self.process()?;
        let url = self.url("/health/ready");
        wait_until("the service to be ready", READY_DEADLINE, async || {
            if let Some(status) = process.status() {
                return Ok(Err(process.ended(status, "it was ready")));
            }
            match self.client.get(&url).send().await {
                Ok(response) if response.status() == 200 => Ok(Ok(())),
                Ok(response) => Err(format!("{url} answers {}", response.status())),
                Err(error) => Err(format!("{error}; its last lines:\n{}", process.tail())),
            }
        })
        .await?
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`], or [`crate::Error::Deadline`] when it does not end within a minute.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.end_with(Signal::SIGTERM).await
    }

    /// Kills it as the kernel would when memory runs out.
    ///
    /// # Errors
    ///
    /// As [`Service::stop`].
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.end_with(Signal::SIGKILL).await
    }

    /// Starts it again with the same ports, variables and data, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`Service::start`].
    pub async fn start_again(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready().await
    }

    /// [`Service::stop`] and [`Service::start_again`]; returns how the old process ended.
    ///
    /// # Errors
    ///
    /// As those two.
    pub async fn restart(&mut self) -> Result<ExitStatus> {
        let status = self.stop().await?;
        self.start_again().await?;
        Ok(status)
    }

    /// Runs a command of the service's command line, for example `["migrate", "status"]`, with the same variables and directory.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when it cannot be executed, [`crate::Error::Deadline`] when it takes longer than a minute.
    pub async fn command(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).args(arguments).current_dir(self.directory.path()).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let name = format!("{} {}", self.command.get_program().display(), arguments.join(" "));
        Process::run(name.trim_end(), &mut command, COMMAND_DEADLINE).await
    }

    fn spawn(&mut self) -> Result<()> {
        self.process = Some(Process::spawn("the service", &mut self.command, Stop::KILL)?);
        Ok(())
    }

    async fn end_with(&mut self, signal: Signal) -> Result<ExitStatus> {
        let process = self.process()?;
        process.signal(signal)?;
        let status = process.wait_exit(STOP_DEADLINE).await?;
        self.process = None;
        Ok(status)
    }
}

impl ServiceBuilder {
    /// Another binary than `covet-api`, for example `env!("CARGO_BIN_EXE_my-service")`.
    #[must_use]
    pub fn binary(mut self, path: impl Into<PathBuf>) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Runs the binary through another program, for example `["unshare", "--pid", "--fork"]`. Signals go to that program.
    #[must_use]
    pub fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(ToString::to_string).collect();
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), Some(value.into()));
        self
    }

    /// Leaves out a variable that is set otherwise (`PORT`, `METRICS_PORT`, `HOST`, `METRICS_HOST`, `DATABASE_URL`, `SECRET_KEY`,
    /// `JWT_SECRET_KEY`, `LOG_FORMAT`, `COVET_RATE_LIMIT__ENABLED`).
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.insert(name.to_owned(), None);
        self
    }

    /// Writes a file into the working directory before the start, for example `covet.toml`.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    ///
    /// As [`Service::start`].
    pub async fn start(self) -> Result<Service> {
        let service = self.spawn()?;
        service.wait_ready().await?;
        Ok(service)
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] when it does not build, [`crate::Error::Io`] when it cannot be executed.
    pub fn spawn(self) -> Result<Service> {
        let mut service = self.prepare()?;
        service.spawn()?;
        Ok(service)
    }

    /// Everything but the start: ports, directory, variables. For [`Service::command`] without a running service.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] when it does not build, [`crate::Error::Io`] when the directory cannot be made.
    pub fn prepare(self) -> Result<Service> {
        let binary = self.binary.map_or_else(|| cargo_binary("covet-api", "covet-api"), Ok)?;
        let directory = TempDir::new("service")?;
        for (name, content) in &self.files {
            directory.write(name, content)?;
        }
        let (port, operator_port) = (free_port()?, free_port()?);
        let mut command = match self.wrapper.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command
            .current_dir(directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory.path())
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("METRICS_HOST", "127.0.0.1")
            .env("METRICS_PORT", operator_port.to_string())
            .env("DATABASE_URL", format!("sqlite://{}", directory.join("covet.db").display()))
            .env("SECRET_KEY", SECRET_KEY)
            .env("JWT_SECRET_KEY", JWT_SECRET_KEY)
            .env("LOG_FORMAT", "json")
            .env("COVET_RATE_LIMIT__ENABLED", "false");
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let client = http_client().timeout(Duration::from_secs(30)).build()?;
        Ok(Service { command, client, port, operator_port, process: None, directory })
    }
}
