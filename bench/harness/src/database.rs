//! Where contestants keep what they keep: a PostgreSQL server of the run's own and a SQLite file for each measurement, both with
//! the same rows, or a Redis.
//!
//! A measurement fills or empties it anew, so that none finds what another has left behind.

mod postgres;
mod redis;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use self::postgres::Postgres;
use self::redis::Redis;
use self::sqlite::Sqlite;
use crate::wanting::Wanting;

/// Users, numbered from 1; `user-N` is the name of number N.
pub(crate) const USERS: u32 = 10_000;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Postgres,
    Sqlite,
    Redis,
}

/// Those of a run, as long as it lasts.
pub(crate) enum Databases {
    Sql { postgres: Postgres, sqlite: Sqlite },
    Redis(Redis),
}

/// That of one measurement.
pub(crate) enum Database<'a> {
    Postgres(&'a Postgres),
    /// The server's working directory has the file.
    Sqlite(&'a Sqlite, PathBuf),
    Redis(&'a Redis),
}

impl Databases {
    /// Starts PostgreSQL, bound to a core, and makes the SQLite file that is copied later.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub(crate) fn of_sql(core: Option<usize>) -> anyhow::Result<Self> {
        Ok(Self::Sql { postgres: Postgres::start(core)?, sqlite: Sqlite::make()? })
    }

    /// Starts Redis, bound to a core.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub(crate) fn of_redis(core: Option<usize>) -> anyhow::Result<Self> {
        Ok(Self::Redis(Redis::start(core)?))
    }

    /// The variable that tells a contestant where it is, with its value.
    pub(crate) fn variable(&self, kind: Kind) -> Option<(String, String)> {
        let (name, url) = match (self, kind) {
            (Self::Sql { postgres, .. }, Kind::Postgres) => ("DATABASE_URL", postgres.url()),
            (Self::Sql { .. }, Kind::Sqlite) => ("DATABASE_URL", format!("sqlite://{{directory}}/{}", sqlite::FILE)),
            (Self::Redis(redis), Kind::Redis) => ("REDIS_URL", redis.url()),
            _ => return None,
        };
        Some((name.to_owned(), url))
    }

    /// That of a server that works in `directory`.
    pub(crate) fn of(&self, kind: Kind, directory: &TempDir) -> Option<Database<'_>> {
        match (self, kind) {
            (Self::Sql { postgres, .. }, Kind::Postgres) => Some(Database::Postgres(postgres)),
            (Self::Sql { sqlite, .. }, Kind::Sqlite) => {
                Some(Database::Sqlite(sqlite, directory.path().join(sqlite::FILE)))
            }
            (Self::Redis(redis), Kind::Redis) => Some(Database::Redis(redis)),
            _ => None,
        }
    }

    /// Names and versions, for under a table.
    pub(crate) fn versions(&self) -> String {
        match self {
            Self::Sql { postgres, .. } => format!("PostgreSQL {}, SQLite {}", postgres.version(), rusqlite::version()),
            Self::Redis(redis) => format!("Redis {}", redis.version()),
        }
    }
}

impl Database<'_> {
    /// Puts the rows there, and nothing else; empties Redis.
    ///
    /// # Errors
    /// It refuses.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(postgres) => postgres.fill(),
            Self::Sqlite(sqlite, file) => sqlite.copy_to(file),
            Self::Redis(redis) => redis.clear(),
        }
    }

    /// CPU time of its processes; `None` of SQLite, which runs in the server's.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Option<Duration>> {
        match self {
            Self::Postgres(postgres) => postgres.cpu_time().map(Some),
            Self::Redis(redis) => redis.cpu_time().map(Some),
            Self::Sqlite(..) => Ok(None),
        }
    }

    /// Whether as many visits have been counted as were answered.
    ///
    /// # Errors
    /// [`Wanting`] when some are missing.
    pub(crate) fn check_visits(&self, answered: u64) -> anyhow::Result<()> {
        let counted = match self {
            Self::Postgres(postgres) => postgres.visits()?,
            Self::Sqlite(_, file) => sqlite::visits(file)?,
            Self::Redis(_) => return Ok(()),
        };
        // More: those that wrk did not wait for any longer.
        if counted >= answered {
            return Ok(());
        }
        Err(Wanting::error(format!("{answered} visits were answered, and the database has counted {counted}")))
    }
}
