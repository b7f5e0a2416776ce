//! One cluster for all tests of this machine that need no server of their own.
//!
//! A test runner starts every test as a process, and making a cluster takes a second or two each time. So the first
//! process that wants a [`Database`] starts a cluster that stays: a small shell watches over it, and takes it away when
//! nobody has used it for a while. Who uses it is told by file locks, which the kernel releases whatever happens.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::{COMMAND_DEADLINE, PASSWORD, USER, run_psql};
use crate::program::{find_postgres_program, find_program};
use crate::server::unprivileged;
use crate::{Error, Process, Result, free_port, wait_until};

/// Seconds without a user after which the cluster is taken away.
const KEPT_SECONDS: u32 = 20;
const START_DEADLINE: Duration = Duration::from_secs(60);

/// `$1` is the cluster's directory, `$2` the lock of those who look for one, the rest the server's command.
const WATCH: &str = r#"
directory=$1 looking=$2
shift 2
"$@" >"$directory/log" 2>&1 &
server=$!
unused=0
while kill -0 $server 2>/dev/null; do
    sleep 1
    if flock --exclusive --nonblock "$directory/users" true; then unused=$((unused + 1)); else unused=0; fi
    [ $unused -ge KEPT_SECONDS ] || continue
    # Nobody may begin to use it now.
    exec 8<"$looking"
    if flock --exclusive --nonblock 8 && flock --exclusive --nonblock "$directory/users" true; then break; fi
    exec 8<&-
    unused=0
done
kill -QUIT $server 2>/dev/null
wait $server
rm -rf -- "$directory"
"#;

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();

/// An empty database of its own, on a PostgreSQL server shared with other tests. Dropped with its value.
///
/// For what concerns the server as a whole (stopping it, its settings) start a [`crate::Postgres`].
#[derive(Debug)]
pub struct Database {
    name: String,
    cluster: &'static Cluster,
}

#[derive(Debug)]
struct Cluster {
    psql: PathBuf,
    directory: PathBuf,
    port: u16,
    /// Held as long as this process lives.
    _used: File,
}

impl Database {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// As [`crate::Postgres::start`].
    pub async fn create() -> Result<Self> {
        let cluster = CLUSTER.get_or_try_init(Cluster::find).await?;
        // Its number is not taken: databases of ended processes that were killed are still there.
        let name = format!("test_{}_{}", std::process::id(), unique());
        cluster.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0")).await?;
        Ok(Self { name, cluster })
    }

    /// The value for `DATABASE_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{}/{}", self.cluster.port, self.name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.cluster.port
    }

    /// As [`Database::psql`], through whatever listens on this port.
    pub(crate) async fn psql_at(&self, port: u16, sql: &str) -> Result<String> {
        run_psql(&self.cluster.psql, &self.cluster.directory, port, &self.name, sql).await
    }

    /// Runs SQL with `psql` and returns what it printed: one line a row, columns separated by `|`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Command`] with the server's message.
    pub async fn psql(&self, sql: &str) -> Result<String> {
        self.cluster.psql(&self.name, sql).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Cluster { psql, directory, port, .. } = self.cluster;
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let mut command = super::psql_command(psql, directory, *port, "postgres", &sql);
        // Not waited for: the server would wait for connections that this thread is just making. What could not be
        // dropped goes with the cluster.
        let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }
}

impl Cluster {
    async fn find() -> Result<Self> {
        let place = std::env::temp_dir().join(format!("covet-testkit-postgres-{}", nix::unistd::geteuid()));
        std::fs::create_dir_all(&place).map_err(Error::io(format!("create {}", place.display())))?;
        let lock = place.join("looking");
        let looking = File::create(&lock).map_err(Error::io(format!("create {}", lock.display())))?;
        // Another process may be starting the cluster: that takes seconds.
        let looking = tokio::task::spawn_blocking(move || looking.lock().map(|()| looking)).await;
        let _looking =
            looking.map_err(std::io::Error::other).flatten().map_err(Error::io("lock the shared cluster"))?;
        if let Some(found) = Self::running(&place).await {
            return Ok(found);
        }
        Self::start(&place, &lock).await
    }

    /// The cluster that another process has started, if it still answers.
    async fn running(place: &Path) -> Option<Self> {
        let told = std::fs::read_to_string(place.join("current")).ok()?;
        let (port, directory) = told.trim().split_once(' ')?;
        let found = Self::at(PathBuf::from(directory), port.parse().ok()?).ok()?;
        found.psql("postgres", "SELECT 1").await.is_ok().then_some(found)
    }

    fn at(directory: PathBuf, port: u16) -> Result<Self> {
        let users = directory.join("users");
        let used = File::open(&users).map_err(Error::io(format!("open {}", users.display())))?;
        used.lock_shared().map_err(Error::io("use the shared cluster"))?;
        Ok(Self { psql: find_postgres_program("psql")?, directory, port, _used: used })
    }

    async fn start(place: &Path, lock: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("covet-postgres-shared-").tempdir();
        let directory = directory.map_err(Error::io("create a temporary directory"))?.keep();
        let users = directory.join("users");
        File::create(&users).map_err(Error::io(format!("create {}", users.display())))?;
        let port = free_port()?;
        let mut initdb = super::initdb_command(&directory)?;
        Process::run("initdb", &mut initdb, COMMAND_DEADLINE).await?.success("initdb")?;

        let mut watch = unprivileged(&find_program("sh", "dash")?, "postgres", &directory)?;
        watch.args(["-c", &WATCH.replace("KEPT_SECONDS", &KEPT_SECONDS.to_string()), "sh"]).arg(&directory).arg(lock);
        watch.arg(find_postgres_program("postgres")?).arg("-D").arg(directory.join("data"));
        // What took long is told in the log.
        let more = [("max_connections", "300"), ("log_min_duration_statement", "1s"), ("log_lock_waits", "on")];
        let more = more.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in super::settings(&directory, port).into_iter().chain(more) {
            watch.arg("-c").arg(format!("{name}={value}"));
        }
        watch.env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It outlives this process, and whoever kills this process's group.
        watch.process_group(0).spawn().map_err(Error::io("start the shared cluster"))?;

        let started = Self::at(directory.clone(), port)?;
        wait_until("the shared cluster to answer", START_DEADLINE, async || started.psql("postgres", "SELECT 1").await)
            .await?;
        let current = place.join("current");
        std::fs::write(&current, format!("{port} {}\n", directory.display()))
            .map_err(Error::io(format!("write {}", current.display())))?;
        Ok(started)
    }

    async fn psql(&self, database: &str, sql: &str) -> Result<String> {
        run_psql(&self.psql, &self.directory, self.port, database, sql).await
    }
}

/// A number no other database of this process has.
fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
