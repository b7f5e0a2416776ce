//! A database in a folder of its own.

use std::path::PathBuf;

use covet_core::clock::Clock;
use covet_data::{Db, params, settings::DatabaseSettings};
pub(crate) use covet_testkit::eventually;
use tempfile::TempDir;

/// Removed with everything in it when dropped.
pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) file: PathBuf,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings than the defaults.
    pub(crate) async fn with(change: impl FnOnce(&mut DatabaseSettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        let mut settings = DatabaseSettings::sqlite(&file);
        change(&mut settings);
        let db = Db::connect(&settings, Clock::system()).await.unwrap();
        Self { db, file, folder }
    }

    /// A further `Db` on the same database.
    pub(crate) async fn another(&self) -> Db {
        Db::connect(&DatabaseSettings::sqlite(&self.file), Clock::system()).await.unwrap()
    }

    /// True while a statement that inserts is run.
    pub(crate) async fn is_writing(&self) -> bool {
        self.db.connections().active > 0
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.db.write().execute(sql, params![]).await.unwrap();
    }

    /// A table `things (id, name)`.
    pub(crate) async fn things() -> Self {
        let fixture = Self::new().await;
        fixture.run(THINGS).await;
        fixture
    }

    pub(crate) async fn names(&self) -> Vec<String> {
        self.db.read().all("SELECT name FROM things ORDER BY id", params![]).await.unwrap()
    }
}

pub(crate) const THINGS: &str = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)";
/// Takes a while to tell the names in `things`, as they were when it began.
pub(crate) const SLOWLY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) \
    SELECT name FROM things WHERE (SELECT count(*) FROM n) > 0";
pub(crate) const INSERT: &str = "INSERT INTO things (name) VALUES ($1)";

/// A statement that computes for a long time, and reads only.
pub(crate) const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0";
