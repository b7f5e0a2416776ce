//! A service whose database is not at the schema that it knows: behind, ahead, on SQLite and on PostgreSQL.

use anyhow::{Result, ensure};
use covet_system_tests::SOON;
use covet_system_tests::rename::Release;
use covet_testkit::{Database, ServiceBuilder, TempDir};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rename-service");

/// An empty database of each kind, and the value for `DATABASE_URL`.
async fn databases() -> Result<(TempDir, Database, [String; 2])> {
    let (file, server) = (TempDir::new("schema")?, Database::create().await?);
    let urls = [format!("sqlite://{}", file.join("covet.db").display()), server.url()];
    Ok((file, server, urls))
}

/// What it says when it does not start.
async fn refusal(service: ServiceBuilder) -> Result<String> {
    let finished = service.prepare()?.command(&[]).await?;
    ensure!(finished.code() == Some(2), "{:?}: {}", finished.code(), finished.output());
    Ok(finished.output())
}

async fn serves(service: ServiceBuilder) -> Result<()> {
    service.start().await?.stop().await?;
    Ok(())
}

#[tokio::test]
async fn behind_it_migrates_or_where_it_may_not_refuses_to_start() -> Result<()> {
    let (_file, _server, urls) = databases().await?;
    for url in urls {
        let release = |number: Release, on_start: &str| -> Result<ServiceBuilder> {
            Ok(number.builder(PROGRAM)?.env("DATABASE_URL", &url).env("COVET_MIGRATIONS__ON_START", on_start))
        };
        let told = refusal(release(Release::One, "false")?).await?;
        assert!(told.contains("5 migrations are pending") && told.contains("migrate up"), "{told}");
        release(Release::One, "false")?.prepare()?.command(&["migrate", "up"]).await?.success("migrate up")?;
        serves(release(Release::One, "false")?).await?;
        let told = refusal(release(Release::Two, "false")?).await?;
        assert!(told.contains("3 migrations are pending"), "{told}");
        serves(release(Release::Two, "true")?).await?;
        serves(release(Release::Two, "false")?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn ahead_it_refuses_to_start_unless_it_is_told_to() -> Result<()> {
    let (_file, _server, urls) = databases().await?;
    for url in urls {
        serves(Release::Two.builder(PROGRAM)?.env("DATABASE_URL", &url)).await?;
        for on_start in ["true", "false"] {
            let one = |when_ahead: &str| -> Result<ServiceBuilder> {
                let one = Release::One
                    .builder(PROGRAM)?
                    .env("DATABASE_URL", &url)
                    .env("COVET_MIGRATIONS__ON_START", on_start);
                Ok(one.env("COVET_MIGRATIONS__WHEN_AHEAD", when_ahead))
            };
            let told = refusal(one("refuse")?).await?;
            for part in ["at migration 0008, this program knows 0005", "COVET_MIGRATIONS__WHEN_AHEAD=start"] {
                assert!(told.contains(part), "{told}");
            }
            let mut one = one("start")?.start().await?;
            one.process()?.wait_for_line("migrations of a newer release", SOON).await?;
            one.stop().await?;
        }
        // What it does know must still be what was applied.
        let other = Release::One
            .builder(PROGRAM)?
            .env("DATABASE_URL", &url)
            .file("migrations/0005_idempotency/up.sql", "CREATE TABLE other (id BIGINT);");
        let told = refusal(other).await?;
        assert!(told.contains("0005_idempotency was applied with another up script"), "{told}");
    }
    Ok(())
}
