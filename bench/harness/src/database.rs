//! The databases of a run: a PostgreSQL server of its own, and a SQLite file for each measurement, both with the same rows.
//!
//! A measurement fills its database anew, so that none finds what another has left behind.

mod postgres;
mod sqlite;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;

use self::postgres::Postgres;
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
}

/// Both, as long as the run lasts.
pub(crate) struct Databases {
    postgres: Postgres,
    sqlite: Sqlite,
}

/// That of one measurement.
pub(crate) enum Database<'a> {
    Postgres(&'a Postgres),
    /// The server's working directory has the file.
    Sqlite(&'a Sqlite, PathBuf),
}

impl Databases {
    /// Starts PostgreSQL, bound to a core, and makes the SQLite file that is copied later.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start.
    pub(crate) fn start(core: Option<usize>) -> anyhow::Result<Self> {
        Ok(Self { postgres: Postgres::start(core)?, sqlite: Sqlite::make()? })
    }

    /// What `DATABASE_URL` is set to.
    pub(crate) fn url(&self, kind: Kind) -> String {
        match kind {
            Kind::Postgres => self.postgres.url(),
            Kind::Sqlite => format!("sqlite://{{directory}}/{}", sqlite::FILE),
        }
    }

    /// The database of a server that works in `directory`.
    pub(crate) fn of(&self, kind: Kind, directory: &TempDir) -> Database<'_> {
        match kind {
            Kind::Postgres => Database::Postgres(&self.postgres),
            Kind::Sqlite => Database::Sqlite(&self.sqlite, directory.path().join(sqlite::FILE)),
        }
    }

    /// Names and versions, for under a table.
    pub(crate) fn versions(&self) -> String {
        format!("PostgreSQL {}, SQLite {}", self.postgres.version(), rusqlite::version())
    }
}

impl Database<'_> {
    /// Puts the rows there, and nothing else.
    ///
    /// # Errors
    /// The database refuses.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        match self {
            Self::Postgres(postgres) => postgres.fill(),
            Self::Sqlite(sqlite, file) => sqlite.copy_to(file),
        }
    }

    /// CPU time of the database server's processes; `None` of SQLite, which runs in the server's.
    ///
    /// # Errors
    /// The database server is gone.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Option<Duration>> {
        match self {
            Self::Postgres(postgres) => postgres.cpu_time().map(Some),
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
        };
        // More: those that wrk did not wait for any longer.
        if counted >= answered {
            return Ok(());
        }
        Err(Wanting::error(format!("{answered} visits were answered, and the database has counted {counted}")))
    }
}
