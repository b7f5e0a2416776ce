//! [`Migrator`]: what is applied, what is pending, up and down.

use std::time::Duration;

use covet_core::clock::Clock;
use jiff::Timestamp;
use serde::Serialize;

use super::error::MigrationError;
use super::source::{Migration, Migrations};
use super::{postgres, sqlite};
use crate::db::Backend;
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

/// What a migration would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// The text of its script for the database in use.
    pub sql: String,
}

/// Which script of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

#[derive(Debug)]
pub(super) struct Limits {
    pub(super) clock: Clock,
    pub(super) lock_timeout: Duration,
    pub(super) table_lock_timeout: Duration,
}

impl Direction {
    /// The name of the script.
    pub(super) fn script(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// The next migration to run, if there is one. `applied` was compared with the program.
    pub(super) fn next<'a>(self, migrations: &'a [Migration], applied: &[Applied]) -> Option<&'a Migration> {
        match self {
            Self::Up => migrations.get(applied.len()),
            Self::Down => applied.len().checked_sub(1).and_then(|newest| migrations.get(newest)),
        }
    }
}

impl Migration {
    pub(super) fn text(&self, direction: Direction) -> &str {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn script(&self, direction: Direction) -> Script {
        Script { version: self.version, name: self.name.clone(), sql: self.text(direction).to_owned() }
    }
}

/// Logs a migration that was run, and tells of it.
pub(super) fn done(migration: &Migration, direction: Direction, took: Duration) -> Change {
    let name = migration.name.clone();
    tracing::info!(
        version = migration.version,
        migration = name,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "migrated {}",
        direction.script()
    );
    Change { version: migration.version, name, took }
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
        Ok(Self { db: db.clone(), migrations: migrations.list(db.dialect())? })
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
        self.migrate(Direction::Up, usize::MAX).await
    }

    /// Takes back the newest `count` migrations, newest first. Returns what was taken back.
    ///
    /// # Errors
    /// As [`up`](Self::up).
    pub async fn down(&self, count: usize) -> Result<Vec<Change>, MigrationError> {
        self.migrate(Direction::Down, count).await
    }

    /// The scripts that [`up`](Self::up) would run, in order. Changes nothing.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub async fn plan_up(&self) -> Result<Vec<Script>, MigrationError> {
        let applied = self.applied().await?;
        verify(&self.migrations, &applied)?;
        Ok(self.migrations.iter().skip(applied.len()).map(|migration| migration.script(Direction::Up)).collect())
    }

    /// The scripts that [`down`](Self::down) would run, in order. Changes nothing.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub async fn plan_down(&self, count: usize) -> Result<Vec<Script>, MigrationError> {
        let applied = self.applied().await?;
        verify(&self.migrations, &applied)?;
        let applied = self.migrations.iter().take(applied.len()).rev();
        Ok(applied.take(count).map(|migration| migration.script(Direction::Down)).collect())
    }

    async fn migrate(&self, direction: Direction, count: usize) -> Result<Vec<Change>, MigrationError> {
        let limits = self.limits();
        match self.db.backend() {
            Backend::Sqlite(sqlite) => {
                let migrations = self.migrations.clone();
                let work = move |connection: &mut rusqlite::Connection| {
                    sqlite::migrate(connection, &migrations, direction, count, &limits)
                };
                sqlite.exclusively(work).await
            }
            Backend::Postgres(postgres) => {
                postgres::migrate(postgres, &self.migrations, direction, count, &limits).await
            }
        }
    }

    fn limits(&self) -> Limits {
        let settings = self.db.settings();
        Limits {
            clock: self.db.clock().clone(),
            lock_timeout: settings.migration_lock_timeout,
            table_lock_timeout: settings.migration_table_lock_timeout,
        }
    }

    async fn applied(&self) -> Result<Vec<Applied>, MigrationError> {
        let table = match self.db.backend() {
            Backend::Sqlite(_) => {
                "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'covet_migrations')"
            }
            Backend::Postgres(_) => "SELECT to_regclass('covet_migrations') IS NOT NULL",
        };
        // Of the primary: a replica may not have what was applied a moment ago.
        if !self.db.write().one::<bool>(table, params![]).await? {
            return Ok(Vec::new());
        }
        let rows = "SELECT version, name, checksum, applied_at, duration_ms FROM covet_migrations ORDER BY version";
        Ok(self.db.write().all(rows, params![]).await?)
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
