//! What the linter finds in scripts for PostgreSQL, and what it lets pass.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and its helpers with it")]

use std::fs;

use covet_data::Migrations;
use covet_data::migrate::Finding;

/// What is found in a single migration.
fn lint(up: &str, down: &str) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let migration = folder.path().join("0001_it");
    fs::create_dir(&migration).unwrap();
    fs::write(migration.join("up.sql"), up).unwrap();
    fs::write(migration.join("down.sql"), down).unwrap();
    Migrations::read(folder.path()).unwrap().lint().unwrap()
}

/// Where, and which rule.
fn rules(findings: &[Finding]) -> Vec<(usize, usize, &str)> {
    findings.iter().map(|finding| (finding.line, finding.column, finding.rule.as_str())).collect()
}

#[test]
fn what_blocks_or_breaks_a_live_service_is_found_with_its_place() {
    for (up, expected) in [
        ("-- An index.\nCREATE INDEX a_b ON a (b);", (2, 1, "require-concurrent-index-creation")),
        ("SELECT 'é'; DROP INDEX a_b;", (1, 13, "require-concurrent-index-deletion")),
        ("ALTER TABLE a ALTER COLUMN b TYPE BIGINT;", (1, 30, "changing-column-type")),
        ("ALTER TABLE a ALTER COLUMN b SET NOT NULL;", (1, 30, "adding-not-nullable-field")),
        ("ALTER TABLE a\n    ADD COLUMN b TEXT NOT NULL;", (2, 5, "adding-required-field")),
        ("ALTER TABLE a ADD COLUMN b TIMESTAMPTZ DEFAULT clock_timestamp();", (1, 48, "adding-field-with-default")),
        ("ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0);", (1, 15, "constraint-missing-not-valid")),
        ("ALTER TABLE a ADD CONSTRAINT c UNIQUE (b);", (1, 19, "disallowed-unique-constraint")),
        ("ALTER TABLE a RENAME COLUMN b TO c;", (1, 15, "renaming-column")),
        ("ALTER TABLE a RENAME TO b;", (1, 15, "renaming-table")),
        ("ALTER TABLE a DROP COLUMN b;", (1, 15, "ban-drop-column")),
        ("DROP TABLE a;", (1, 1, "ban-drop-table")),
        ("TRUNCATE a CASCADE;", (1, 12, "ban-truncate-cascade")),
    ] {
        let findings = lint(up, "");
        assert_eq!(rules(&findings), [expected], "{up}");
        let finding = &findings[0];
        assert_eq!((finding.version, finding.file.as_str()), (1, "migrations/0001_it/up.sql"));
        assert!(!finding.danger.is_empty() && finding.rewrite.is_some(), "{finding:?}");
    }
}

#[test]
fn a_finding_is_told_with_place_lock_and_safe_form() {
    let told = lint("CREATE INDEX a_b ON a (b);", "")[0].to_string();
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("migrations/0001_it/up.sql:1:1: require-concurrent-index-creation: "), "{told}");
    assert!(lines[1].contains("lock:") && lines[1].contains("writes wait, reads go on"), "{told}");
    assert!(lines[2].contains("instead:") && lines[2].contains("-- covet: no-transaction"), "{told}");
}

#[test]
fn what_the_migrator_takes_care_of_is_no_finding() {
    let script = "CREATE TABLE a (id BIGINT PRIMARY KEY, b TEXT NOT NULL);
                  CREATE INDEX a_b ON a (b);
                  ALTER TABLE a ADD CONSTRAINT c CHECK (b <> '');
                  CREATE TABLE d (a_id BIGINT NOT NULL REFERENCES a (id));
                  ALTER TABLE old ADD COLUMN b TEXT;
                  ALTER TABLE old ADD CONSTRAINT c CHECK (b <> '') NOT VALID;
                  UPDATE a SET b = 'x' WHERE id = 1;";
    let findings = lint(script, "DROP TABLE d; DROP TABLE a; ALTER TABLE old DROP COLUMN b;");
    assert_eq!(rules(&findings), [], "no timeouts to set, nobody uses a new table, all of it or nothing happens");
}

#[test]
fn a_down_script_takes_away_what_its_up_script_has_brought_and_nothing_else() {
    let up = "CREATE TABLE a (id BIGINT PRIMARY KEY);
              ALTER TABLE b ADD COLUMN \"C\" TEXT;
              ALTER TABLE b ALTER COLUMN d SET DEFAULT 1;
              CREATE FUNCTION e() RETURNS int LANGUAGE sql AS 'SELECT 1';";
    let down = "DROP FUNCTION e();
                ALTER TABLE b ALTER COLUMN d DROP DEFAULT;
                ALTER TABLE b DROP COLUMN \"C\";
                DROP TABLE A;";
    assert_eq!(rules(&lint(up, down)), []);
    for (down, rule) in [
        ("DROP TABLE b;", "ban-drop-table"),
        ("DROP TABLE a, b;", "ban-drop-table"),
        ("ALTER TABLE b DROP COLUMN c;", "ban-drop-column"),
        ("DROP FUNCTION f();", "ban-drop-function"),
    ] {
        let findings = lint(up, down);
        assert_eq!(rules(&findings), [(1, if rule == "ban-drop-column" { 15 } else { 1 }, rule)], "{down}");
        assert_eq!(findings[0].file, "migrations/0001_it/down.sql");
    }
}

#[test]
fn what_cannot_run_in_a_transaction_needs_a_script_without_one() {
    for statement in [
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_b ON a (b);",
        "DROP INDEX CONCURRENTLY IF EXISTS a_b;",
        "REINDEX INDEX CONCURRENTLY a_b;",
        "ALTER TABLE a DETACH PARTITION b CONCURRENTLY;",
        "VACUUM a;",
    ] {
        assert_eq!(rules(&lint(statement, "")), [(1, 1, "needs-no-transaction")], "{statement}");
        let outside = lint(&format!("-- covet: no-transaction\n{statement}"), "");
        assert!(outside.iter().all(|finding| finding.rule != "needs-no-transaction"), "{outside:?}");
    }
    // What fails half-way there is run again.
    let findings = lint("-- covet: no-transaction\nCREATE INDEX CONCURRENTLY a_b ON a (b);", "");
    assert_eq!(rules(&findings), [(2, 1, "prefer-robust-stmts")]);
}

#[test]
fn a_script_neither_begins_nor_ends_a_transaction() {
    let findings = lint("BEGIN;\nUPDATE a SET b = 1;\nCOMMIT;", "");
    assert_eq!(rules(&findings), [(1, 1, "transaction-nesting"), (3, 1, "transaction-nesting")]);
}

#[test]
fn a_script_that_is_no_sql_is_found() {
    let findings = lint("ALTER TABLE a ADD COLUMN;\nCREATE TABEL b (id BIGINT);", "");
    assert!(findings.iter().any(|finding| finding.rule == "syntax-error" && finding.line == 2), "{findings:?}");
}

#[test]
fn one_finding_is_accepted_with_a_reason() {
    let drop = "ALTER TABLE a DROP COLUMN b;";
    assert_eq!(rules(&lint(&format!("-- squawk-ignore ban-drop-column -- unused since 2.4\n{drop}"), "")), []);
    assert_eq!(rules(&lint(&format!("/* squawk-ignore ban-drop-column -- unused */\n{drop}"), "")), []);
    let all = format!("-- squawk-ignore-file ban-drop-column -- unused\n{drop}\n\n{drop}\nDROP TABLE c;");
    assert_eq!(rules(&lint(&all, "")), [(5, 1, "ban-drop-table")]);
    assert_eq!(rules(&lint("-- squawk-ignore-file -- our own syntax\nCREATE TABEL a;", "")), []);
    // The one that is meant, and no other.
    let another = lint(&format!("-- squawk-ignore ban-drop-table -- wrong\n{drop}"), "");
    assert_eq!(rules(&another), [(2, 15, "ban-drop-column")]);
    let further_down = lint(&format!("-- squawk-ignore ban-drop-column -- the first\n{drop}\n{drop}"), "");
    assert_eq!(rules(&further_down), [(3, 15, "ban-drop-column")]);
}

#[test]
fn accepting_without_a_reason_or_a_rule_that_there_is_is_itself_found() {
    let drop = "ALTER TABLE a DROP COLUMN b;";
    for (comment, expected) in [
        ("-- squawk-ignore ban-drop-column", vec![(1, 1, "ignore-without-reason")]),
        ("-- squawk-ignore ban-drop-column --", vec![(1, 1, "ignore-without-reason")]),
        ("-- squawk-ignore -- because", vec![(1, 1, "ignore-without-reason"), (2, 15, "ban-drop-column")]),
        ("-- squawk-ignore ban-drop-colum -- typo", vec![(1, 18, "unused-ignore"), (2, 15, "ban-drop-column")]),
    ] {
        assert_eq!(rules(&lint(&format!("{comment}\n{drop}"), "")), expected, "{comment}");
    }
}

#[test]
fn scripts_for_sqlite_are_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let migration = folder.path().join("0001_it");
    fs::create_dir(&migration).unwrap();
    for (script, text) in [
        ("up.sqlite.sql", "PRAGMA foo"),
        ("up.postgres.sql", "DROP TABLE a;"),
        ("up.sql", "PRAGMA foo"),
        ("down.sql", ""),
    ] {
        fs::write(migration.join(script), text).unwrap();
    }
    let findings = Migrations::read(folder.path()).unwrap().lint().unwrap();
    assert_eq!(rules(&findings), [(1, 1, "ban-drop-table")]);
    assert_eq!(findings[0].file, "migrations/0001_it/up.postgres.sql");
}
