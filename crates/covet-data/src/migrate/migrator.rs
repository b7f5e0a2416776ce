//! [`Migrator`]: what is applied, what is pending, up and down.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::error::MigrationError;
use super::source::{Migration, Migrations};
use super::sqlite::{self, Limits};
use crate::{Db, params};

/// Brings the schema of a database up and down.
#[derive(Debug, Clone)]
pub struct Migrator {
    db: Db,
    migrations: Vec<Migration>,
}

/// A migration that was applied or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// How long it took.
    #[serde(rename = "duration_ms", serialize_with = "millis")]
    pub took: Duration,
}

/// Where a migration stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// It is in the database.
    Applied {
        /// Since when.
        applied_at: Timestamp,
        /// How long it took.
        #[serde(rename = "duration_ms", serialize_with = "millis")]
        took: Duration,
    },
    /// It is only in this program.
    Pending,
}

/// A line of [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
}

/// All migrations of the program and the database.
#[derive(Debug)]
pub struct Status {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Why [`Migrator::up`] would refuse to do anything, if it would.
    pub problem: Option<MigrationError>,
}

impl Status {
    /// Those that are not applied yet.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.state == State::Pending)
    }
}

/// A row of `covet_migrations`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Applied {
    pub(super) version: u32,
    pub(super) name: String,
    pub(super) checksum: String,
    pub(super) applied_at: Timestamp,
    pub(super) duration_ms: u64,
}

impl Migrator {
    /// Checks the files' names and numbers; does not touch the database.
    ///
    /// # Errors
    /// A wrong name, a number twice or left out, a script that is missing.
    pub fn new(db: &Db, migrations: &Migrations) -> Result<Self, MigrationError> {
        Ok(Self { db: db.clone(), migrations: migrations.list()? })
    }

    /// What is applied and what is pending.
    ///
    /// # Errors
    /// If the database cannot be read. That it does not match this program is told in [`Status::problem`].
    pub async fn status(&self) -> Result<Status, MigrationError> {
        let applied = self.applied().await?;
        let pending = |migration: &&Migration| applied.iter().all(|applied| applied.version != migration.version);
        let mut entries: Vec<Entry> = applied.iter().map(Entry::applied).collect();
        entries.extend(self.migrations.iter().filter(pending).map(Entry::pending));
        entries.sort_by_key(|entry| entry.version);
        Ok(Status { entries, problem: verify(&self.migrations, &applied).err() })
    }

    /// How many migrations [`up`](Self::up) would apply.
    ///
    /// # Errors
    /// As [`up`](Self::up), if the database does not match this program.
    pub async fn pending(&self) -> Result<usize, MigrationError> {
        let status = self.status().await?;
        let pending = status.pending().count();
        status.problem.map_or(Ok(pending), Err)
    }

    /// Applies what is pending, oldest first, each in a transaction of its own. Waits for other processes that do the
    /// same. Returns what this call has applied.
    ///
    /// # Errors
    /// If the database does not match this program, or a script fails: those before it stay applied.
    pub async fn up(&self) -> Result<Vec<Change>, MigrationError> {
        let (migrations, limits) = (self.migrations.clone(), self.limits());
        self.db.sqlite().exclusively(move |connection| sqlite::up(connection, &migrations, &limits)).await
    }

    /// Takes back the newest `count` migrations, newest first. Returns what was taken back.
    ///
    /// # Errors
    /// As [`up`](Self::up).
    pub async fn down(&self, count: usize) -> Result<Vec<Change>, MigrationError> {
        let (migrations, limits) = (self.migrations.clone(), self.limits());
        self.db.sqlite().exclusively(move |connection| sqlite::down(connection, &migrations, count, &limits)).await
    }

    fn limits(&self) -> Limits {
        Limits { clock: self.db.clock().clone(), lock_timeout: self.db.settings().migration_lock_timeout }
    }

    async fn applied(&self) -> Result<Vec<Applied>, MigrationError> {
        let table = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'covet_migrations')";
        if !self.db.read().one::<bool>(table, params![]).await? {
            return Ok(Vec::new());
        }
        let rows = "SELECT version, name, checksum, applied_at, duration_ms FROM covet_migrations ORDER BY version";
        Ok(self.db.read().all(rows, params![]).await?)
    }
}

impl Entry {
    fn applied(applied: &Applied) -> Self {
        let took = Duration::from_millis(applied.duration_ms);
        let state = State::Applied { applied_at: applied.applied_at, took };
        Self { version: applied.version, name: applied.name.clone(), state }
    }

    fn pending(migration: &Migration) -> Self {
        Self { version: migration.version, name: migration.name.clone(), state: State::Pending }
    }
}

/// Compares the program with the database. `applied` is in order.
pub(super) fn verify(migrations: &[Migration], applied: &[Applied]) -> Result<(), MigrationError> {
    let newest = applied.last().map_or(0, |applied| applied.version);
    let program = migrations.last().map_or(0, |migration| migration.version);
    for (version, row) in (1..).zip(applied) {
        if row.version != version {
            return Err(MigrationError::Hole { missing: version, newest });
        }
        let Some(migration) = migrations.get(version as usize - 1) else {
            return Err(MigrationError::Ahead { database: newest, program });
        };
        if migration.name != row.name {
            let (applied, embedded) = (row.name.clone(), migration.name.clone());
            return Err(MigrationError::Renamed { version, applied, embedded });
        }
        if migration.checksum != row.checksum {
            return Err(MigrationError::Changed { version, name: row.name.clone() });
        }
    }
    Ok(())
}

fn millis<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}
