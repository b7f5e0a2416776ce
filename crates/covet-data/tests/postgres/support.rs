//! A database of its own.

use covet_core::clock::Clock;
use covet_data::settings::DatabaseSettings;
use covet_data::{Db, params};
use covet_testkit::Database;
pub(crate) use covet_testkit::eventually;

/// A `Db` on an empty database.
pub(crate) struct Fixture {
    pub(crate) db: Db,
    pub(crate) settings: DatabaseSettings,
    // Last: dropping it ends what is still connected.
    pub(crate) database: Database,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings than the defaults.
    pub(crate) async fn with(change: impl FnOnce(&mut DatabaseSettings)) -> Self {
        let database = Database::create().await.unwrap();
        let mut settings = DatabaseSettings::at(&database.url());
        change(&mut settings);
        let db = Db::connect(&settings, Clock::system()).await.unwrap();
        Self { db, settings, database }
    }

    /// A further `Db` on the same database.
    pub(crate) async fn another(&self) -> Db {
        Db::connect(&self.settings, Clock::system()).await.unwrap()
    }

    /// True while a statement that inserts is run.
    pub(crate) async fn is_writing(&self) -> bool {
        self.sessions("state = 'active' AND query LIKE 'INSERT%'").await > 0
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

    /// What `psql` prints, as another session sees it.
    pub(crate) async fn psql(&self, sql: &str) -> String {
        self.database.psql(sql).await.unwrap()
    }

    /// Sessions of this database but `psql`'s own, by a condition on `pg_stat_activity`.
    pub(crate) async fn sessions(&self, condition: &str) -> usize {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND {condition}"
        );
        self.psql(&sql).await.parse().unwrap()
    }
}

pub(crate) const THINGS: &str =
    "CREATE TABLE things (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT NOT NULL UNIQUE)";
/// Takes a while to tell the names in `things`, as they were when it began.
pub(crate) const SLOWLY: &str = "SELECT name FROM things, pg_sleep(0.3)";
pub(crate) const INSERT: &str = "INSERT INTO things (name) VALUES ($1)";
