//! The SQLite file of a measurement: a copy of one that is made once.

use std::path::Path;

use anyhow::Context as _;
use rusqlite::Connection;
use tempfile::NamedTempFile;

use super::USERS;

/// Its name in the server's working directory.
pub(super) const FILE: &str = "bench.db";

pub(crate) struct Sqlite {
    filled: NamedTempFile,
}

impl Sqlite {
    pub(super) fn make() -> anyhow::Result<Self> {
        let filled = tempfile::Builder::new().prefix("covet-bench-").suffix(".db").tempfile()?;
        let connection = Connection::open(filled.path())?;
        connection.execute_batch(&format!(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, visits INTEGER NOT NULL DEFAULT 0);
             WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < {USERS})
             INSERT INTO users (id, name) SELECT id, 'user-' || id FROM ids;
             ANALYZE;"
        ))?;
        connection.close().map_err(|(_, error)| error)?;
        Ok(Self { filled })
    }

    pub(super) fn copy_to(&self, file: &Path) -> anyhow::Result<()> {
        std::fs::copy(self.filled.path(), file).with_context(|| format!("writing {}", file.display())).map(drop)
    }
}

/// As counted in a file, also while a server has it open.
pub(super) fn visits(file: &Path) -> anyhow::Result<u64> {
    let sum: i64 = Connection::open(file)?.query_row("SELECT sum(visits) FROM users", [], |row| row.get(0))?;
    Ok(sum.try_into()?)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{Sqlite, visits};
    use crate::server::working_directory;

    #[test]
    fn each_copy_has_the_same_rows_and_counts_for_itself() {
        let directory = working_directory().unwrap();
        let sqlite = Sqlite::make().unwrap();
        let [one, other] = ["one.db", "other.db"].map(|name| directory.path().join(name));
        sqlite.copy_to(&one).unwrap();
        sqlite.copy_to(&other).unwrap();
        let connection = Connection::open(&one).unwrap();
        let name: String = connection.query_row("SELECT name FROM users WHERE id = 42", [], |row| row.get(0)).unwrap();
        assert_eq!(name, "user-42");
        connection.execute("UPDATE users SET visits = 3 WHERE id = 42", []).unwrap();
        assert_eq!((visits(&one).unwrap(), visits(&other).unwrap()), (3, 0));
    }
}
