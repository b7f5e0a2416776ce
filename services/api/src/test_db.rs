//! Throw-away databases with the schema and a user in them, for tests of the tables.

use covet::clock::Clock;
use covet::data::Db;
use covet::data::migrate::Migrator;
use covet::data::settings::DatabaseSettings;
use covet::identity::audit::Trail;
use covet::identity::password::PasswordHash;
use covet::telemetry::settings::AddressPolicy;
use covet_testkit::Database;
use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use crate::users::{self, Email, NewUser};

/// The user who is there.
pub(crate) const ADA: Uuid = Uuid::from_u128(1);

/// Goes with what it lies in.
pub(crate) struct TestDb {
    pub(crate) db: Db,
    _place: Place,
}

enum Place {
    Folder { _folder: TempDir },
    Server { _database: Database },
}

/// One on each database that the service runs on: a test runs on all of them.
pub(crate) async fn each_database() -> [TestDb; 2] {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = DatabaseSettings::sqlite(folder.path().join("test.db"));
    let database = Database::create().await.unwrap();
    let postgres = DatabaseSettings::at(&database.url());
    [
        TestDb { db: with_ada(&sqlite).await, _place: Place::Folder { _folder: folder } },
        TestDb { db: with_ada(&postgres).await, _place: Place::Server { _database: database } },
    ]
}

async fn with_ada(settings: &DatabaseSettings) -> Db {
    let db = Db::connect(settings, Clock::system()).await.unwrap();
    Migrator::new(&db, &crate::schema()).unwrap().up().await.unwrap();
    let ada = NewUser {
        email: Email::parse("ada@example.com").unwrap(),
        name: "Ada".to_owned(),
        password: PasswordHash::from_stored("unused".to_owned()),
    };
    let transaction = db.begin().await.unwrap();
    users::insert(&transaction, ADA, &ada, at("2026-01-01T00:00:00Z")).await.unwrap();
    transaction.commit().await.unwrap();
    db
}

/// One user more.
pub(crate) async fn another_user(db: &Db, id: Uuid) {
    let user = NewUser {
        email: Email::parse(&format!("{}@example.com", id.simple())).unwrap(),
        name: "Somebody".to_owned(),
        password: PasswordHash::from_stored("unused".to_owned()),
    };
    let transaction = db.begin().await.unwrap();
    users::insert(&transaction, id, &user, at("2026-01-01T00:00:00Z")).await.unwrap();
    transaction.commit().await.unwrap();
}

/// The trail of a service that tells addresses whole.
pub(crate) fn trail() -> Trail {
    Trail::new(Clock::system(), AddressPolicy::Full)
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
