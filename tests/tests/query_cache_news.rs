//! What one instance writes to a table, no other gives out as it was: two instances on one PostgreSQL and one Redis.

use anyhow::{Result, ensure};
use covet_system_tests::{SOON, drill};
use covet_testkit::{Database, Redis, Service, wait_until};

async fn write(service: &Service) -> Result<()> {
    service.client().post(service.url("/things")).send().await?.error_for_status()?;
    Ok(())
}

/// How many things the instance says there are, and how many there are.
async fn counts(service: &Service, database: &Database) -> Result<(String, String)> {
    let told = service.client().get(service.url("/things/count")).send().await?.error_for_status()?.text().await?;
    Ok((told, database.psql("SELECT count(*) FROM things").await?))
}

async fn is_current(service: &Service, database: &Database) -> Result<()> {
    let (told, actual) = counts(service, database).await?;
    ensure!(told == actual, "it tells {told}, and there are {actual}");
    Ok(())
}

/// Writes past both: what has been kept is told on.
async fn keeps(service: &Service, database: &Database) -> Result<()> {
    is_current(service, database).await?;
    database.psql("INSERT INTO things SELECT max(id) + 1 FROM things").await?;
    ensure!(is_current(service, database).await.is_err(), "it was read again");
    Ok(())
}

#[tokio::test]
async fn a_write_ends_what_the_other_instance_has_kept_also_after_redis_was_away() -> Result<()> {
    let (database, mut redis) = (Database::create().await?, Redis::start().await?);
    let start = async || {
        let service = drill::builder()?.env("DATABASE_URL", database.url()).env("REDIS_URL", redis.url());
        Ok::<_, anyhow::Error>(service.start().await?)
    };
    let (writer, reader) = (start().await?, start().await?);
    write(&writer).await?;
    wait_until("the count to be kept", SOON, async || keeps(&reader, &database).await).await?;
    for _ in 0..3 {
        write(&writer).await?;
        wait_until("the news of a write", SOON, async || is_current(&reader, &database).await).await?;
    }

    redis.kill9().await?;
    for _ in 0..3 {
        write(&writer).await?;
        let current = async || is_current(&reader, &database).await;
        wait_until("nothing to be kept while nothing is heard", SOON, current).await?;
    }
    redis.start_again().await?;
    wait_until("results to be kept again", SOON, async || {
        // Else a count that was kept before the last step of this stays.
        write(&writer).await?;
        keeps(&reader, &database).await
    })
    .await?;
    write(&writer).await?;
    wait_until("the news of a write", SOON, async || is_current(&reader, &database).await).await?;
    Ok(())
}
