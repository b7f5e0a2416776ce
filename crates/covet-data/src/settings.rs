//! What an operator can set about the database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::settings::{ByteSize, ConnectionUrl, Invalid, Section as _, SettingValue, Settings, Value as _};

use crate::Error;

/// When SQLite waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Synchronous {
    /// At checkpoints. After a crash of the process nothing is lost; after a power cut the last transactions may
    /// be, and the database is whole.
    Normal,
    /// At every commit. Nothing acknowledged is lost in a power cut either.
    Full,
}

/// The database.
#[derive(Debug, Clone, Settings)]
#[settings(section = "database", validate = "check")]
pub struct DatabaseSettings {
    /// Where the data is. `sqlite://data/covet.db` is a file below the working directory,
    /// `sqlite:///var/lib/covet/covet.db` one by its full path; its folder is made when it is missing.
    #[setting(variable = "DATABASE_URL", default = "sqlite://data/covet.db")]
    pub url: ConnectionUrl,
    /// Connections kept open. SQLite: one that writes, the others read; on more than four cores let it be one more than
    /// there are cores.
    #[setting(default = "5", min = "2", max = "100")]
    pub pool_min: usize,
    /// Most connections open. SQLite opens further readers while all are busy.
    #[setting(default = "20", min = "2", max = "100")]
    pub pool_max: usize,
    /// How long a connection beyond the minimum stays open unused.
    #[setting(default = "5m", min = "1s", max = "24h")]
    pub idle_timeout: Duration,
    /// Longest wait for a connection. Later: 503.
    #[setting(default = "30s", min = "10ms", max = "10m")]
    pub acquire_timeout: Duration,
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
    /// Prepared statements each connection keeps.
    #[setting(default = "256", min = "1", max = "10000")]
    pub statement_cache: usize,
    /// Longest wait for other processes that migrate at the same time.
    #[setting(default = "60s", min = "100ms", max = "24h")]
    pub migration_lock_timeout: Duration,
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
        let url = format!("sqlite://{}", file.as_ref().display());
        let url = ConnectionUrl::parse(&url).expect("a path without control characters");
        Self { url, ..Self::defaults(Environment::Development) }
    }

    /// The SQLite file that the URL names.
    pub(crate) fn sqlite_file(&self) -> Result<PathBuf, Error> {
        file_of(&self.url).map_err(Error::Unsupported)
    }
}

fn file_of(url: &ConnectionUrl) -> Result<PathBuf, String> {
    let example = "an example that works: DATABASE_URL=sqlite://data/covet.db";
    let path = match (url.scheme(), url.expose().split_once("://")) {
        ("sqlite", Some((_, path))) => path,
        ("postgresql" | "postgres", _) => {
            return Err(format!("PostgreSQL is not in this build yet, only SQLite; {example}"));
        }
        (scheme, _) => return Err(format!("{scheme}:// is not a database that Covet knows; {example}")),
    };
    if path.contains(":memory:") || path.contains("mode=memory") {
        return Err(format!("a database in memory cannot be shared by connections; name a file; {example}"));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(format!("the URL names no file; {example}"));
    }
    if let Some((_, options)) = path.split_once('?') {
        return Err(format!("options in the URL (?{options}) are not known; use COVET_DATABASE__…; {example}"));
    }
    Ok(PathBuf::from(path))
}

fn check(settings: &DatabaseSettings, _environment: Environment) -> Vec<Invalid> {
    let mut problems = Vec::new();
    if let Err(reason) = file_of(&settings.url) {
        problems.push(Invalid::new("url", reason).example("sqlite://data/covet.db"));
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
        assert_eq!(settings.sqlite_file().unwrap(), PathBuf::from("data/covet.db"));
    }

    #[test]
    fn a_full_path_is_kept() {
        let settings = load(&[("DATABASE_URL", "sqlite:///var/lib/covet/covet.db")]).unwrap();
        assert_eq!(settings.sqlite_file().unwrap(), PathBuf::from("/var/lib/covet/covet.db"));
    }

    #[test]
    fn urls_that_cannot_work_are_refused_with_one_that_does() {
        for (url, part) in [
            ("postgresql://u:hunter2@db/covet", "PostgreSQL is not in this build yet"),
            ("mysql://db/covet", "mysql:// is not a database"),
            ("sqlite://:memory:", "in memory"),
            ("sqlite://data/covet.db?mode=ro", "mode=ro"),
            ("sqlite://data/", "names no file"),
        ] {
            let problems = load(&[("DATABASE_URL", url)]).unwrap_err();
            assert!(problems.contains(part) && problems.contains("sqlite://data/covet.db"), "{problems}");
            assert!(!problems.contains("hunter2"), "{problems}");
        }
    }

    #[test]
    fn the_maximum_is_not_below_the_minimum() {
        let problems = load(&[("COVET_DATABASE__POOL_MIN", "8"), ("COVET_DATABASE__POOL_MAX", "4")]).unwrap_err();
        assert!(problems.contains("POOL_MAX"), "{problems}");
    }
}
