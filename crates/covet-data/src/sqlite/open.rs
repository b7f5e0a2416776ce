//! Opening the file: its folder, its permissions, and how SQLite is set up.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use rusqlite::config::DbConfig;
use rusqlite::{Connection as Raw, OpenFlags, ffi};

use super::connection::Connection;
use super::translate::Limits;
use crate::settings::{DatabaseSettings, Synchronous};
use crate::{Error, Result};

/// What is needed to open one more connection.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    file: PathBuf,
    clock: Clock,
    limits: Limits,
    synchronous: Synchronous,
    wal_size_limit: u64,
    statement_cache: usize,
}

impl Opener {
    pub(super) fn new(file: PathBuf, settings: &DatabaseSettings, clock: &Clock) -> Self {
        let limits = Limits { busy_timeout: settings.busy_timeout, statement_timeout: settings.statement_timeout };
        Self {
            file,
            clock: clock.clone(),
            limits,
            synchronous: settings.synchronous,
            wal_size_limit: settings.wal_size_limit.bytes(),
            statement_cache: settings.statement_cache,
        }
    }

    /// The connection that writes. Makes the folder and the file if they are missing.
    pub(super) fn writer(&self) -> Result<Connection> {
        make_file(&self.file)?;
        let raw = self.open()?;
        let readonly = raw.is_readonly(rusqlite::MAIN_DB).map_err(|error| self.cannot_open(&error))?;
        if readonly {
            let file = self.file.display();
            return Err(Error::Connection(format!(
                "{file} cannot be written to; give this user the right to write it and its folder, or set DATABASE_URL"
            )));
        }
        self.switch_to_wal(&raw)?;
        let synchronous = match self.synchronous {
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
        };
        let setup = format!(
            "PRAGMA synchronous={synchronous}; PRAGMA journal_size_limit={}; PRAGMA foreign_keys=ON;",
            self.wal_size_limit
        );
        self.finish(raw, &setup)
    }

    /// A connection that refuses to write.
    pub(super) fn reader(&self) -> Result<Connection> {
        let raw = self.open()?;
        self.finish(raw, "PRAGMA query_only=ON;")
    }

    fn open(&self) -> Result<Raw> {
        // Every connection is used by one thread at a time; SQLite's own mutexes are not needed.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let raw = Raw::open_with_flags(&self.file, flags).map_err(|error| self.cannot_open(&error))?;
        raw.busy_timeout(self.limits.busy_timeout).map_err(|error| self.cannot_open(&error))?;
        Ok(raw)
    }

    fn finish(&self, raw: Raw, setup: &str) -> Result<Connection> {
        let set_up = || {
            // "text" in double quotes is a name, as in PostgreSQL, not sometimes a value.
            raw.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
            raw.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
            // Functions that reach outside of the database cannot be called by a view or trigger in the file.
            raw.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
            raw.execute_batch(setup)
        };
        set_up().map_err(|error| self.cannot_open(&error))?;
        Connection::new(raw, self.clock.clone(), self.limits, self.statement_cache)
            .map_err(|error| self.cannot_open(&error))
    }

    /// Write-ahead logging: readers and the writer do not wait for each other. The switch needs the file for itself
    /// for a moment, and SQLite does not always wait for that.
    fn switch_to_wal(&self, raw: &Raw) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(10);
        let deadline = self.clock.monotonic() + self.limits.busy_timeout;
        loop {
            let mode = raw.query_row("PRAGMA journal_mode=WAL", [], |row| row.get::<_, String>(0));
            match mode {
                Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
                Ok(mode) => {
                    let file = self.file.display();
                    return Err(Error::Connection(format!(
                        "{file} lies on storage without shared memory (journal mode stays {mode}); use a local disk"
                    )));
                }
                Err(error) if is_busy(&error) && self.clock.monotonic() < deadline => thread::sleep(PAUSE),
                Err(error) => return Err(self.cannot_open(&error)),
            }
        }
    }

    fn cannot_open(&self, error: &rusqlite::Error) -> Error {
        let file = self.file.display();
        if is_busy(error) {
            let waited = self.limits.busy_timeout;
            return Error::Connection(format!("another process has kept {file} locked for {waited:?}"));
        }
        Error::Connection(format!("{file}: {error}; look at DATABASE_URL and the file's permissions"))
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(code, _) if matches!(
        code.extended_code & 0xff,
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED
    ))
}

/// Makes the file, for its owner only: it holds password hashes. SQLite gives its companions the same permissions.
fn make_file(file: &Path) -> Result<()> {
    let advice = "set DATABASE_URL to a file in a folder that this user can write to";
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| {
            Error::Connection(format!("the folder {} cannot be made: {error}; {advice}", folder.display()))
        })?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::Connection(format!("the file {} cannot be made: {error}; {advice}", file.display()))),
    }
}
