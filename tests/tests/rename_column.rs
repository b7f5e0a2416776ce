//! The worked example of `docs/guides/migrations.md`: `users.name` becomes `full_name`, under traffic, and back.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use covet_system_tests::rename::traffic::{RATE, Traffic};
use covet_system_tests::rename::{Release, scripts};
use covet_testkit::{Database, Service, TempDir};
use serde_json::{Value, json};
use tokio::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_rename-service");

/// People who are there before: twenty batches of the backfill.
const SEEDS: u64 = 20_000;
/// Requests that each instance answers in each state of the schema.
const A_WHILE: u64 = 700;

async fn start(release: Release, database: &Database) -> Result<Service> {
    Ok(release.builder(PROGRAM)?.env("DATABASE_URL", database.url()).start().await?)
}

/// Of all columns of those who were there before.
async fn checksum(database: &Database, name: &str) -> Result<String> {
    let columns = format!("id, email, {name}, password_hash, version, created_at, updated_at");
    let sql = format!(
        "SELECT count(*), md5(string_agg(concat_ws('|', {columns}), ',' ORDER BY id)) FROM users WHERE email LIKE 'seed%'"
    );
    Ok(database.psql(&sql).await?)
}

/// Columns, constraints, indexes, triggers and functions. Columns by name: a column that was dropped comes back as the last.
async fn schema(database: &Database) -> Result<String> {
    let sql = "SELECT concat_ws(' ', column_name, data_type, is_nullable, column_default)
               FROM information_schema.columns WHERE table_name = 'users'
               UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass
               UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename = 'users'
               UNION ALL SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal
               UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
               ORDER BY 1";
    Ok(database.psql(sql).await?)
}

async fn down(service: &Service, migrations: &str) -> Result<()> {
    service.command(&["migrate", "down", migrations]).await?.success("migrate down")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the machine for itself: scripts/test load"]
async fn a_column_is_renamed_and_renamed_back_under_load_and_no_request_fails() -> Result<()> {
    let database = Database::create().await?;
    let (mut one, mut another_one) = (start(Release::One, &database).await?, start(Release::One, &database).await?);
    database
        .psql(&format!(
            "INSERT INTO users (id, email, name, password_hash, version, created_at, updated_at)
             SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'seed' || n || '@example.com',
                    'Seed ' || n, 'none', 1, now(), now()
             FROM generate_series(1, {SEEDS}) n"
        ))
        .await?;
    let (rows_before, schema_before) = (checksum(&database, "name").await?, schema(&database).await?);
    let traffic = Traffic::start(&[&one, &another_one], SEEDS)?;
    let mut steps = Steps::begin();
    traffic.flows(A_WHILE).await?;
    steps.done("release 1");

    // Expand: the first instance of release 2 migrates while release 1 serves; then both serve.
    let mut two = start(Release::Two, &database).await?;
    steps.done("expand, backfill, require");
    traffic.add(&two);
    traffic.flows(A_WHILE).await?;
    assert_eq!(database.psql("SELECT count(*) FROM users WHERE name IS DISTINCT FROM full_name").await?, "0");
    steps.done("releases 1 and 2");

    // An instance of release 1 that starts again finds the newer schema.
    traffic.remove(&one).await?;
    one.restart().await?;
    traffic.add(&one);
    traffic.flows(A_WHILE).await?;
    steps.done("release 1 started again");

    // Only release 2.
    for service in [&mut one, &mut another_one] {
        traffic.remove(service).await?;
        service.stop().await?;
    }
    traffic.flows(A_WHILE).await?;
    steps.done("release 2");

    // Contract: release 3 migrates while release 2 serves; then both serve.
    let mut three = start(Release::Three, &database).await?;
    steps.done("contract");
    traffic.add(&three);
    traffic.flows(A_WHILE).await?;
    assert_eq!(checksum(&database, "full_name").await?, rows_before);
    steps.done("releases 2 and 3");

    // Back to release 2: its program first, then the schema, while it serves.
    traffic.remove(&three).await?;
    three.stop().await?;
    down(&three, "1").await?;
    steps.done("contract taken back");
    traffic.flows(A_WHILE).await?;

    // Back to release 1.
    for service in [&mut one, &mut another_one] {
        service.start_again().await?;
        traffic.add(service);
    }
    traffic.flows(A_WHILE).await?;
    traffic.remove(&two).await?;
    two.stop().await?;
    steps.done("back to release 1");
    down(&two, "3").await?;
    steps.done("expand taken back");
    traffic.flows(A_WHILE).await?;

    let outcome = traffic.finish().await?;
    assert_eq!(outcome.failures, Vec::<String>::new(), "of {} requests", outcome.sent);
    assert_eq!(checksum(&database, "name").await?, rows_before);
    assert_eq!(schema(&database).await?, schema_before);
    assert_eq!(people(&database).await?, outcome.people);
    println!("{}", steps.told);
    println!(
        "{} requests at up to {RATE} a second, {} people added, 0 failed; up to release 3 and back to release 1",
        outcome.sent,
        outcome.people.len()
    );
    Ok(())
}

/// How long each step took.
struct Steps {
    since: Instant,
    told: String,
}

impl Steps {
    fn begin() -> Self {
        Self { since: Instant::now(), told: String::new() }
    }

    fn done(&mut self, step: &str) {
        let _ = writeln!(self.told, "{step:<26} {:5.1} s", self.since.elapsed().as_secs_f64());
        self.since = Instant::now();
    }
}

/// Everybody whom the traffic has added, by id.
async fn people(database: &Database) -> Result<BTreeMap<String, String>> {
    let rows = database.psql("SELECT id, name FROM users WHERE email ~ '^[0-9a-f]{8}-'").await?;
    rows.lines()
        .map(|row| {
            let (id, name) = row.split_once('|').context(row.to_owned())?;
            Ok((id.to_owned(), name.to_owned()))
        })
        .collect()
}

#[tokio::test]
async fn on_sqlite_the_column_is_renamed_between_two_programs_and_back() -> Result<()> {
    let file = TempDir::new("rename")?;
    let url = format!("sqlite://{}", file.join("covet.db").display());
    let mut one = Release::One.builder(PROGRAM)?.env("DATABASE_URL", &url).start().await?;
    let added: Value = one.client().post(one.url("/people")).json(&json!({"name": "Ada"})).send().await?.json().await?;
    let person = format!("/people/{}", added["id"].as_str().context("no id")?);
    one.stop().await?;

    let mut three = Release::Three.builder(PROGRAM)?.env("DATABASE_URL", &url).start().await?;
    let read: Value = three.client().get(three.url(&person)).send().await?.json().await?;
    assert_eq!(read, added);
    let renamed = three.client().put(three.url(&person)).json(&json!({"name": "Ada Lovelace"})).send().await?;
    assert_eq!(renamed.status(), 200);
    three.stop().await?;
    down(&three, "4").await?;

    one.start_again().await?;
    let read: Value = one.client().get(one.url(&person)).send().await?.json().await?;
    assert_eq!(read["name"], "Ada Lovelace");
    Ok(())
}

#[test]
fn the_guide_shows_the_scripts_as_they_are() -> Result<()> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let guide = std::fs::read_to_string(format!("{root}/docs/guides/migrations.md"))?;
    for (name, text) in scripts()?.iter().filter(|(name, _)| &**name >= "0006" && name.ends_with("up.postgres.sql")) {
        assert!(
            guide.contains(text.trim_end()),
            "docs/guides/migrations.md does not show tests/rename/{name} as it is"
        );
    }
    Ok(())
}
