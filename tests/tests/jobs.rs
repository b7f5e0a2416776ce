//! Jobs of the real program: by the clock, once for two instances; given up, looked at and done anew from the command line.

use anyhow::Result;
use covet_system_tests::SOON;
use covet_testkit::{Database, Service, wait_until};
use serde_json::Value;

const DEAD: &str = "00000000-0000-7000-8000-000000000001";

fn instance(database: &Database) -> covet_testkit::ServiceBuilder {
    Service::builder().env("DATABASE_URL", database.url()).env("LOG_LEVEL", "info,covet_jobs=debug")
}

async fn count(database: &Database, sql: &str) -> Result<i64> {
    Ok(database.psql(sql).await?.trim().parse()?)
}

/// Waits until the statement counts so many.
async fn until(what: &str, database: &Database, sql: &str, wanted: i64) -> Result<()> {
    let look = async || match count(database, sql).await {
        Ok(counted) if counted == wanted => Ok(()),
        seen => Err(format!("{seen:?}")),
    };
    Ok(wait_until(what, SOON, look).await?)
}

#[tokio::test]
async fn two_instances_do_what_the_clock_says_once() -> Result<()> {
    let database = Database::create().await?;
    let (mut one, mut other) = (instance(&database).start().await?, instance(&database).start().await?);
    until("both schedules are known", &database, "SELECT count(*) FROM job_schedules", 2).await?;
    one.stop().await?;
    other.stop().await?;
    // As if they had been away for hours.
    database.psql("UPDATE job_schedules SET last_tick = last_tick - interval '5 hours'").await?;
    let instances = [instance(&database).start().await?, instance(&database).start().await?];
    let done = async || {
        let mut done = 0;
        for instance in &instances {
            for line in instance.metrics().await?.lines() {
                if let Some(times) = line
                    .strip_prefix(r#"app_background_task_duration_seconds_count{task_type="purge",status="success"} "#)
                {
                    done += times.trim().parse::<f64>()? as u32;
                }
            }
        }
        anyhow::Ok(done)
    };
    let look = async || match done().await {
        Ok(times) if times > 0 => Ok(()),
        seen => Err(format!("{seen:?}")),
    };
    wait_until("it was done", SOON, look).await?;
    until("nothing is left", &database, "SELECT count(*) FROM jobs", 0).await?;
    assert_eq!(done().await?, 1, "made up for once, by one of the two");
    for mut instance in instances {
        instance.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_job_that_was_given_up_is_looked_at_and_done_anew() -> Result<()> {
    let database = Database::create().await?;
    let prepared = instance(&database).prepare()?;
    prepared.command(&["migrate", "up"]).await?.success("migrate up")?;
    database
        .psql(&format!(
            "INSERT INTO jobs (id, name, payload, priority, state, run_at, attempt, created_at, last_error)
             VALUES ('{DEAD}', 'purge', 'null', 10, 'dead', now(), 10, now(), 'planted')"
        ))
        .await?;
    let listed = prepared.command(&["jobs", "list"]).await?.success("jobs list")?;
    assert!(listed.stdout.contains(DEAD) && listed.stdout.contains("purge  10 attempts  planted"), "{}", listed.stdout);
    let listed = prepared.command(&["jobs", "list", "--json"]).await?.success("jobs list")?;
    let report: Value = serde_json::from_str(&listed.stdout)?;
    assert_eq!((&report["schema"], &report["jobs"][0]["id"]), (&"covet.dead-jobs/1".into(), &DEAD.into()));
    let shown = prepared.command(&["jobs", "show", DEAD]).await?.success("jobs show")?;
    assert_eq!(serde_json::from_str::<Value>(&shown.stdout)?["last_error"], "planted");

    let other = "00000000-0000-7000-8000-000000000002";
    for wrong in [["jobs", "show", other], ["jobs", "retry", other], ["jobs", "discard", other]] {
        let finished = prepared.command(&wrong).await?;
        assert_eq!(finished.code(), Some(1), "{}", finished.output());
        assert!(finished.stderr.contains(other), "{}", finished.output());
    }
    assert_eq!(prepared.command(&["jobs", "retry"]).await?.code(), Some(2), "retry what?");

    prepared.command(&["jobs", "retry", DEAD]).await?.success("jobs retry")?;
    let mut instance = instance(&database).start().await?;
    until("it was done", &database, "SELECT count(*) FROM jobs", 0).await?;
    instance.stop().await?;
    let listed = prepared.command(&["jobs", "list"]).await?.success("jobs list")?;
    assert!(listed.stdout.is_empty() && listed.stderr.contains("no job was given up"), "{}", listed.output());
    Ok(())
}
