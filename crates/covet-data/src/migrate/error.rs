//! Why the schema cannot be brought up or down.

use std::time::Duration;

use crate::Error;

/// Why migrations cannot be read or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// A folder or file of the wrong name.
    #[error("migrations/{path}: {reason}")]
    Name {
        /// Path below `migrations`.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },

    /// A migration without a script.
    #[error(
        "migrations/{folder} has no {script}.sql (nor {script}.{dialect}.sql); write one, if only with a comment in it"
    )]
    Missing {
        /// The migration.
        folder: String,
        /// `up` or `down`.
        script: &'static str,
        /// `sqlite` or `postgres`.
        dialect: &'static str,
    },

    /// Two migrations with one number.
    #[error("migrations/{first} and migrations/{second} have the same number; give the newer one the next free number")]
    Duplicate {
        /// One.
        first: String,
        /// The other.
        second: String,
    },

    /// A number is left out.
    #[error("migrations/{before} has no predecessor {missing:04}; numbers have no gaps")]
    Gap {
        /// The number left out.
        missing: u32,
        /// The migration after it.
        before: String,
    },

    /// A migration was applied whose text was another.
    #[error(
        "{version:04}_{name} was applied with another up script than this program has; \
         put the script back as it was, and make the change a new migration"
    )]
    Changed {
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
    },

    /// A migration was applied under another name.
    #[error(
        "the database has {version:04}_{applied}, this program has {version:04}_{embedded}; \
         was a branch merged? give the newer one the next free number"
    )]
    Renamed {
        /// The number.
        version: u32,
        /// The name in the database.
        applied: String,
        /// The name in this program.
        embedded: String,
    },

    /// The database was migrated by a newer program.
    #[error(
        "the database is at migration {database:04}, this program knows {program:04}; \
         run a newer program, or migrate down with the newer one first"
    )]
    Ahead {
        /// Newest migration in the database.
        database: u32,
        /// Newest migration in this program.
        program: u32,
    },

    /// The database lacks a migration before its newest.
    #[error("the database has migration {newest:04} but not {missing:04}: somebody has edited covet_migrations")]
    Hole {
        /// The one that is not there.
        missing: u32,
        /// The newest one.
        newest: u32,
    },

    /// A script failed. Nothing of it remains.
    #[error(
        "{version:04}_{name}: statement {statement} of the {script} script failed and everything of it was undone: {error}"
    )]
    Failed {
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// `up` or `down`.
        script: &'static str,
        /// Which statement of the script, from 1.
        statement: usize,
        /// Why.
        #[source]
        error: Error,
    },

    /// A script that runs outside of a transaction failed. What is before that statement has happened.
    #[error(
        "{version:04}_{name}: statement {statement} of the {script} script failed, and what is before it has happened, \
         because the script says `-- covet: no-transaction`: {error}. Put right what it left (an index that is not valid \
         is dropped), then run it again"
    )]
    FailedPartly {
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// `up` or `down`.
        script: &'static str,
        /// Which statement of the script, from 1.
        statement: usize,
        /// Why.
        #[source]
        error: Error,
    },

    /// A script holds `BEGIN`, `COMMIT` or `ROLLBACK`. Nothing of it remains.
    #[error(
        "{version:04}_{name}: the {script} script begins or ends a transaction in statement {statement}; \
         take that out, each script runs in one already"
    )]
    EndsTransaction {
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// `up` or `down`.
        script: &'static str,
        /// Which statement of the script, from 1.
        statement: usize,
    },

    /// After a script, rows refer to rows that do not exist. Nothing of it remains.
    #[error(
        "{version:04}_{name}: after the {script} script, rows of `{table}` refer to rows that do not exist; \
         it was undone. Foreign keys do not cascade in a script: delete such rows in it"
    )]
    ForeignKeys {
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// `up` or `down`.
        script: &'static str,
        /// The first table concerned.
        table: String,
    },

    /// Another process has been writing or migrating all the time.
    #[error(
        "another process has kept the database locked for {waited:?}; \
         if it migrates for long, raise COVET_DATABASE__MIGRATION_LOCK_TIMEOUT"
    )]
    Locked {
        /// How long it was waited for.
        waited: Duration,
    },

    /// The database fails.
    #[error(transparent)]
    Database(#[from] Error),
}
