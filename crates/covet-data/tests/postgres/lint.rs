//! The locks that the linter names are those that PostgreSQL takes.

use std::fs;

use covet_data::Migrations;

use super::support::Fixture;

#[tokio::test]
async fn each_lock_that_the_linter_names_is_the_one_that_the_server_takes() {
    let fixture = Fixture::new().await;
    let tables = "CREATE TABLE a (id BIGINT PRIMARY KEY, b INTEGER, c BIGINT); CREATE INDEX a_b ON a (b);
                  CREATE TABLE d (id BIGINT PRIMARY KEY, a_id BIGINT);
                  CREATE TABLE e (a_id BIGINT REFERENCES a (id));";
    fixture.database.psql(tables).await.unwrap();
    for (statement, rule, lock) in [
        ("CREATE INDEX a_c ON a (c)", "require-concurrent-index-creation", "SHARE"),
        ("DROP INDEX a_b", "require-concurrent-index-deletion", "ACCESS EXCLUSIVE"),
        ("REINDEX TABLE a", "require-concurrent-reindex", "SHARE"),
        ("ALTER TABLE a ADD CONSTRAINT f CHECK (b > 0)", "constraint-missing-not-valid", "ACCESS EXCLUSIVE"),
        (
            "ALTER TABLE d ADD CONSTRAINT f FOREIGN KEY (a_id) REFERENCES a (id)",
            "adding-foreign-key-constraint",
            "SHARE ROW EXCLUSIVE",
        ),
        (
            "ALTER TABLE a ADD COLUMN f TIMESTAMPTZ DEFAULT clock_timestamp()",
            "adding-field-with-default",
            "ACCESS EXCLUSIVE",
        ),
        ("ALTER TABLE a ALTER COLUMN b SET NOT NULL", "adding-not-nullable-field", "ACCESS EXCLUSIVE"),
        ("ALTER TABLE a ADD CONSTRAINT f UNIQUE (c)", "disallowed-unique-constraint", "ACCESS EXCLUSIVE"),
        ("ALTER TABLE a ALTER COLUMN b TYPE BIGINT", "changing-column-type", "ACCESS EXCLUSIVE"),
        ("TRUNCATE a CASCADE", "ban-truncate-cascade", "ACCESS EXCLUSIVE"),
    ] {
        let told = finding(statement, rule);
        assert!(told.starts_with(&format!("{lock} on ")) || told.starts_with(&format!("{lock} while ")), "{told}");
        let strongest = format!(
            "BEGIN; {statement};
             SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'a'::regclass
             ORDER BY array_position(ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock',
                 'ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                 'AccessExclusiveLock'], mode) DESC LIMIT 1;
             ROLLBACK"
        );
        let mode = fixture.database.psql(&strongest).await.unwrap();
        // The view calls SHARE ROW EXCLUSIVE `ShareRowExclusiveLock`.
        let taken: String = lock.split(' ').map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
        assert!(mode.lines().any(|mode| mode == format!("{taken}Lock")), "{statement}: {mode}");
    }
}

/// What the linter says of the lock of a statement.
fn finding(statement: &str, rule: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let migration = folder.path().join("0001_it");
    fs::create_dir(&migration).unwrap();
    fs::write(migration.join("up.sql"), statement).unwrap();
    fs::write(migration.join("down.sql"), "").unwrap();
    let findings = Migrations::read(folder.path()).unwrap().lint().unwrap();
    let finding = findings.iter().find(|finding| finding.rule == rule);
    finding.and_then(|finding| finding.lock).unwrap_or_else(|| panic!("{statement}: {findings:?}")).to_owned()
}
