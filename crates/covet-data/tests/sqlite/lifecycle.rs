//! Opening and closing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use covet_core::clock::Clock;
use covet_data::{Db, Error, params, settings::DatabaseSettings};

use super::support::{Fixture, INSERT, eventually};

async fn connect(settings: &DatabaseSettings) -> Result<Db, Error> {
    Db::connect(settings, Clock::system()).await
}

#[tokio::test]
async fn the_folder_is_made_and_the_file_is_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a/b/test.db");
    let db = connect(&DatabaseSettings::sqlite(&file)).await.unwrap();
    db.write().execute("CREATE TABLE t (a)", params![]).await.unwrap();
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        let mode = fs::metadata(file.with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_with_the_path_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "not a database, but long enough to be looked at as if it were one").unwrap();
    for (file, told) in [
        (blocked.join("test.db"), "cannot be made"),
        (folder.path().to_owned(), "DATABASE_URL"),
        (blocked.clone(), "not a database"),
    ] {
        let error = connect(&DatabaseSettings::sqlite(&file)).await.unwrap_err();
        assert!(matches!(error, Error::Connection(_)), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(told) && message.contains(&*file.parent().unwrap().to_string_lossy()), "{message}");
    }
}

#[tokio::test]
async fn the_file_is_set_up_as_documented() {
    let fixture = Fixture::new().await;
    let pragma = async |name: &str| -> String {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        fixture.db.write().one(&sql, params![]).await.unwrap()
    };
    assert_eq!(pragma("journal_mode").await, "wal");
    assert_eq!(pragma("foreign_keys").await, "1");
    assert_eq!(pragma("synchronous").await, "1");
    assert_eq!(pragma("journal_size_limit").await, "67108864");
}

#[tokio::test]
async fn closing_finishes_what_waits_and_leaves_one_whole_file() {
    let fixture = Fixture::things().await;
    let db = &fixture.db;
    let transaction = db.begin().await.unwrap();
    transaction.execute(INSERT, params!["in a transaction"]).await.unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move { db.write().execute(INSERT, params![n.to_string()]).await })
        })
        .collect();
    eventually("all wait", async || db.connections().waiting == 20).await;
    let closing = {
        let db = db.clone();
        tokio::spawn(async move { db.close().await })
    };
    eventually("nothing new is taken", async || {
        matches!(db.read().one::<i64>("SELECT 1", params![]).await, Err(Error::Closed))
    })
    .await;
    transaction.commit().await.unwrap();
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    closing.await.unwrap();
    assert!(matches!(db.write().execute(INSERT, params!["late"]).await, Err(Error::Closed)));
    assert!(matches!(db.begin().await, Err(Error::Closed)));
    assert_eq!(db.connections().idle + db.connections().active, 0);
    db.close().await;

    let left: Vec<_> = fs::read_dir(fixture.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["test.db"], "the log was brought into the file");
    let again = connect(&DatabaseSettings::sqlite(&fixture.file)).await.unwrap();
    assert_eq!(again.read().one::<i64>("SELECT count(*) FROM things", params![]).await.unwrap(), 21);
}

#[tokio::test]
async fn dropping_the_last_clone_ends_its_threads() {
    let fixture = Fixture::things().await;
    fixture.names().await;
    let file = fixture.file.clone();
    drop(fixture.db);
    // The last connection takes the log with it.
    eventually("the file is closed", async || !file.with_file_name("test.db-wal").exists()).await;
}
