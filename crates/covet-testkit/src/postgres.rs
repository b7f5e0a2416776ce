//! A throw-away PostgreSQL cluster (recipe R-PG).

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::program::find_postgres_program;
use crate::server::{Server, unprivileged};
use crate::{Process, Result, Signal, Stop, TempDir, free_port};

const USER: &str = "covet";
const PASSWORD: &str = "only-for-tests";
const DATABASE: &str = "covet";
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);

/// A PostgreSQL server of its own on a free port, with the database `covet` and a user that needs a password over TCP.
///
/// Its data is written without `fsync`: it survives [`Postgres::kill9`], which the tests do, but not a power cut, which they do not.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    psql: PathBuf,
    port: u16,
    // Last: the server ends before its directory goes.
    directory: TempDir,
}

/// Settings of a [`Postgres`] before it starts.
#[derive(Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without an installed PostgreSQL; otherwise what `initdb` or the server said.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// To set what is in `postgresql.conf`.
    #[must_use]
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// The value for `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.port)
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

    /// Runs SQL with `psql` and returns what it printed: one line a row, columns separated by `|`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] with the server's message.
    pub async fn psql(&self, sql: &str) -> Result<String> {
        self.psql_in(DATABASE, sql).await
    }

    /// Stops it as an operator would (fast shutdown: open transactions are rolled back).
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`], or [`crate::Error::Deadline`] when it does not end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.server.stop_with(Signal::SIGINT).await
    }

    /// Kills it as the kernel would when memory runs out; the next start recovers from the write-ahead log.
    ///
    /// # Errors
    ///
    /// As [`Postgres::stop`].
    pub async fn kill9(&mut self) -> Result<ExitStatus> {
        self.server.stop_with(Signal::SIGKILL).await
    }

    /// Starts it again on the same port with the same data.
    ///
    /// # Errors
    ///
    /// What the server said instead of answering.
    pub async fn start_again(&mut self) -> Result<()> {
        let (psql, port, directory) = (&self.psql, self.port, &self.directory);
        self.server.start(async || run_psql(psql, directory, port, "postgres", "SELECT 1").await.map(drop)).await
    }

    /// Freezes server and backends: connections are accepted, nothing answers.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// Ends [`Postgres::pause`].
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotRunning`] while it is stopped.
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    async fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        run_psql(&self.psql, &self.directory, self.port, database, sql).await
    }
}

impl PostgresBuilder {
    /// A line of `postgresql.conf`, for example `("wal_level", "logical")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn start(self) -> Result<Postgres> {
        let initdb = find_postgres_program("initdb")?;
        let postgres = find_postgres_program("postgres")?;
        let psql = find_postgres_program("psql")?;
        let directory = TempDir::new("postgres")?;
        let port = free_port()?;
        let password = directory.write("password", PASSWORD)?;
        let data = directory.join("data");

        let mut command = unprivileged(&initdb, "postgres", directory.path())?;
        command
            .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8", "--username", USER])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", data.display()))
            .env("LC_ALL", "C.UTF-8");
        Process::run("initdb", &mut command, COMMAND_DEADLINE).await?.success("initdb")?;

        let mut command = unprivileged(&postgres, "postgres", directory.path())?;
        command.arg("-D").arg(&data).env("LC_ALL", "C.UTF-8");
        let own = [
            ("port", port.to_string()),
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", directory.path().display().to_string()),
            ("fsync", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        for (name, value) in own.chain(self.settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // SIGQUIT is PostgreSQL's immediate shutdown: unlike SIGKILL it takes the backends and the shared memory along.
        let server = Server::new("postgres", command, Stop::with(Signal::SIGQUIT, Duration::from_secs(10)));
        let mut postgres = Postgres { server, psql, port, directory };
        postgres.start_again().await?;
        postgres.psql_in("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        Ok(postgres)
    }
}

async fn run_psql(psql: &PathBuf, directory: &TempDir, port: u16, database: &str, sql: &str) -> Result<String> {
    let mut command = Command::new(psql);
    command
        .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set", "ON_ERROR_STOP=1"])
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--username", USER, "--dbname", database, "--command", sql])
        .current_dir(directory.path())
        .env("PGPASSWORD", PASSWORD)
        .env("PGCONNECT_TIMEOUT", "10");
    let finished = Process::run("psql", &mut command, COMMAND_DEADLINE).await?;
    Ok(finished.success(&format!("psql -c {sql:?}"))?.stdout.trim_end().to_owned())
}
