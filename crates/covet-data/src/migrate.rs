//! The schema, version by version: SQL files in the program, applied once each.
//!
//! ```text
//! migrations/
//!   0001_users/up.sql  down.sql
//!   0002_notes/up.sql  down.sql
//!   0003_search/up.sqlite.sql  up.postgres.sql  down.sql     where the databases must differ
//! ```
//!
//! Numbers have four digits and no gaps. A migration that was applied somewhere is never edited: write the next one.
//! Each runs in a transaction of its own, so a script has no `BEGIN` or `COMMIT`. On SQLite foreign keys are not
//! enforced while a script runs, so that a table can be rebuilt as SQLite's manual describes
//! (<https://www.sqlite.org/lang_altertable.html#otheralter>); they are checked before the commit. Deletes therefore do
//! not cascade in a script.
//!
//! On PostgreSQL a script waits at most `COVET_DATABASE__MIGRATION_TABLE_LOCK_TIMEOUT` at a time for a lock on a table, so
//! that it holds up nobody for longer. What cannot run in a transaction, such as `CREATE INDEX CONCURRENTLY`, stands in a
//! script whose first line is `-- covet: no-transaction`: its statements run one by one, and when one fails, those before
//! it have happened.
//!
//! Embed them with [`migrations!`](crate::migrations) and run them with a [`Migrator`]. Several processes may do so at
//! once: each migration is applied by one of them. With the feature `migrate-lint`, `Migrations::lint` finds what in the
//! scripts for PostgreSQL would hold up or break a live service.

mod error;
#[cfg(feature = "migrate-lint")]
mod lint;
mod migrator;
mod postgres;
mod source;
mod sqlite;

pub use error::MigrationError;
#[cfg(feature = "migrate-lint")]
pub use lint::Finding;
pub use migrator::{Change, Entry, Migrator, Script, State, Status};
pub use source::Migrations;
