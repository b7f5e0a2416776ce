//! A cluster's replicas: made, waited for, promoted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{COMMAND_DEADLINE, DATABASE, PASSWORD, Postgres, USER};
use crate::program::find_postgres_program;
use crate::server::unprivileged;
use crate::{Error, Process, Result, TempDir, free_port};

/// Begins each line of a server's log with the time, in seconds since 1970.
pub(crate) const LOG_LINE_PREFIX: &str = "%n [%p] ";
/// What a server says once it takes writes; as a replica it takes `read-only connections`.
const READY: &str = "database system is ready to accept connections";

impl Postgres {
    /// A replica of this server, made with `pg_basebackup` and following it by streaming replication.
    ///
    /// # Errors
    ///
    /// What `pg_basebackup` or the replica said.
    pub async fn replica(&self) -> Result<Self> {
        let backup = find_postgres_program("pg_basebackup")?;
        let directory = TempDir::new("postgres-replica")?;
        let port = free_port()?;
        let from = format!("host=127.0.0.1 port={} user={USER} password={PASSWORD}", self.port);
        let mut command = unprivileged(&backup, "postgres", directory.path())?;
        command.args(["--dbname", &from, "--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--pgdata"]);
        command.arg(directory.join("data")).env("LC_ALL", "C.UTF-8");
        Process::run("pg_basebackup", &mut command, COMMAND_DEADLINE).await?.success("pg_basebackup")?;
        let server = super::server(directory.path(), port, &self.settings)?;
        let mut replica = Self { server, psql: self.psql.clone(), port, settings: self.settings.clone(), directory };
        replica.start_again().await?;
        Ok(replica)
    }

    /// The value for `DATABASE_URL` or `DATABASE_REPLICA_URLS` that names all these servers.
    #[must_use]
    pub fn url_of(servers: &[&Self]) -> String {
        url_of(servers.iter().map(|server| server.port))
    }

    /// From now on this primary acknowledges a commit only when one of its replicas has it too.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn wait_for_replicas_at_commit(&self) -> Result<()> {
        self.psql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'").await?;
        self.psql("SELECT pg_reload_conf()").await.map(drop)
    }

    /// The replica that has received most: the one to promote. What was acknowledged by
    /// [`wait_for_replicas_at_commit`](Self::wait_for_replicas_at_commit) is there.
    ///
    /// # Errors
    ///
    /// What a server said.
    ///
    /// # Panics
    ///
    /// Without a replica.
    pub async fn furthest<'a>(replicas: &[&'a Self]) -> Result<&'a Self> {
        let mut furthest: Option<(u64, &Self)> = None;
        for replica in replicas {
            let sql = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), '0/0')";
            let received = replica.psql(sql).await?.parse().unwrap_or(0);
            if furthest.is_none_or(|(most, _)| received > most) {
                furthest = Some((received, replica));
            }
        }
        Ok(furthest.expect("there is a replica").1)
    }

    /// Makes the primary of a replica, and waits until it is one.
    ///
    /// # Errors
    ///
    /// What the server said.
    pub async fn promote(&self) -> Result<()> {
        self.psql("SELECT pg_promote(true, 60)").await.map(drop)
    }

    /// When it became a primary, by its own log.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] if it did not.
    pub async fn promoted_at(&self) -> Result<SystemTime> {
        let line = self.process()?.wait_for_line(READY, Duration::from_secs(10)).await?;
        let unreadable = || Error::io(format!("find the time in {line:?}"))(std::io::ErrorKind::InvalidData.into());
        time_of(&line).ok_or_else(unreadable)
    }
}

/// The URL of servers on these ports.
pub(crate) fn url_of(ports: impl IntoIterator<Item = u16>) -> String {
    let hosts: Vec<String> = ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("postgresql://{USER}:{PASSWORD}@{}/{DATABASE}", hosts.join(","))
}

/// When a server began to take writes, each time, by the lines of its log.
pub(crate) fn ready_for_writes(lines: &[String]) -> Vec<SystemTime> {
    lines.iter().filter(|line| line.contains(READY)).filter_map(|line| time_of(line)).collect()
}

/// The time that a line of a log begins with.
fn time_of(line: &str) -> Option<SystemTime> {
    let seconds: f64 = line.split(' ').next()?.parse().ok()?;
    Some(UNIX_EPOCH + Duration::try_from_secs_f64(seconds).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_takes_reads_is_not_ready_for_writes() {
        let lines = [
            "1732445000.100 [7] LOG:  database system is ready to accept read-only connections",
            "1732445001.250 [7] LOG:  received promote request",
            "1732445001.500 [7] LOG:  database system is ready to accept connections",
        ];
        let ready = ready_for_writes(&lines.map(str::to_owned));
        assert_eq!(ready, [UNIX_EPOCH + Duration::from_millis(1_732_445_001_500)]);
    }
}
