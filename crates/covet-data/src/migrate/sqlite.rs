//! Running migration scripts on SQLite, on the writer's thread.
//!
//! What is applied is read again under the lock, before each migration: another process may have been faster.

use std::time::Duration;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::{Batch, Connection, ffi};

use super::error::MigrationError;
use super::migrator::{Applied, Change, Direction, Limits, done, verify};
use super::source::Migration;
use crate::{Error, sqlite};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS covet_migrations (
    version     INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    checksum    TEXT NOT NULL,
    applied_at  TIMESTAMP NOT NULL,
    duration_ms INTEGER NOT NULL
)";

/// Runs up to `count` migrations.
pub(super) fn migrate(
    connection: &mut Connection,
    migrations: &[Migration],
    direction: Direction,
    count: usize,
    limits: &Limits,
) -> Result<Vec<Change>, MigrationError> {
    let mut changes = Vec::new();
    let mut session = Session::open(connection, limits)?;
    while changes.len() < count
        && let Some(change) = session.step(migrations, direction)?
    {
        changes.push(change);
    }
    Ok(changes)
}

/// The connection while it migrates: no foreign keys. Given back as it was, also after an error.
struct Session<'a> {
    connection: &'a mut Connection,
    limits: &'a Limits,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let guard: Option<fn(AuthContext<'_>) -> Authorization> = None;
        let restored = self.connection.authorizer(guard).and_then(|()| {
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
            self.connection.execute_batch("PRAGMA foreign_keys=ON")
        });
        if let Err(error) = restored {
            tracing::error!(%error, "foreign keys could not be switched on again after migrating");
        }
    }
}

impl<'a> Session<'a> {
    fn open(connection: &'a mut Connection, limits: &'a Limits) -> Result<Self, MigrationError> {
        connection.execute_batch("PRAGMA foreign_keys=OFF").map_err(failed)?;
        Ok(Self { connection, limits })
    }

    /// One migration, if there is one to do.
    fn step(&mut self, migrations: &[Migration], direction: Direction) -> Result<Option<Change>, MigrationError> {
        self.lock()?;
        self.connection.execute_batch(TABLE).map_err(failed)?;
        let applied = self.applied()?;
        verify(migrations, &applied)?;
        let Some(migration) = direction.next(migrations, &applied) else {
            self.connection.execute_batch("COMMIT").map_err(failed)?;
            return Ok(None);
        };
        let started = self.limits.clock.monotonic();
        self.run(migration, direction)?;
        self.check_foreign_keys(migration, direction)?;
        let took = self.limits.clock.monotonic().saturating_duration_since(started);
        self.record(migration, direction, took).map_err(failed)?;
        self.connection.execute_batch("COMMIT").map_err(failed)?;
        Ok(Some(done(migration, direction, took)))
    }

    /// Takes the write lock, which other processes' migrators take too.
    fn lock(&self) -> Result<(), MigrationError> {
        let started = self.limits.clock.monotonic();
        loop {
            // Waits for the busy timeout each time.
            match self.connection.execute_batch("BEGIN IMMEDIATE") {
                Ok(()) => return Ok(()),
                Err(rusqlite::Error::SqliteFailure(code, _)) if code.extended_code & 0xff == ffi::SQLITE_BUSY => {
                    let waited = self.limits.clock.monotonic().saturating_duration_since(started);
                    if waited >= self.limits.lock_timeout {
                        return Err(MigrationError::Locked { waited });
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn applied(&self) -> Result<Vec<Applied>, MigrationError> {
        let sql = "SELECT version, name, checksum, applied_at, duration_ms FROM covet_migrations ORDER BY version";
        sqlite::all(self.connection, sql).map_err(MigrationError::Database)
    }

    fn run(&mut self, migration: &Migration, direction: Direction) -> Result<(), MigrationError> {
        let sql = migration.text(direction);
        // A COMMIT in the script would make half of it permanent; SQLite refuses it before it runs.
        let guard = |context: AuthContext<'_>| match context.action {
            AuthAction::Transaction { .. } => Authorization::Deny,
            _ => Authorization::Allow,
        };
        self.connection.authorizer(Some(guard)).map_err(failed)?;
        let mut statement = 1;
        let mut batch = Batch::new(self.connection, sql);
        let outcome = loop {
            match batch.next().and_then(|next| next.map(|mut next| run_to_end(&mut next)).transpose()) {
                Ok(Some(())) => statement += 1,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let guard: Option<fn(AuthContext<'_>) -> Authorization> = None;
        self.connection.authorizer(guard).map_err(failed)?;
        outcome.map_err(|error| {
            let (version, name, script) = (migration.version, migration.name.clone(), direction.script());
            match error {
                rusqlite::Error::SqliteFailure(code, _) if code.extended_code == ffi::SQLITE_AUTH => {
                    MigrationError::EndsTransaction { version, name, script, statement }
                }
                error => MigrationError::Failed { version, name, script, statement, error: sqlite::translate(error) },
            }
        })
    }

    fn check_foreign_keys(&self, migration: &Migration, direction: Direction) -> Result<(), MigrationError> {
        let sql = "SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1";
        let tables: Vec<String> = sqlite::all(self.connection, sql)?;
        match tables.into_iter().next() {
            None => Ok(()),
            Some(table) => Err(MigrationError::ForeignKeys {
                version: migration.version,
                name: migration.name.clone(),
                script: direction.script(),
                table,
            }),
        }
    }

    fn record(&self, migration: &Migration, direction: Direction, took: Duration) -> rusqlite::Result<usize> {
        match direction {
            Direction::Down => {
                self.connection.execute("DELETE FROM covet_migrations WHERE version = ?1", [migration.version])
            }
            Direction::Up => self.connection.execute(
                "INSERT INTO covet_migrations (version, name, checksum, applied_at, duration_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                rusqlite::params![
                    migration.version,
                    migration.name,
                    migration.checksum,
                    format!("{:.6}", self.limits.clock.now()),
                    i64::try_from(took.as_millis()).unwrap_or(i64::MAX)
                ],
            ),
        }
    }
}

fn run_to_end(statement: &mut rusqlite::Statement<'_>) -> rusqlite::Result<()> {
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

fn failed(error: rusqlite::Error) -> MigrationError {
    let error: Error = sqlite::translate(error);
    MigrationError::Database(error)
}
