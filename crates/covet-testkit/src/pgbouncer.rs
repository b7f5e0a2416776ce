//! PgBouncer in front of a database.

use crate::postgres::{PASSWORD, USER};
use crate::program::find_program;
use crate::server::{Server, unprivileged};
use crate::{Database, Result, Signal, Stop, TempDir, free_port};

/// A PgBouncer on a free port that gives each transaction any of a few connections to the database.
#[derive(Debug)]
pub struct PgBouncer {
    _server: Server,
    url: String,
    // Last: the server ends before its directory goes.
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts one with this many connections to `database`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::MissingProgram`] without an installed PgBouncer; otherwise what it said.
    pub async fn in_front_of(database: &Database, connections: usize) -> Result<Self> {
        let pgbouncer = find_program("pgbouncer", "pgbouncer")?;
        let directory = TempDir::new("pgbouncer")?;
        let port = free_port()?;
        let users = directory.write("users", format!("\"{USER}\" \"{PASSWORD}\"\n"))?;
        let name = database.name();
        let file = directory.write(
            "pgbouncer.ini",
            format!(
                "[databases]\n{name} = host=127.0.0.1 port={}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = scram-sha-256\nauth_file = {}\n\
                 pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 200\n",
                database.port(),
                users.display()
            ),
        )?;
        let mut command = unprivileged(&pgbouncer, "postgres", directory.path())?;
        command.arg(file);
        let url = format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}");
        let mut server =
            Server::new("pgbouncer", command, Stop::with(Signal::SIGTERM, std::time::Duration::from_secs(5)));
        server.start(async || database.psql_at(port, "SELECT 1").await.map(drop)).await?;
        Ok(Self { _server: server, url, _directory: directory })
    }

    /// The value for `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}
