//! The schema, version by version.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::migrate::{MigrationError, Migrator, State};
use covet_data::{Db, Error, Migrations, params, settings::DatabaseSettings};
use tempfile::TempDir;

use super::support::Fixture;

/// A folder of migrations: name, up, down.
fn folder(migrations: &[(&str, &str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, up, down) in migrations {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("up.sql"), up).unwrap();
        fs::write(path.join("down.sql"), down).unwrap();
    }
    folder
}

fn migrator(db: &Db, migrations: &[(&str, &str, &str)]) -> Migrator {
    Migrator::new(db, &Migrations::read(folder(migrations).path()).unwrap()).unwrap()
}

const USERS: (&str, &str, &str) = (
    "0001_users",
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL); INSERT INTO users VALUES (1, 'Ada');",
    "DROP TABLE users;",
);
const NOTES: (&str, &str, &str) = (
    "0002_notes",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE);
     INSERT INTO notes VALUES (1, 1);",
    "DROP TABLE notes;",
);
/// The trigger's own BEGIN and END are no transaction.
const TRIGGER: (&str, &str, &str) = (
    "0003_trigger",
    "CREATE TRIGGER t AFTER INSERT ON notes BEGIN UPDATE users SET name = name; END;",
    "DROP TRIGGER t;",
);

async fn tables(db: &Db) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    db.read().all(sql, params![]).await.unwrap()
}

#[tokio::test]
async fn up_applies_each_once_and_down_takes_them_back() {
    let fixture = Fixture::new().await;
    let migrator = migrator(&fixture.db, &[USERS, NOTES, TRIGGER]);
    assert_eq!(migrator.pending().await.unwrap(), 3);
    let applied: Vec<u32> = migrator.up().await.unwrap().iter().map(|change| change.version).collect();
    assert_eq!(applied, [1, 2, 3]);
    assert!(migrator.up().await.unwrap().is_empty());
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "notes", "users"]);
    let status = migrator.status().await.unwrap();
    assert!(status.problem.is_none());
    assert!(status.entries.iter().all(|entry| matches!(entry.state, State::Applied { .. })));

    let reverted: Vec<String> = migrator.down(2).await.unwrap().into_iter().map(|change| change.name).collect();
    assert_eq!(reverted, ["trigger", "notes"]);
    let status = migrator.status().await.unwrap();
    assert_eq!(status.pending().map(|entry| &*entry.name).collect::<Vec<_>>(), ["notes", "trigger"]);
    assert_eq!(migrator.down(10).await.unwrap().len(), 1);
    assert_eq!(tables(&fixture.db).await, ["covet_migrations"]);
    assert_eq!(migrator.up().await.unwrap().len(), 3);
}

#[tokio::test]
async fn status_of_an_untouched_database_changes_nothing() {
    let fixture = Fixture::new().await;
    let status = migrator(&fixture.db, &[USERS]).status().await.unwrap();
    assert_eq!(serde_json::to_value(&status.entries).unwrap()[0]["state"], "pending");
    assert!(tables(&fixture.db).await.is_empty());
}

#[tokio::test]
async fn a_failing_script_leaves_nothing_of_itself_and_keeps_those_before_it() {
    let fixture = Fixture::new().await;
    let broken = ("0002_notes", "CREATE TABLE notes (id INTEGER); INSERT INTO nowhere VALUES (1);", "");
    let error = migrator(&fixture.db, &[USERS, broken]).up().await.unwrap_err();
    match &error {
        MigrationError::Failed { version: 2, statement: 2, error: Error::Statement(_), .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("0002_notes: statement 2 of the up script failed"), "{error}");
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "users"]);
    assert_eq!(migrator(&fixture.db, &[USERS, NOTES]).up().await.unwrap().len(), 1);
    // Foreign keys are on again.
    let orphan = fixture.db.write().execute("INSERT INTO notes VALUES (2, 99)", params![]).await;
    assert!(matches!(orphan, Err(Error::ForeignKey { .. })));
}

#[tokio::test]
async fn a_script_cannot_end_its_transaction() {
    let fixture = Fixture::new().await;
    for end in ["COMMIT", "ROLLBACK", "END", "BEGIN"] {
        let script = format!("CREATE TABLE half (id INTEGER); {end}; CREATE TABLE rest (id INTEGER);");
        let error = migrator(&fixture.db, &[("0001_half", &script, "")]).up().await.unwrap_err();
        assert!(matches!(error, MigrationError::EndsTransaction { statement: 2, .. }), "{end}: {error:?}");
        assert!(tables(&fixture.db).await.is_empty(), "{end}");
    }
}

#[tokio::test]
async fn a_table_with_references_to_it_can_be_rebuilt() {
    let fixture = Fixture::new().await;
    let rebuild = (
        "0003_rebuild",
        "CREATE TABLE users_new (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (name <> ''));
         INSERT INTO users_new SELECT id, name FROM users;
         DROP TABLE users;
         ALTER TABLE users_new RENAME TO users;",
        "",
    );
    migrator(&fixture.db, &[USERS, NOTES, rebuild]).up().await.unwrap();
    // With foreign keys on, DROP TABLE would have deleted the note.
    assert_eq!(fixture.db.read().one::<i64>("SELECT count(*) FROM notes", params![]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_script_that_leaves_orphans_is_undone() {
    let fixture = Fixture::new().await;
    let orphans = ("0003_orphans", "DELETE FROM users", "");
    let error = migrator(&fixture.db, &[USERS, NOTES, orphans]).up().await.unwrap_err();
    assert!(matches!(&error, MigrationError::ForeignKeys { table, .. } if table == "notes"), "{error:?}");
    assert_eq!(fixture.db.read().one::<i64>("SELECT count(*) FROM users", params![]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_that_does_not_match_the_program_is_left_alone() {
    let fixture = Fixture::new().await;
    migrator(&fixture.db, &[USERS, NOTES]).up().await.unwrap();
    let edited = ("0002_notes", "CREATE TABLE notes (id INTEGER)", "");
    let renamed = ("0002_remarks", NOTES.1, "");
    let third = ("0003_third", "CREATE TABLE third (id INTEGER)", "");
    for (migrations, told) in [
        (&[USERS, edited, third][..], "0002_notes was applied with another up script"),
        (&[USERS, renamed, third], "the database has 0002_notes, this program has 0002_remarks"),
        (&[USERS], "the database is at migration 0002, this program knows 0001"),
    ] {
        let migrator = migrator(&fixture.db, migrations);
        for error in [
            migrator.up().await.unwrap_err(),
            migrator.down(1).await.unwrap_err(),
            migrator.pending().await.unwrap_err(),
            migrator.status().await.unwrap().problem.unwrap(),
        ] {
            assert!(error.to_string().contains(told), "{error}");
        }
    }
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "notes", "users"]);

    fixture.run("DELETE FROM covet_migrations WHERE version = 1").await;
    let error = migrator(&fixture.db, &[USERS, NOTES]).up().await.unwrap_err();
    assert!(matches!(error, MigrationError::Hole { missing: 1, newest: 2 }), "{error:?}");
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_is_told() {
    let fixture = Fixture::with(|settings| {
        settings.busy_timeout = Duration::from_millis(20);
        settings.migration_lock_timeout = Duration::from_millis(60);
    })
    .await;
    let other = rusqlite::Connection::open(&fixture.file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = migrator(&fixture.db, &[USERS]).up().await.unwrap_err();
    assert!(matches!(error, MigrationError::Locked { .. }), "{error:?}");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(migrator(&fixture.db, &[USERS]).up().await.unwrap().len(), 1);
}

/// Many small ones, each of which would fail if it were applied twice.
fn many() -> Vec<(String, String)> {
    (1..=20).map(|n| (format!("{n:04}_step"), format!("CREATE TABLE t{n} (id INTEGER)"))).collect()
}

fn many_folder() -> TempDir {
    let many = many();
    folder(&many.iter().map(|(name, up)| (name.as_str(), up.as_str(), "")).collect::<Vec<_>>())
}

async fn migrate(file: &Path, migrations: &Path) -> usize {
    let db = Db::connect(&DatabaseSettings::sqlite(file), Clock::system()).await.unwrap();
    let migrations = Migrations::read(migrations).unwrap();
    Migrator::new(&db, &migrations).unwrap().up().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_at_once_apply_each_migration_once() {
    let place = tempfile::tempdir().unwrap();
    let (file, folder) = (place.path().join("test.db"), many_folder());
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let (file, folder) = (file.clone(), folder.path().to_owned());
            tokio::spawn(async move { migrate(&file, &folder).await })
        })
        .collect();
    let mut applied = 0;
    for task in tasks {
        applied += task.await.unwrap();
    }
    assert_eq!(applied, many().len());
}

/// Where a child finds its files. Given through the environment: the test harness takes no arguments of ours.
const PLACE: &str = "MIGRATION_TEST_PLACE";

#[test]
fn three_processes_at_once_apply_each_migration_once() {
    let place = tempfile::tempdir().unwrap();
    fs::rename(many_folder().keep(), place.path().join("migrations")).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sqlite::migrations::child_that_migrates", "--ignored", "--nocapture"])
                .env(PLACE, place.path())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let connection = rusqlite::Connection::open(place.path().join("test.db")).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM covet_migrations"), 20);
    assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE name LIKE 't%'"), 20);
}

#[test]
#[ignore = "started by three_processes_at_once_apply_each_migration_once"]
#[expect(clippy::disallowed_methods, reason = "the child learns from its parent where the files are")]
fn child_that_migrates() {
    let place = std::env::var(PLACE).unwrap();
    let place = Path::new(&place);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(migrate(&place.join("test.db"), &place.join("migrations")));
}

#[tokio::test]
async fn the_macro_embeds_a_folder() {
    let fixture = Fixture::new().await;
    let migrator = Migrator::new(&fixture.db, &embedded()).unwrap();
    let names: Vec<String> = migrator.up().await.unwrap().into_iter().map(|change| change.name).collect();
    assert_eq!(names, ["example"]);
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "example"]);
}

fn embedded() -> Migrations {
    covet_data::migrations!("$CARGO_MANIFEST_DIR/tests/migrations")
}
