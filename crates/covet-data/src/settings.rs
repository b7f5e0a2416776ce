//! What an operator can set about the database.

use std::path::Path;
use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::settings::{ByteSize, ConnectionUrl, Invalid, Section as _, SettingValue, Settings, Value};

use crate::address::Address;
use crate::postgres::Target;

/// When SQLite waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Synchronous {
    /// At checkpoints. After a crash of the process nothing is lost; after a power cut the last transactions may
    /// be, and the database is whole.
    Normal,
    /// At every commit. Nothing acknowledged is lost in a power cut either.
    Full,
}

/// Several connection URLs, separated by commas. A comma inside of one separates its hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionUrls(Vec<ConnectionUrl>);

impl ConnectionUrls {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &ConnectionUrl> {
        self.0.iter()
    }
}

impl Value for ConnectionUrls {
    fn type_name() -> String {
        "connection URLs".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut urls: Vec<String> = Vec::new();
        for part in text.split(',').map(str::trim) {
            match urls.last_mut() {
                Some(url) if !part.contains("://") => {
                    url.push(',');
                    url.push_str(part);
                }
                _ => urls.push(part.to_owned()),
            }
        }
        urls.iter().map(|url| ConnectionUrl::parse(url)).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(ConnectionUrl::expose).collect::<Vec<_>>().join(",")
    }

    fn example() -> Option<String> {
        Some("postgresql://user@host1:5432,host2:5432/name".to_owned())
    }
}

/// The database.
#[derive(Debug, Clone, Settings)]
#[settings(section = "database", validate = "check")]
pub struct DatabaseSettings {
    /// Where the data is. `sqlite://data/covet.db` is a file below the working directory,
    /// `sqlite:///var/lib/covet/covet.db` one by its full path; its folder is made when it is missing.
    /// `postgresql://covet:password@db1:5432,db2:5432/covet?sslmode=verify-full&sslrootcert=/etc/covet/ca.pem` is
    /// PostgreSQL: of several hosts the one that takes writes is found by asking.
    #[setting(variable = "DATABASE_URL", default = "sqlite://data/covet.db")]
    pub url: ConnectionUrl,
    /// PostgreSQL: replicas to read from, as URLs separated by commas; each host is one. `db.read()` goes to them while
    /// they are fresh enough, `db.write()` and transactions go to the primary.
    #[setting(variable = "DATABASE_REPLICA_URLS", example = "postgresql://covet@db2:5432,db3:5432/covet")]
    pub replica_urls: Option<ConnectionUrls>,
    /// PostgreSQL: how far a replica may be behind. Reads do not go to one that is further behind until it has caught up.
    #[setting(default = "5s", min = "500ms", max = "1h")]
    pub replica_max_lag: Duration,
    /// Connections kept open. SQLite: one that writes, the others read; on more than four cores let it be one more than
    /// there are cores.
    #[setting(default = "5", min = "2", max = "100")]
    pub pool_min: usize,
    /// Most connections open. SQLite opens further readers while all are busy. PostgreSQL: of this instance; all
    /// instances together must leave some of the server's `max_connections`.
    #[setting(default = "20", min = "2", max = "100")]
    pub pool_max: usize,
    /// How long a connection beyond the minimum stays open unused.
    #[setting(default = "5m", min = "1s", max = "24h")]
    pub idle_timeout: Duration,
    /// Longest wait for a connection. Later: 503.
    #[setting(default = "30s", min = "10ms", max = "10m")]
    pub acquire_timeout: Duration,
    /// PostgreSQL: longest wait for one server to accept a connection, before the next host is tried.
    #[setting(default = "5s", min = "10ms", max = "10m")]
    pub connect_timeout: Duration,
    /// Statements that may wait for a connection; SQLite counts those that read and those that write apart. One
    /// more: 503.
    #[setting(default = "4096", min = "1", max = "1000000")]
    pub queue_limit: usize,
    /// Longest run of one statement. Later it is interrupted: 503.
    #[setting(default = "30s", min = "10ms", max = "24h")]
    pub statement_timeout: Duration,
    /// How long a transaction may wait for its next statement, and a stream for its reader, before it is ended.
    #[setting(default = "10s", min = "10ms", max = "1h")]
    pub transaction_idle_timeout: Duration,
    /// A statement that runs longer is logged at WARN and counted in `db_slow_queries_total`.
    #[setting(default = "1s", min = "1ms", max = "1h")]
    pub slow_query: Duration,
    /// Log the plan of a slow statement too, at most every ten minutes for each. The database is asked how it would run
    /// it, and does not run it. Literals of the statement's text are in the plan; parameters are not.
    #[setting(default = "false")]
    pub slow_query_plan: bool,
    /// Prepared statements each connection keeps.
    #[setting(default = "256", min = "1", max = "10000")]
    pub statement_cache: usize,
    /// Rows that results of cached queries may have together in memory; a result without rows counts as one. The least
    /// used go first. 0 switches the cache off.
    #[setting(default = "100000", max = "1000000000")]
    pub query_cache_rows: u64,
    /// How long the result of a cached query is kept at most, where the query does not say it. A write to its tables ends
    /// it at once.
    #[setting(default = "1h", min = "1s", max = "7d")]
    pub query_cache_ttl: Duration,
    /// Longest wait for other processes that migrate at the same time, and on PostgreSQL for locks that others hold on
    /// the tables of a script.
    #[setting(default = "60s", min = "100ms", max = "24h")]
    pub migration_lock_timeout: Duration,
    /// PostgreSQL: how long a script waits for the lock on a table at a time. Everybody else who wants that table waits
    /// behind it meanwhile. Later the script is undone, and tried again in a moment.
    #[setting(default = "2s", min = "10ms", max = "1h")]
    pub migration_table_lock_timeout: Duration,
    /// PostgreSQL: refuse to send anything in the clear over a network. Where it is on and `DATABASE_URL` says nothing,
    /// `sslmode` is `require`; to check the server's certificate too, say `verify-full`. Sockets and 127.0.0.1 are
    /// exempt.
    #[setting(default = "false", default_outside_development = "true")]
    pub require_tls: bool,
    /// PostgreSQL: the server is PgBouncer, or another pooler that gives each transaction any connection. Then no
    /// statement stays prepared and no session is set up, each statement costs more, and none runs behind another.
    #[setting(default = "false")]
    pub pgbouncer: bool,
    /// PostgreSQL: how many instances of this service use the server. If together they can open more connections than
    /// the server allows, a warning says so at start.
    #[setting(default = "1", min = "1", max = "10000")]
    pub instances: usize,
    /// SQLite: longest wait while another process writes. Later: 503.
    #[setting(default = "5s", min = "1ms", max = "10m")]
    pub busy_timeout: Duration,
    /// SQLite: when a commit waits for the disk.
    #[setting(default = "normal")]
    pub synchronous: Synchronous,
    /// SQLite: size that the write-ahead log is cut back to after a checkpoint.
    #[setting(default = "64MiB")]
    pub wal_size_limit: ByteSize,
    /// SQLite: run reads that took less than 0.2 ms last time in place instead of handing them to a database thread.
    /// Switch it off where the file lies on slow or remote storage.
    #[setting(default = "true")]
    pub quick_reads: bool,
}

impl DatabaseSettings {
    /// The defaults, for another file: what tests and small tools want.
    ///
    /// # Panics
    /// If the path holds control characters.
    #[must_use]
    pub fn sqlite(file: impl AsRef<Path>) -> Self {
        Self::at(&format!("sqlite://{}", file.as_ref().display()))
    }

    /// The defaults, for another database.
    ///
    /// # Panics
    /// If the text is no URL.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let url = ConnectionUrl::parse(url).expect("a URL");
        Self { url, ..Self::defaults(Environment::Development) }
    }
}

fn check(settings: &DatabaseSettings, _environment: Environment) -> Vec<Invalid> {
    let mut problems = Vec::new();
    let primary = match Address::parse(&settings.url) {
        Ok(Address::Sqlite(_)) => None,
        Ok(Address::Postgres(target)) => Some(target),
        Err(reason) => {
            problems.push(Invalid::new("url", reason).example("sqlite://data/covet.db"));
            None
        }
    };
    let clear = |key, target: &Target| {
        let host = target.plain_host().filter(|_| settings.require_tls)?;
        let reason = format!(
            "passwords and data would go to {host} in the clear; use sslmode=verify-full (or require), or allow it with \
             COVET_DATABASE__REQUIRE_TLS=false"
        );
        let example = "postgresql://covet@db1:5432/covet?sslmode=verify-full&sslrootcert=/etc/covet/ca.pem";
        Some(Invalid::new(key, reason).example(example))
    };
    problems.extend(primary.as_deref().and_then(|target| clear("url", target)));
    for url in settings.replica_urls.iter().flat_map(ConnectionUrls::iter) {
        let example = "postgresql://covet@db2:5432,db3:5432/covet";
        match Address::parse(url) {
            Ok(Address::Postgres(target)) => problems.extend(clear("replica_urls", &target)),
            Ok(Address::Sqlite(_)) => {
                problems.push(Invalid::new("replica_urls", "SQLite has no replicas").example(example));
            }
            Err(reason) => problems.push(Invalid::new("replica_urls", reason).example(example)),
        }
    }
    if settings.replica_urls.is_some() && matches!(Address::parse(&settings.url), Ok(Address::Sqlite(_))) {
        problems.push(Invalid::new("replica_urls", "DATABASE_URL is SQLite, which has no replicas"));
    }
    if settings.pool_max < settings.pool_min {
        let reason = format!("it is less than the minimum, {}", settings.pool_min);
        problems.push(Invalid::new("pool_max", reason).example("20"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use covet_core::settings::{Loader, Sources};

    use super::*;

    fn load(variables: &[(&'static str, &'static str)]) -> Result<DatabaseSettings, String> {
        let mut loader = Loader::new(Sources::of(variables.iter().copied()));
        loader.section::<DatabaseSettings>();
        let loaded = loader.finish().map_err(|problems| problems.to_string())?;
        Ok(loaded.get::<DatabaseSettings>().clone())
    }

    #[test]
    fn the_defaults_are_those_of_the_specification() {
        let settings = load(&[]).unwrap();
        assert_eq!((settings.pool_min, settings.pool_max), (5, 20));
        assert_eq!(settings.acquire_timeout, Duration::from_secs(30));
        assert_eq!(settings.idle_timeout, Duration::from_secs(300));
        assert_eq!(settings.slow_query, Duration::from_secs(1));
        assert!(
            matches!(Address::parse(&settings.url), Ok(Address::Sqlite(file)) if file == Path::new("data/covet.db"))
        );
    }

    #[test]
    fn urls_that_cannot_work_are_refused_and_passwords_not_told() {
        for (url, part) in [
            ("mysql://u:hunter2@db/covet", "mysql:// is not a database"),
            ("sqlite://:memory:", "in memory"),
            ("postgresql://u:hunter2@db/covet?sslmode=maybe", "sslmode is one of"),
            ("postgresql://u:hunter2@/covet", "names no host"),
        ] {
            let problems = load(&[("DATABASE_URL", url)]).unwrap_err();
            assert!(problems.contains(part) && problems.contains("sqlite://data/covet.db"), "{problems}");
            assert!(!problems.contains("hunter2"), "{problems}");
        }
    }

    #[test]
    fn production_refuses_a_connection_in_the_clear_unless_told() {
        let production = ("COVET_ENV", "production");
        let url = |query| ("DATABASE_URL", query);
        let clear = url("postgresql://u:hunter2@db1,db2/covet?sslmode=disable");
        let problems = load(&[production, clear]).unwrap_err();
        assert!(problems.contains("db1:5432 in the clear") && problems.contains("REQUIRE_TLS=false"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
        load(&[production, clear, ("COVET_DATABASE__REQUIRE_TLS", "false")]).unwrap();
        load(&[production, url("postgresql://u@db1/covet")]).unwrap();
        load(&[production, url("postgresql://u@127.0.0.1/covet?sslmode=disable")]).unwrap();
        load(&[clear]).unwrap();
    }

    #[test]
    fn replicas_are_urls_with_one_or_several_hosts_each() {
        let urls = "postgresql://u:hunter2@db2:5432,db3/covet, postgresql://u@db4/covet";
        let settings = load(&[("DATABASE_URL", "postgresql://u@db1/covet"), ("DATABASE_REPLICA_URLS", urls)]).unwrap();
        let shown: Vec<String> =
            settings.replica_urls.iter().flat_map(ConnectionUrls::iter).map(ToString::to_string).collect();
        assert_eq!(shown, ["postgresql://u:********@db2:5432,db3/covet", "postgresql://u@db4/covet"]);
        for (database, replicas, told) in [
            ("postgresql://u@db1/covet", "sqlite://data/x.db", "SQLite has no replicas"),
            ("sqlite://data/x.db", "postgresql://u@db1/covet", "DATABASE_URL is SQLite"),
            ("postgresql://u@db1/covet", "postgresql://u:hunter2@db2/covet?sslmode=x", "sslmode is one of"),
        ] {
            let problems = load(&[("DATABASE_URL", database), ("DATABASE_REPLICA_URLS", replicas)]).unwrap_err();
            assert!(problems.contains(told) && !problems.contains("hunter2"), "{problems}");
        }
    }

    #[test]
    fn the_maximum_is_not_below_the_minimum() {
        let problems = load(&[("COVET_DATABASE__POOL_MIN", "8"), ("COVET_DATABASE__POOL_MAX", "4")]).unwrap_err();
        assert!(problems.contains("POOL_MAX"), "{problems}");
    }
}
