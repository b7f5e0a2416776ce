//! What a script would hold up or break on a live PostgreSQL, found before it runs.
//!
//! squawk (<https://squawkhq.com>) reads the scripts. Here is what it is told of how a [`Migrator`](super::Migrator) runs
//! them, what it does not know, and which of its findings are taken care of already:
//!
//! - a script is one transaction, unless its first line is `-- covet: no-transaction`;
//! - the migrator sets `lock_timeout`, and no `statement_timeout` on purpose: no script has to;
//! - a `down` script takes away what its `up` has brought: that is no finding.
//!
//! Not seen: how many rows an `UPDATE` touches, and what is inside of `DO` and of functions.

mod advice;
mod script;

use std::fmt;

use serde::Serialize;

use super::error::MigrationError;
use super::source::Migrations;
use crate::Dialect;
use script::Script;

/// Something dangerous in a script, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Number of the migration.
    pub version: u32,
    /// The script: `migrations/0007_index/up.sql`.
    pub file: String,
    /// Line in it, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
    /// What was broken: a rule of squawk's (<https://squawkhq.com/docs/rules>), or `syntax-error`, `needs-no-transaction`,
    /// `ignore-without-reason`.
    pub rule: String,
    /// What happens if the script runs.
    pub danger: String,
    /// The lock that it takes, and who waits for it.
    pub lock: Option<&'static str>,
    /// What to write instead.
    pub rewrite: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, rule, danger, .. } = self;
        write!(f, "{file}:{line}:{column}: {rule}: {danger}")?;
        if let Some(lock) = self.lock {
            write!(f, "\n    lock:    {lock}")?;
        }
        if let Some(rewrite) = &self.rewrite {
            write!(f, "\n    instead: {rewrite}")?;
        }
        Ok(())
    }
}

impl Migrations {
    /// What is dangerous in the scripts that would run on PostgreSQL, `up` and `down`, in order.
    ///
    /// A test that keeps the migrations of a service clean:
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let migrations = || covet_data::Migrations::read(folder.path());
    /// let findings = migrations()?.lint()?; // migrations!().lint()?
    /// assert_eq!(findings, []);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// One finding is accepted by a comment on its line or the line before, with the reason:
    /// `-- squawk-ignore ban-drop-column -- no release since 2.4 uses it`; a rule in a whole script by
    /// `-- squawk-ignore-file RULE -- reason`. Such lines do not count in a script's checksum, so they can be put into
    /// scripts that were applied already.
    ///
    /// # Errors
    /// If a file has a wrong name or is missing.
    pub fn lint(&self) -> Result<Vec<Finding>, MigrationError> {
        let mut findings = Vec::new();
        for migration in self.list(Dialect::Postgres)? {
            let (up, down) = (Script::of(&migration.up), Script::of(&migration.down));
            let of_up = up.created();
            for (name, script, created_before) in [("up", up, None), ("down", down, Some(&of_up))] {
                let file = format!("migrations/{}", self.file(&migration, name, Dialect::Postgres));
                findings.extend(script.findings(created_before).into_iter().map(|found| {
                    let (line, column) = script.position(found.at);
                    let (file, version) = (file.clone(), migration.version);
                    let script::Found { rule, danger, lock, rewrite, .. } = found;
                    Finding { version, file, line, column, rule, danger, lock, rewrite }
                }));
            }
        }
        Ok(findings)
    }
}
