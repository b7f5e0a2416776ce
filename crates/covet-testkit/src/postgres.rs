//! A throw-away PostgreSQL cluster (recipe R-PG). Its replicas: `postgres/replication.rs`; one that all tests share:
//! `postgres/shared.rs`.

mod replication;
mod shared;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::program::find_postgres_program;
use crate::server::{Server, unprivileged};
use crate::{Certificate, Process, Result, Signal, Stop, TempDir, free_port};

pub(crate) use replication::{LOG_LINE_PREFIX, ready_for_writes, url_of};
pub use shared::Database;

pub(crate) const USER: &str = "covet";
pub(crate) const PASSWORD: &str = "only-for-tests";
pub(crate) const DATABASE: &str = "covet";
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);

/// A PostgreSQL server of its own on a free port, with the database `covet` and a user that needs a password over TCP.
///
/// Its data is written without `fsync`: it survives [`Postgres::kill9`], which the tests do, but not a power cut, which they do not.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    psql: PathBuf,
    port: u16,
    /// What it was started with beside what all are; its replicas get the same.
    settings: Vec<(String, String)>,
    // Last: the server ends before its directory goes.
    directory: TempDir,
}

/// Settings of a [`Postgres`] before it starts.
#[derive(Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
    tls: Option<(PathBuf, PathBuf)>,
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
        url_of([self.port])
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
        self.server.start(async || run_psql(psql, directory.path(), port, "postgres", "SELECT 1").await.map(drop)).await
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
        run_psql(&self.psql, self.directory.path(), self.port, database, sql).await
    }
}

impl PostgresBuilder {
    /// A line of `postgresql.conf`, of its replicas too; for example `("wal_level", "logical")`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Speaks TLS with this certificate, and takes connections over TCP no other way.
    #[must_use]
    pub fn tls(mut self, certificate: &Certificate) -> Self {
        self.tls = Some((certificate.certificate_path(), certificate.key_path()));
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`].
    pub async fn start(self) -> Result<Postgres> {
        let psql = find_postgres_program("psql")?;
        let directory = TempDir::new("postgres")?;
        let port = free_port()?;
        let mut initdb = initdb_command(directory.path())?;
        Process::run("initdb", &mut initdb, COMMAND_DEADLINE).await?.success("initdb")?;

        let tls = match &self.tls {
            Some((certificate, key)) => use_tls(&directory, certificate, key)?,
            None => Vec::new(),
        };
        let settings: Vec<_> = tls.into_iter().chain(self.settings).collect();
        let server = server(directory.path(), port, &settings)?;
        let mut postgres = Postgres { server, psql, port, settings, directory };
        postgres.start_again().await?;
        postgres.psql_in("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        Ok(postgres)
    }
}

/// The server of the cluster in `directory`, with these settings beside those that every cluster has.
fn server(directory: &Path, port: u16, more: &[(String, String)]) -> Result<Server> {
    let mut command = unprivileged(&find_postgres_program("postgres")?, "postgres", directory)?;
    command.arg("-D").arg(directory.join("data")).env("LC_ALL", "C.UTF-8");
    for (name, value) in settings(directory, port).iter().chain(more) {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    // SIGQUIT is PostgreSQL's immediate shutdown: unlike SIGKILL it takes the backends and the shared memory along.
    Ok(Server::new("postgres", command, Stop::with(Signal::SIGQUIT, Duration::from_secs(10))))
}

/// What every cluster of ours is started with.
fn settings(directory: &Path, port: u16) -> Vec<(String, String)> {
    let settings = [
        ("port", port.to_string()),
        ("listen_addresses", "127.0.0.1".to_owned()),
        ("unix_socket_directories", directory.display().to_string()),
        ("fsync", "off".to_owned()),
        ("full_page_writes", "off".to_owned()),
        ("log_line_prefix", LOG_LINE_PREFIX.to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The command that makes a cluster in `directory`.
fn initdb_command(directory: &Path) -> Result<Command> {
    let password = directory.join("password");
    std::fs::write(&password, PASSWORD).map_err(crate::Error::io(format!("write {}", password.display())))?;
    let mut command = unprivileged(&find_postgres_program("initdb")?, "postgres", directory)?;
    command
        .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8", "--username", USER])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
        .arg(format!("--pwfile={}", password.display()))
        .arg(format!("--pgdata={}", directory.join("data").display()))
        .env("LC_ALL", "C.UTF-8");
    Ok(command)
}

/// Copies the certificate where the server may read it, and allows TCP with TLS only. Returns the settings.
fn use_tls(directory: &TempDir, certificate: &Path, key: &Path) -> Result<Vec<(String, String)>> {
    let data = directory.join("data");
    let io = |path: &Path| crate::Error::io(format!("write {}", path.display()));
    let mut settings = vec![("ssl".to_owned(), "on".to_owned())];
    let owner = nix::sys::stat::stat(&data).ok().map(|status| (status.st_uid, status.st_gid));
    for (setting, from, name) in [("ssl_cert_file", certificate, "server.crt"), ("ssl_key_file", key, "server.key")] {
        let to = data.join(name);
        std::fs::copy(from, &to).map_err(io(&to))?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).map_err(io(&to))?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&to, Some(user), Some(group)).map_err(io(&to))?;
        }
        settings.push((setting.to_owned(), name.to_owned()));
    }
    let rules = data.join("pg_hba.conf");
    let text = "local all all trust\nhostssl all all all scram-sha-256\n";
    std::fs::write(&rules, text).map_err(io(&rules))?;
    Ok(settings)
}

fn psql_command(psql: &Path, directory: &Path, port: u16, database: &str, sql: &str) -> Command {
    let mut command = Command::new(psql);
    command
        .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set", "ON_ERROR_STOP=1"])
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .args(["--username", USER, "--dbname", database, "--command", sql])
        .current_dir(directory)
        .env("PGPASSWORD", PASSWORD)
        .env("PGCONNECT_TIMEOUT", "10");
    command
}

pub(crate) async fn run_psql(psql: &Path, directory: &Path, port: u16, database: &str, sql: &str) -> Result<String> {
    let mut command = psql_command(psql, directory, port, database, sql);
    let finished = Process::run("psql", &mut command, COMMAND_DEADLINE).await?;
    Ok(finished.success(&format!("psql -c {sql:?}"))?.stdout.trim_end().to_owned())
}
