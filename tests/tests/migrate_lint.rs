//! `migrate lint`: its exit codes and forms, and what it says of the worked example of `docs/guides/migrations.md`.

use anyhow::Result;
use covet::data::Migrations;
use covet_system_tests::rename::{Release, scripts};
use covet_testkit::{Service, TempDir};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rename-service");

/// A service with one dangerous migration, its sixth. Nothing listens where its database should be.
fn dangerous() -> Result<Service> {
    Ok(Release::One
        .builder(PROGRAM)?
        .env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
        .file("migrations/0006_by_age/up.postgres.sql", "-- By age.\nCREATE INDEX users_age ON users (created_at);\n")
        .file("migrations/0006_by_age/up.sqlite.sql", "CREATE INDEX users_age ON users (created_at);\n")
        .file("migrations/0006_by_age/down.sql", "DROP INDEX users_age;\n")
        .prepare()?)
}

#[tokio::test]
async fn what_is_found_is_printed_and_the_exit_code_is_1_without_a_database() -> Result<()> {
    let service = dangerous()?;
    let finished = service.command(&["migrate", "lint"]).await?;
    assert_eq!(finished.code(), Some(1), "{}", finished.output());
    let up = "migrations/0006_by_age/up.postgres.sql:2:1: require-concurrent-index-creation: ";
    let down = "migrations/0006_by_age/down.sql:1:1: require-concurrent-index-deletion: ";
    for part in [up, down, "lock:    SHARE on the table", "instead: CREATE INDEX CONCURRENTLY"] {
        assert!(finished.stdout.contains(part), "{part} is not in:\n{}", finished.stdout);
    }
    assert!(finished.stderr.contains("2 found") && finished.stderr.contains("squawk-ignore"), "{}", finished.stderr);

    let finished = service.command(&["migrate", "lint", "--json"]).await?;
    assert_eq!(finished.code(), Some(1), "{}", finished.output());
    let report: Value = serde_json::from_str(&finished.stdout)?;
    assert_eq!(report["schema"], "covet.migration-findings/1");
    let finding = &report["findings"][0];
    assert_eq!(finding["version"], 6);
    assert_eq!(finding["file"], "migrations/0006_by_age/up.postgres.sql");
    assert_eq!((&finding["line"], &finding["column"]), (&Value::from(2), &Value::from(1)));
    assert_eq!(finding["rule"], "require-concurrent-index-creation");
    for told in ["danger", "lock", "rewrite"] {
        assert!(finding[told].as_str().is_some_and(|text| !text.is_empty()), "{told}: {finding}");
    }
    Ok(())
}

#[tokio::test]
async fn migrations_before_a_number_are_left_out_and_nothing_found_is_exit_code_0() -> Result<()> {
    let service = dangerous()?;
    let finished = service.command(&["migrate", "lint", "--from", "7"]).await?.success("migrate lint --from 7")?;
    assert_eq!(finished.stdout, "");
    let json = service.command(&["migrate", "lint", "--from", "7", "--json"]).await?.success("migrate lint --json")?;
    let report: Value = serde_json::from_str(&json.stdout)?;
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    let example = Release::Three.builder(PROGRAM)?.prepare()?;
    example.command(&["migrate", "lint"]).await?.success("migrate lint, of the example")?;
    Ok(())
}

#[tokio::test]
async fn files_that_cannot_be_migrations_are_exit_code_2() -> Result<()> {
    let service = Release::One.builder(PROGRAM)?.file("migrations/0007_gap/up.sql", "").prepare()?;
    let finished = service.command(&["migrate", "lint"]).await?;
    assert_eq!(finished.code(), Some(2), "{}", finished.output());
    assert!(finished.stderr.contains("0007_gap has no down.sql"), "{}", finished.stderr);
    Ok(())
}

/// What is found in the example after a change: file and rule.
fn changed(change: impl Fn(&str, String) -> String) -> Result<Vec<(String, String)>> {
    let folder = TempDir::new("rename")?;
    for (name, text) in scripts()? {
        let text = change(&name, text);
        folder.write(name, text)?;
    }
    let findings = Migrations::read(folder.path())?.lint()?;
    Ok(findings.into_iter().map(|finding| (finding.file, finding.rule)).collect())
}

#[test]
fn the_linter_accepts_the_example_and_would_not_without_the_reasons_in_it() -> Result<()> {
    assert_eq!(changed(|_, text| text)?, []);
    let without_reasons = |_: &str, text: String| {
        text.lines()
            .filter(|line| !line.starts_with("-- squawk-ignore "))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    let found = changed(without_reasons)?;
    let found: Vec<_> = found.iter().map(|(file, rule)| (file.as_str(), rule.as_str())).collect();
    assert_eq!(
        found,
        [
            ("migrations/0008_users_full_name_required/up.postgres.sql", "ban-drop-constraint"),
            ("migrations/0009_users_without_name/up.postgres.sql", "ban-drop-function"),
            ("migrations/0009_users_without_name/up.postgres.sql", "ban-drop-column"),
        ]
    );
    Ok(())
}

#[test]
fn the_linter_refuses_the_rename_in_one_step() -> Result<()> {
    let in_one_step = |name: &str, text: String| match name {
        "0006_users_full_name/up.postgres.sql" => "ALTER TABLE users RENAME COLUMN name TO full_name;".to_owned(),
        "0006_users_full_name/down.postgres.sql" => "ALTER TABLE users RENAME COLUMN full_name TO name;".to_owned(),
        _ => text,
    };
    let up = "migrations/0006_users_full_name/up.postgres.sql".to_owned();
    assert_eq!(changed(in_one_step)?, [(up, "renaming-column".to_owned())]);
    Ok(())
}
