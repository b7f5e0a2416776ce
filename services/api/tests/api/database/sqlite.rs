//! The tests' database: a SQLite file.

use tempfile::TempDir;

/// An empty database. Gone when dropped.
pub(crate) struct Database(TempDir);

impl Database {
    pub(crate) async fn create() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The value for `DATABASE_URL`.
    pub(crate) fn url(&self) -> String {
        format!("sqlite://{}", self.0.path().join("test.db").display())
    }
}
