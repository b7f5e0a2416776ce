//! Running migration scripts on PostgreSQL, on a connection of its own.
//!
//! Each migration is one transaction, which takes an advisory lock first: of several processes one goes on, and the
//! others see what it has done when it is their turn. The lock is asked for again and again instead of waited for: who
//! waits in a statement keeps `CREATE INDEX CONCURRENTLY` from ending. A script waits only shortly for a lock on a table,
//! because everybody else waits behind it meanwhile; then it is undone and tried again.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::error::MigrationError;
use super::migrator::{Applied, Change, Direction, Limits, done, verify};
use super::source::Migration;
use crate::postgres::Postgres;
use crate::statement::{Operation, classify, split};
use crate::{Error, Result};

/// Any number; all programs of Covet use this one, in each database its own.
const LOCK: i64 = 0x0063_6f76_6574_6d69;
/// Pause between two attempts to have a lock; each time another, so that those who wait do not move in step.
const PAUSE: Duration = Duration::from_millis(60);
/// What a script says in its first comment when it cannot run in a transaction.
const NO_TRANSACTION: &str = "-- covet: no-transaction";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS covet_migrations (
    version     INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    checksum    TEXT NOT NULL,
    applied_at  TIMESTAMPTZ NOT NULL,
    duration_ms BIGINT NOT NULL
)";

/// Runs up to `count` migrations.
pub(super) async fn migrate(
    postgres: &Postgres,
    migrations: &[Migration],
    direction: Direction,
    count: usize,
    limits: &Limits,
) -> Result<Vec<Change>, MigrationError> {
    let connection = postgres.connection().await?;
    let session = Session { client: &connection, limits, started: limits.clock.monotonic() };
    let mut changes = Vec::new();
    while changes.len() < count
        && let Some(change) = session.step(migrations, direction).await?
    {
        changes.push(change);
    }
    Ok(changes)
}

/// Whether a script says that it cannot run in a transaction.
pub(super) fn needs_no_transaction(script: &str) -> bool {
    script.trim_start().starts_with(NO_TRANSACTION)
}

struct Session<'a> {
    client: &'a Client,
    limits: &'a Limits,
    started: Instant,
}

/// What became of an attempt to run a migration.
enum Attempt {
    Done(Option<Change>),
    /// Somebody else holds a lock.
    Locked(Error),
}

impl Session<'_> {
    /// One migration, if there is one to do.
    async fn step(&self, migrations: &[Migration], direction: Direction) -> Result<Option<Change>, MigrationError> {
        loop {
            let attempt = self.attempt(migrations, direction).await;
            if !matches!(attempt, Ok(Attempt::Done(_))) {
                self.run("ROLLBACK").await?;
            }
            match attempt? {
                Attempt::Done(change) => return Ok(change),
                Attempt::Locked(error) => {
                    tracing::debug!(%error, "a migration waits for a lock");
                    let waited = self.limits.clock.monotonic().saturating_duration_since(self.started);
                    if waited >= self.limits.lock_timeout {
                        return Err(MigrationError::Locked { waited });
                    }
                    tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
    }

    async fn attempt(&self, migrations: &[Migration], direction: Direction) -> Result<Attempt, MigrationError> {
        let table_lock = self.limits.table_lock_timeout.as_millis();
        self.run(&format!(
            "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
             SET LOCAL lock_timeout = {table_lock}"
        ))
        .await?;
        let locked = self.rows(&format!("SELECT pg_try_advisory_xact_lock({LOCK})")).await?;
        if locked != [[Some("t".to_owned())]] {
            return Ok(Attempt::Locked(Error::Locked));
        }
        self.run(TABLE).await?;
        let applied = self.applied().await?;
        verify(migrations, &applied)?;
        let Some(migration) = direction.next(migrations, &applied) else {
            self.run("COMMIT").await?;
            return Ok(Attempt::Done(None));
        };
        let sql = migration.text(direction);
        let started = self.limits.clock.monotonic();
        let took = || self.limits.clock.monotonic().saturating_duration_since(started);
        if needs_no_transaction(sql) {
            return self.without_transaction(migration, direction).await;
        }
        let statements = split(sql);
        if let Some(index) = statements.iter().position(|sql| classify(sql).0 == Operation::Transaction) {
            let (version, name, script) = (migration.version, migration.name.clone(), direction.script());
            return Err(MigrationError::EndsTransaction { version, name, script, statement: index + 1 });
        }
        for (index, statement) in statements.iter().enumerate() {
            match self.run(statement).await {
                Ok(()) => {}
                Err(error @ Error::Locked) => return Ok(Attempt::Locked(error)),
                Err(error) => {
                    let (version, name, script) = (migration.version, migration.name.clone(), direction.script());
                    return Err(MigrationError::Failed { version, name, script, statement: index + 1, error });
                }
            }
        }
        self.record(migration, direction, took()).await?;
        self.run("COMMIT").await?;
        Ok(Attempt::Done(Some(done(migration, direction, took()))))
    }

    /// A script whose statements each are a transaction of their own. The lock is the session's then.
    async fn without_transaction(
        &self,
        migration: &Migration,
        direction: Direction,
    ) -> Result<Attempt, MigrationError> {
        // While the transaction's lock is held, nobody else has the session's.
        self.rows(&format!("SELECT pg_advisory_lock({LOCK})")).await?;
        self.run("COMMIT").await?;
        let table_lock = self.limits.table_lock_timeout.as_millis();
        self.run(&format!("SET statement_timeout = 0; SET lock_timeout = {table_lock}")).await?;
        let started = self.limits.clock.monotonic();
        let took = || self.limits.clock.monotonic().saturating_duration_since(started);
        let mut outcome = Ok(());
        for (index, statement) in split(migration.text(direction)).into_iter().enumerate() {
            if let Err(error) = self.patiently(statement).await {
                let (version, name, script) = (migration.version, migration.name.clone(), direction.script());
                outcome = Err(MigrationError::FailedPartly { version, name, script, statement: index + 1, error });
                break;
            }
        }
        if outcome.is_ok() {
            outcome = self.record(migration, direction, took()).await.map_err(Into::into);
        }
        self.rows(&format!("SELECT pg_advisory_unlock({LOCK})")).await?;
        outcome.map(|()| Attempt::Done(Some(done(migration, direction, took()))))
    }

    /// Runs a statement, again and again while somebody else holds a lock that it needs.
    async fn patiently(&self, sql: &str) -> Result<()> {
        loop {
            let outcome = self.run(sql).await;
            let waited = self.limits.clock.monotonic().saturating_duration_since(self.started);
            if !matches!(outcome, Err(Error::Locked)) || waited >= self.limits.lock_timeout {
                return outcome;
            }
            tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    async fn applied(&self) -> Result<Vec<Applied>> {
        let sql = "SELECT version, name, checksum, (extract(epoch FROM applied_at) * 1000000)::bigint, duration_ms \
                   FROM covet_migrations ORDER BY version";
        let rows = self.rows(sql).await?;
        let wrong = || Error::Statement("covet_migrations holds what no migrator has written".into());
        let applied = rows.into_iter().map(|row| {
            let [version, name, checksum, micros, duration_ms] = row.try_into().ok()?;
            Some(Applied {
                version: version?.parse().ok()?,
                name: name?,
                checksum: checksum?,
                applied_at: Timestamp::from_microsecond(micros?.parse().ok()?).ok()?,
                duration_ms: duration_ms?.parse().ok()?,
            })
        });
        applied.collect::<Option<Vec<_>>>().ok_or_else(wrong)
    }

    async fn record(&self, migration: &Migration, direction: Direction, took: Duration) -> Result<()> {
        let Migration { version, name, checksum, .. } = migration;
        // Names and checksums consist of letters, digits and underscores.
        let sql = match direction {
            Direction::Down => format!("DELETE FROM covet_migrations WHERE version = {version}"),
            Direction::Up => format!(
                "INSERT INTO covet_migrations (version, name, checksum, applied_at, duration_ms) \
                 VALUES ({version}, '{name}', '{checksum}', '{:.6}', {})",
                self.limits.clock.now(),
                took.as_millis()
            ),
        };
        self.run(&sql).await
    }

    async fn run(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(|error| crate::postgres::translate(&error))
    }

    /// What a statement returns, as text.
    async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let answers = self.client.simple_query(sql).await.map_err(|error| crate::postgres::translate(&error))?;
        let rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|index| row.get(index).map(ToOwned::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }
}
