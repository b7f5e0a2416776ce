//! The schema, version by version.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_data::migrate::{MigrationError, Migrator, State};
use covet_data::{Db, Error, Migrations, params, settings::DatabaseSettings};
use tempfile::TempDir;

use super::support::{Fixture, eventually};

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
    "CREATE TABLE users (id BIGINT PRIMARY KEY, name TEXT NOT NULL); INSERT INTO users VALUES (1, 'Ada');",
    "DROP TABLE users;",
);
const NOTES: (&str, &str, &str) = (
    "0002_notes",
    "CREATE TABLE notes (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE);
     INSERT INTO notes VALUES (1, 1);",
    "DROP TABLE notes;",
);
const FUNCTION: (&str, &str, &str) = (
    "0003_function",
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN; RETURN new; END; $$;
     CREATE FUNCTION one() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END;",
    "DROP FUNCTION touch; DROP FUNCTION one;",
);

async fn tables(db: &Db) -> Vec<String> {
    let sql = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    db.read().all(sql, params![]).await.unwrap()
}

#[tokio::test]
async fn up_applies_each_once_and_down_takes_them_back() {
    let fixture = Fixture::new().await;
    let function = (FUNCTION.0, &*FUNCTION.1.replace("BEGIN; RETURN", "BEGIN RETURN"), FUNCTION.2);
    let migrator = migrator(&fixture.db, &[USERS, NOTES, function]);
    assert_eq!(migrator.pending().await.unwrap(), 3);
    let plan: Vec<_> =
        migrator.plan_up().await.unwrap().into_iter().map(|script| (script.version, script.sql)).collect();
    assert_eq!(plan[1], (2, NOTES.1.to_owned()));
    assert!(tables(&fixture.db).await.is_empty(), "a plan changes nothing");
    let applied: Vec<u32> = migrator.up().await.unwrap().iter().map(|change| change.version).collect();
    assert_eq!(applied, [1, 2, 3]);
    assert!(migrator.up().await.unwrap().is_empty() && migrator.plan_up().await.unwrap().is_empty());
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "notes", "users"]);
    let status = migrator.status().await.unwrap();
    assert!(status.problem.is_none());
    assert!(status.entries.iter().all(|entry| matches!(entry.state, State::Applied { .. })));

    let plan: Vec<_> = migrator.plan_down(2).await.unwrap().into_iter().map(|script| script.name).collect();
    assert_eq!(plan, ["function", "notes"]);
    let reverted: Vec<String> = migrator.down(2).await.unwrap().into_iter().map(|change| change.name).collect();
    assert_eq!(reverted, plan);
    let status = migrator.status().await.unwrap();
    assert_eq!(status.pending().map(|entry| &*entry.name).collect::<Vec<_>>(), ["notes", "function"]);
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
    let broken = ("0002_notes", "CREATE TABLE notes (id BIGINT); INSERT INTO nowhere VALUES (1);", "");
    let error = migrator(&fixture.db, &[USERS, broken]).up().await.unwrap_err();
    match &error {
        MigrationError::Failed { version: 2, statement: 2, error: Error::Statement(_), .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("0002_notes: statement 2 of the up script failed"), "{error}");
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "users"]);
    assert_eq!(migrator(&fixture.db, &[USERS, NOTES]).up().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_script_cannot_end_its_transaction() {
    let fixture = Fixture::new().await;
    for end in ["COMMIT", "ROLLBACK", "END", "BEGIN"] {
        let script = format!("CREATE TABLE half (id BIGINT); {end}; CREATE TABLE rest (id BIGINT);");
        let error = migrator(&fixture.db, &[("0001_half", &script, "")]).up().await.unwrap_err();
        assert!(matches!(error, MigrationError::EndsTransaction { statement: 2, .. }), "{end}: {error:?}");
        assert!(tables(&fixture.db).await.is_empty(), "{end}");
    }
}

#[tokio::test]
async fn a_script_that_runs_in_no_transaction_says_so() {
    let fixture = Fixture::new().await;
    let index = "CREATE INDEX CONCURRENTLY users_name ON users (name)";
    let within = ("0002_index", index, "DROP INDEX users_name");
    let error = migrator(&fixture.db, &[USERS, within]).up().await.unwrap_err();
    assert!(error.to_string().contains("cannot run inside a transaction block"), "{error}");
    let outside = (
        "0002_index",
        &*format!("-- covet: no-transaction\n{index};"),
        "-- covet: no-transaction\nDROP INDEX CONCURRENTLY users_name",
    );
    assert_eq!(migrator(&fixture.db, &[USERS, outside]).up().await.unwrap().len(), 1);
    assert_eq!(migrator(&fixture.db, &[USERS, outside]).down(1).await.unwrap().len(), 1);
    let half =
        ("0002_half", "-- covet: no-transaction\nCREATE TABLE half (id BIGINT); CREATE TABLE users (id BIGINT)", "");
    let error = migrator(&fixture.db, &[USERS, half]).up().await.unwrap_err();
    assert!(matches!(error, MigrationError::FailedPartly { version: 2, statement: 2, .. }), "{error:?}");
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "half", "users"]);
    assert_eq!(migrator(&fixture.db, &[USERS, half]).pending().await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_that_does_not_match_the_program_is_left_alone() {
    let fixture = Fixture::new().await;
    migrator(&fixture.db, &[USERS, NOTES]).up().await.unwrap();
    let edited = ("0002_notes", "CREATE TABLE notes (id BIGINT)", "");
    let renamed = ("0002_remarks", NOTES.1, "");
    let third = ("0003_third", "CREATE TABLE third (id BIGINT)", "");
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
            migrator.plan_up().await.unwrap_err(),
            migrator.status().await.unwrap().problem.unwrap(),
        ] {
            assert!(error.to_string().contains(told), "{error}");
        }
    }
    assert_eq!(tables(&fixture.db).await, ["covet_migrations", "notes", "users"]);
}

#[tokio::test]
async fn a_table_in_use_is_waited_for_only_shortly_at_a_time_and_not_for_ever() {
    let fixture = Fixture::with(|settings| {
        settings.migration_table_lock_timeout = Duration::from_millis(50);
        settings.migration_lock_timeout = Duration::from_millis(400);
        settings.transaction_idle_timeout = Duration::from_secs(60);
    })
    .await;
    migrator(&fixture.db, &[USERS]).up().await.unwrap();
    let user = fixture.db.begin().await.unwrap();
    let _: i64 = user.one("SELECT count(*) FROM users", params![]).await.unwrap();
    let alter = ("0002_alter", "ALTER TABLE users ADD COLUMN age SMALLINT", "");
    let error = migrator(&fixture.db, &[USERS, alter]).up().await.unwrap_err();
    assert!(matches!(error, MigrationError::Locked { .. }), "{error:?}");
    // It goes through when the table is free in time.
    let db = fixture.db.clone();
    let waiting = tokio::spawn(async move { migrator(&db, &[USERS, alter]).up().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    user.commit().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn who_waits_for_another_migrator_does_not_hold_up_an_index_built_concurrently() {
    let fixture = Fixture::new().await;
    migrator(&fixture.db, &[USERS]).up().await.unwrap();
    let index = (
        "0002_index",
        "-- covet: no-transaction\nSELECT pg_sleep(1); CREATE INDEX CONCURRENTLY users_name ON users (name)",
        "",
    );
    let migrations: [(&str, &str, &str); 2] = [USERS, index];
    let start = |db: Db| tokio::spawn(async move { migrator(&db, &migrations).up().await });
    let first = start(fixture.db.clone());
    eventually("the first works", async || {
        fixture.sessions("query LIKE '%pg_sleep(1)%' AND state = 'active'").await == 1
    })
    .await;
    let second = start(fixture.db.clone());
    assert_eq!(first.await.unwrap().unwrap().len(), 1);
    assert_eq!(second.await.unwrap().unwrap().len(), 0);
}

/// Many small ones, each of which would fail if it were applied twice.
fn many() -> TempDir {
    let many: Vec<_> = (1..=20).map(|n| (format!("{n:04}_step"), format!("CREATE TABLE t{n} (id BIGINT)"))).collect();
    folder(&many.iter().map(|(name, up)| (name.as_str(), up.as_str(), "")).collect::<Vec<_>>())
}

async fn migrate(url: &str, migrations: &Path) -> usize {
    let db = Db::connect(&DatabaseSettings::at(url), Clock::system()).await.unwrap();
    let migrations = Migrations::read(migrations).unwrap();
    Migrator::new(&db, &migrations).unwrap().up().await.unwrap().len()
}

/// Where a child finds its files. Given through the environment: the test harness takes no arguments of ours.
const PLACE: &str = "MIGRATION_TEST_PLACE";

#[tokio::test]
async fn three_processes_starting_at_once_ten_times_apply_each_migration_once() {
    for _ in 0..10 {
        let database = covet_testkit::Database::create().await.unwrap();
        let place = tempfile::tempdir().unwrap();
        fs::rename(many().keep(), place.path().join("migrations")).unwrap();
        fs::write(place.path().join("url"), database.url()).unwrap();
        let children: Vec<_> = (0..3)
            .map(|_| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "postgres::migrations::child_that_migrates", "--ignored", "--nocapture"])
                    .env(PLACE, place.path())
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let count = "SELECT count(*), count(DISTINCT version), (SELECT count(*) FROM pg_tables WHERE tablename ~ '^t[0-9]+$') \
                     FROM covet_migrations";
        assert_eq!(database.psql(count).await.unwrap(), "20|20|20");
    }
}

#[test]
#[ignore = "started by three_processes_starting_at_once_ten_times_apply_each_migration_once"]
#[expect(clippy::disallowed_methods, reason = "the child learns from its parent where the files are")]
fn child_that_migrates() {
    let place = std::env::var(PLACE).unwrap();
    let place = Path::new(&place);
    let url = fs::read_to_string(place.join("url")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(migrate(&url, &place.join("migrations")));
}
