//! A throw-away database with the schema and a user in it, for tests of the tables.

use covet::clock::Clock;
use covet::data::Db;
use covet::data::migrate::Migrator;
use covet::data::settings::DatabaseSettings;
use covet::identity::password::PasswordHash;
use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use crate::users::{Email, NewUser, Users};

/// The user who is there.
pub(crate) const ADA: Uuid = Uuid::from_u128(1);

/// Goes with its folder.
pub(crate) struct TestDb {
    pub(crate) db: Db,
    _folder: TempDir,
}

pub(crate) async fn test_db() -> TestDb {
    let folder = tempfile::tempdir().unwrap();
    let settings = DatabaseSettings::sqlite(folder.path().join("test.db"));
    let db = Db::connect(&settings, Clock::system()).await.unwrap();
    Migrator::new(&db, &crate::schema()).unwrap().up().await.unwrap();
    let ada = NewUser {
        email: Email::parse("ada@example.com").unwrap(),
        name: "Ada".to_owned(),
        password: PasswordHash::from_stored("unused".to_owned()),
    };
    Users(&db).insert(ADA, &ada, at("2026-01-01T00:00:00Z")).await.unwrap();
    TestDb { db, _folder: folder }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
