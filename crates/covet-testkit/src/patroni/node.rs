//! A machine of the cluster: Patroni, and the PostgreSQL that it starts and stops.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::postgres::{DATABASE, LOG_LINE_PREFIX, PASSWORD, USER, ready_for_writes, run_psql};
use crate::process::{descendants_of, send};
use crate::program::{find_postgres_program, find_program};
use crate::server::{Server, unprivileged};
use crate::{Process, Result, Signal, Stop, TempDir, free_port};

const TTL_SECONDS: u32 = 20;
const LOOP_WAIT_SECONDS: u32 = 2;
const RETRY_TIMEOUT_SECONDS: u32 = 3;

/// Starts Patroni and waits. PostgreSQL is no child of Patroni, and would outlive it: this takes it along, when it is told to
/// end and when Patroni has ended. `$1` is the cluster's data, the rest Patroni's command.
const WATCH: &str = r#"
data=$1
shift
"$@" &
patroni=$!
# The process that the file names, if it still is the server of this data.
postmaster() {
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && [ "/proc/$pid/cwd" -ef "$data" ] && echo "$pid"
}
end() {
    trap '' TERM
    [ -z "$patroni" ] || kill -KILL "$patroni" 2>/dev/null
    for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        if server=$(postmaster); then
            kill -QUIT "$server" 2>/dev/null
        elif [ $turn -gt 2 ]; then
            # It may have been about to start until now.
            break
        fi
        sleep 0.1
    done
    exit
}
trap end TERM
wait $patroni
patroni=
end
"#;

/// Patroni with its PostgreSQL.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    server: Server,
    psql: PathBuf,
    port: u16,
    api_port: u16,
    // Last: the server ends before its directory goes.
    directory: TempDir,
}

impl Node {
    /// Not started yet.
    pub(super) fn new(name: &str, etcd_port: u16) -> Result<Self> {
        let patroni = find_program("patroni", "patroni")?;
        let postgres = find_postgres_program("postgres")?;
        let directory = TempDir::new("patroni")?;
        let (port, api_port) = (free_port()?, free_port()?);
        let mut configuration = configuration(port, &directory);
        configuration["name"] = name.into();
        configuration["etcd3"] = json!({ "host": format!("127.0.0.1:{etcd_port}") });
        let api = format!("127.0.0.1:{api_port}");
        configuration["restapi"] = json!({ "listen": api, "connect_address": api });
        configuration["postgresql"]["bin_dir"] = postgres.parent().map(|path| path.display().to_string()).into();
        // JSON is YAML too.
        let file = directory.write("patroni.yml", configuration.to_string())?;

        let mut command = unprivileged(&find_program("sh", "dash")?, "postgres", directory.path())?;
        command.args(["-c", WATCH, "sh"]).arg(directory.join("data")).arg(patroni).arg(file);
        command.env("LC_ALL", "C.UTF-8").env("HOME", directory.path());
        let server = Server::new("patroni", command, Stop::with(Signal::SIGTERM, Duration::from_secs(10)));
        let psql = find_postgres_program("psql")?;
        Ok(Self { name: name.to_owned(), server, psql, port, api_port, directory })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// An address of Patroni's REST API.
    pub(super) fn api(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.api_port)
    }

    /// Starts Patroni. What it makes of its PostgreSQL takes longer.
    pub(super) async fn start(&mut self, client: &reqwest::Client) -> Result<()> {
        let liveness = self.api("/liveness");
        self.server.start(async || Ok(client.get(&liveness).send().await.map(drop)?)).await
    }

    /// Kills everything that runs on it.
    pub(super) async fn kill9(&mut self) -> Result<()> {
        let mut all = self.server.process()?.descendants();
        if let Some(postmaster) = self.postmaster() {
            all.push(postmaster);
            all.extend(descendants_of(postmaster));
        }
        for pid in all {
            // What has just ended needs no signal.
            let _ = send(pid, Signal::SIGKILL);
        }
        self.server.ended().await.map(drop)
    }

    /// The main process of its PostgreSQL, if one runs.
    pub(super) fn postmaster(&self) -> Option<u32> {
        let data = self.directory.join("data").canonicalize().ok()?;
        let file = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = file.lines().next()?.parse().ok()?;
        // The file of a server that was killed may name somebody else by now.
        let works_there = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data);
        works_there.then_some(pid)
    }

    pub(super) async fn make_database(&self) -> Result<()> {
        self.psql_in("postgres", &format!("CREATE DATABASE {DATABASE}")).await.map(drop)
    }

    pub(super) async fn psql(&self, sql: &str) -> Result<String> {
        self.psql_in(DATABASE, sql).await
    }

    async fn psql_in(&self, database: &str, sql: &str) -> Result<String> {
        run_psql(&self.psql, self.directory.path(), self.port, database, sql).await
    }

    /// When it began to take writes, each time since Patroni was started; none while it is lost.
    pub(super) fn ready_for_writes(&self) -> Vec<SystemTime> {
        self.server.process().map(|process| ready_for_writes(&process.lines())).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Its last lines, for messages.
    pub(super) fn tail(&self) -> String {
        let said = self.server.process().map_or_else(|_| "lost".to_owned(), Process::tail);
        format!("--- {}:\n{said}", self.name)
    }
}

/// All of `patroni.yml` that does not concern others.
fn configuration(port: u16, directory: &TempDir) -> Value {
    let address = format!("127.0.0.1:{port}");
    json!({
        "scope": "covet",
        "watchdog": { "mode": "off" },
        "bootstrap": {
            "dcs": {
                "ttl": TTL_SECONDS,
                "loop_wait": LOOP_WAIT_SECONDS,
                "retry_timeout": RETRY_TIMEOUT_SECONDS,
                "synchronous_mode": true,
                "postgresql": { "use_pg_rewind": true },
            },
            "initdb": [
                { "encoding": "UTF8" }, { "locale": "C.UTF-8" }, { "auth-local": "trust" },
                { "auth-host": "scram-sha-256" },
            ],
        },
        "postgresql": {
            "listen": address,
            "connect_address": address,
            "data_dir": directory.join("data"),
            "pgpass": directory.join("pgpass"),
            "authentication": {
                "superuser": { "username": USER, "password": PASSWORD },
                "replication": { "username": "replicator", "password": PASSWORD },
            },
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.1/32 scram-sha-256",
                "host replication all 127.0.0.1/32 scram-sha-256",
            ],
            "basebackup": ["no-sync", { "checkpoint": "fast" }],
            "parameters": {
                "unix_socket_directories": directory.path(),
                "fsync": "off",
                "log_line_prefix": LOG_LINE_PREFIX,
            },
        },
    })
}
