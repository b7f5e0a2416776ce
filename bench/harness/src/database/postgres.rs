//! A PostgreSQL server for a run, on a free port, gone when dropped or when the harness is killed.

use std::time::Duration;

use anyhow::Context as _;

use super::USERS;
use crate::process::{family_cpu_time, pin_family};

/// `fsync` is off (the testkit's default): what is compared is CPU time, not a disk. Nothing that happens by itself now and then
/// may fall into one measurement and not into another.
const SETTINGS: [(&str, &str); 2] = [("autovacuum", "off"), ("checkpoint_timeout", "1d")];

pub(crate) struct Postgres {
    server: covet_testkit::Postgres,
    runtime: tokio::runtime::Runtime,
    pid: u32,
    version: String,
}

impl Postgres {
    pub(super) fn start(core: Option<usize>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let builder = SETTINGS
            .iter()
            .fold(covet_testkit::Postgres::builder(), |builder, (name, value)| builder.setting(name, value));
        let server = runtime.block_on(builder.start()).context("starting PostgreSQL")?;
        let pid = server.process()?.pid();
        if let Some(core) = core {
            pin_family(pid, core)?;
        }
        // Half-empty pages: an update finds room beside the old row, as in a table that has been in use for a while.
        let table = "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL, visits BIGINT NOT NULL DEFAULT 0)
                     WITH (fillfactor = 50)";
        runtime.block_on(server.psql(table)).context("making the table")?;
        let version = runtime.block_on(server.psql("SHOW server_version"))?;
        Ok(Self { server, runtime, pid, version })
    }

    pub(super) fn url(&self) -> String {
        format!("{}?sslmode=disable", self.server.url())
    }

    /// As the distribution numbers it, without the distribution.
    pub(super) fn version(&self) -> &str {
        self.version.split_whitespace().next().unwrap_or("of unknown version")
    }

    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let rows = format!("INSERT INTO users SELECT id, 'user-' || id FROM generate_series(1, {USERS}) AS id");
        for sql in ["TRUNCATE users", &rows, "VACUUM ANALYZE users", "CHECKPOINT"] {
            self.psql(sql)?;
        }
        Ok(())
    }

    pub(super) fn visits(&self) -> anyhow::Result<u64> {
        self.psql("SELECT sum(visits) FROM users")?.parse().context("the sum of visits is not a number")
    }

    pub(super) fn cpu_time(&self) -> anyhow::Result<Duration> {
        family_cpu_time(self.pid)
    }

    fn psql(&self, sql: &str) -> anyhow::Result<String> {
        Ok(self.runtime.block_on(self.server.psql(sql))?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::{Postgres, USERS};

    #[test]
    fn each_measurement_finds_the_same_rows_and_the_server_goes_with_the_run() {
        let postgres = Postgres::start(Some(0)).unwrap();
        for _ in 0..2 {
            postgres.fill().unwrap();
            assert_eq!(postgres.visits().unwrap(), 0);
            postgres.psql("UPDATE users SET visits = 1").unwrap();
            assert_eq!(postgres.visits().unwrap(), u64::from(USERS));
        }
        assert_eq!(postgres.psql("SELECT name FROM users WHERE id = 42").unwrap(), "user-42");
        let pid = Pid::from_raw(postgres.pid.try_into().unwrap());
        drop(postgres);
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }

    #[test]
    fn what_a_session_burns_is_the_servers_time_also_after_its_end() {
        let postgres = Postgres::start(None).unwrap();
        let before = postgres.cpu_time().unwrap();
        // psql ends, and its session with it.
        postgres.psql("SELECT count(*) FROM generate_series(1, 3000000)").unwrap();
        let limit = std::time::Instant::now() + Duration::from_secs(20);
        while postgres.cpu_time().unwrap() - before < Duration::from_millis(100) {
            assert!(std::time::Instant::now() < limit, "the session's time is not counted");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
