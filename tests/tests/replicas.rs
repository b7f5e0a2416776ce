//! A service with `DATABASE_REPLICA_URLS`: who answers its reads, and what its health says.
//!
//! What `Db` does with replicas in every case: `crates/covet-data/tests/postgres/failover.rs`.

use anyhow::{Context, Result, ensure};
use covet_system_tests::account::Account;
use covet_system_tests::drill::things::Written;
use covet_system_tests::scrape::scrape;
use covet_system_tests::write_load::try_again;
use covet_system_tests::{SOON, drill};
use covet_testkit::{Postgres, Service, ServiceBuilder, wait_until};
use serde_json::Value;

/// A primary and two replicas that count their statements.
struct Servers {
    primary: Postgres,
    replicas: [Postgres; 2],
}

impl Servers {
    async fn start() -> Result<Self> {
        let primary = Postgres::builder().setting("shared_preload_libraries", "pg_stat_statements").start().await?;
        primary.psql("CREATE EXTENSION pg_stat_statements").await?;
        let replicas = [primary.replica().await?, primary.replica().await?];
        Ok(Self { primary, replicas })
    }

    /// Tells a service of them.
    fn of(&self, service: ServiceBuilder) -> ServiceBuilder {
        let [one, other] = &self.replicas;
        service
            .env("DATABASE_URL", self.primary.url())
            .env("DATABASE_REPLICA_URLS", Postgres::url_of(&[one, other]))
            .env("COVET_DATABASE__REPLICA_MAX_LAG", "1s")
            .env("COVET_HEALTH__CACHE_FOR", "0s")
    }
}

/// How often a server has run the statement that reads one note, as it has counted itself.
async fn reads(server: &Postgres) -> Result<u64> {
    let sql = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%WHERE n.id = $1%'";
    Ok(server.psql(sql).await?.parse()?)
}

/// Waits until the check of the database says so; returns the whole answer and the check's own part.
async fn database_is(service: &Service, status: &str, replicas_fresh: u64) -> Result<(u16, Value)> {
    let url = service.url("/health");
    let report =
        wait_until(format!("the database to be {status}, {replicas_fresh} replicas fresh"), SOON, async || {
            let response = service.client().get(&url).send().await.map_err(|error| error.to_string())?;
            let code = response.status().as_u16();
            let report: Value = response.json().await.map_err(|error| error.to_string())?;
            let database = &report["checks"]["database"];
            let found = database["status"] == status && database["replicas_fresh"] == replicas_fresh;
            if found { Ok((code, database.clone())) } else { Err(report.to_string()) }
        });
    Ok(report.await?)
}

async fn status(service: &Service, path: &str) -> Result<u16> {
    Ok(service.client().get(service.url(path)).send().await?.status().as_u16())
}

#[tokio::test]
async fn reads_go_to_replicas_as_their_own_statistics_say_and_not_to_one_that_lags() -> Result<()> {
    const READS: u64 = 200;
    let servers = Servers::start().await?;
    let service = servers.of(Service::builder()).start().await?;
    let account = Account::register(&service, "ada").await?;
    let note = account.write_note("to be read").await?;
    let path = format!("/api/notes/{}", note["id"].as_str().context("id")?);
    let read = async |times: u64| -> Result<()> {
        for _ in 0..times {
            let response = account.get(&path).send().await?;
            ensure!(response.status() == 200, "{}: {}", response.status(), response.text().await?);
        }
        Ok(())
    };
    let [one, other] = &servers.replicas;
    database_is(&service, "healthy", 2).await?;
    wait_until("both replicas to have the note", SOON, async || {
        for replica in &servers.replicas {
            let count = replica.psql("SELECT count(*) FROM notes").await.map_err(|error| error.to_string())?;
            if count != "1" {
                return Err(count);
            }
        }
        Ok(())
    })
    .await?;

    let answered = async |by: &str| -> Result<f64> {
        Ok(scrape(&service).await?.sum("db_replica_reads_total", &[("answered_by", by)]))
    };
    let (before_one, before_other) = (reads(one).await?, reads(other).await?);
    let told_before = answered("replica").await?;
    read(READS).await?;
    let (by_one, by_other) = (reads(one).await? - before_one, reads(other).await? - before_other);
    assert_eq!(by_one + by_other, READS, "the replicas have counted them all");
    assert!(by_one > READS / 4 && by_other > READS / 4, "{by_one} and {by_other}");
    assert_eq!(reads(&servers.primary).await?, 0, "the primary has seen none");
    // The service counts other reads too: of its gauges.
    let told = answered("replica").await? - told_before;
    assert!(told >= READS as f64, "{told} reads answered by replicas, the service says");

    one.psql("SELECT pg_wal_replay_pause()").await?;
    wait_until("the service to leave the replica that lags", SOON, async || {
        // It is behind only if something is written.
        account.write_note("more").await.map_err(|error| format!("{error:#}"))?;
        database_is_now(&service, "degraded", 1).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    assert_eq!(status(&service, "/health").await?, 200);
    assert_eq!(status(&service, "/health/ready").await?, 200);
    let (before_one, before_other) = (reads(one).await?, reads(other).await?);
    read(READS).await?;
    assert_eq!(reads(one).await?, before_one, "it is not read from");
    assert_eq!(reads(other).await?, before_other + READS);

    one.psql("SELECT pg_wal_replay_resume()").await?;
    database_is(&service, "healthy", 2).await?;
    read(READS).await?;
    assert!(reads(one).await? > before_one, "it is read from again");
    Ok(())
}

/// As [`database_is`], once.
async fn database_is_now(service: &Service, status: &str, replicas_fresh: u64) -> Result<()> {
    let report: Value = service.client().get(service.url("/health")).send().await?.json().await?;
    let database = &report["checks"]["database"];
    ensure!(database["status"] == status && database["replicas_fresh"] == replicas_fresh, "{report}");
    Ok(())
}

#[tokio::test]
async fn who_has_written_through_one_instance_sees_it_through_another() -> Result<()> {
    let servers = Servers::start().await?;
    let writing = servers.of(drill::builder()?).start().await?;
    // Long enough that the replicas, which stand still, count as fresh.
    let reading = servers.of(drill::builder()?).env("COVET_DATABASE__REPLICA_MAX_LAG", "10m").start().await?;
    let write = async || -> Result<Written> {
        Ok(writing.client().post(writing.url("/things")).send().await?.error_for_status()?.json().await?)
    };
    let read = async |id: i64, position: &str| {
        let request = reading.client().get(reading.url(&format!("/things/{id}")));
        let request = if position.is_empty() { request } else { request.query(&[("after", position)]) };
        Ok::<_, anyhow::Error>(request.send().await?.status().as_u16())
    };
    let old = write().await?;
    database_is(&reading, "healthy", 2).await?;
    wait_until("the replicas to have the first", SOON, async || match read(old.id, "").await {
        Ok(200) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    for replica in &servers.replicas {
        replica.psql("SELECT pg_wal_replay_pause()").await?;
    }
    let new = write().await?;
    for _ in 0..10 {
        assert_eq!(read(new.id, "").await?, 404, "replicas answer, who do not have it");
        assert_eq!(read(new.id, &new.position).await?, 200);
        assert_eq!(read(old.id, &old.position).await?, 200);
    }
    for replica in &servers.replicas {
        replica.psql("SELECT pg_wal_replay_resume()").await?;
    }
    let told = async || -> Result<f64> {
        Ok(scrape(&reading).await?.sum("db_replica_reads_total", &[("answered_by", "replica")]))
    };
    wait_until("a replica that has it to answer", SOON, async || {
        let seen = async {
            let before = told().await?;
            ensure!(read(new.id, &new.position).await? == 200, "it is not seen");
            ensure!(told().await? > before, "the primary answered");
            Ok(())
        };
        seen.await.map_err(|error: anyhow::Error| format!("{error:#}"))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_replica_that_is_gone_degrades_as_does_a_primary_that_is_gone_while_replicas_answer() -> Result<()> {
    let mut servers = Servers::start().await?;
    let service = servers.of(Service::builder()).start().await?;
    let account = Account::register(&service, "ada").await?;
    let note = account.write_note("to be read").await?;
    let path = format!("/api/notes/{}", note["id"].as_str().context("id")?);
    let (code, database) = database_is(&service, "healthy", 2).await?;
    assert_eq!((code, &database["replicas"], &database["reason"]), (200, &Value::from(2), &Value::Null));

    servers.replicas[0].kill9().await?;
    let (code, database) = database_is(&service, "degraded", 1).await?;
    assert_eq!(code, 200, "{database}");
    let reason = database["reason"].as_str().context("reason")?;
    assert!(reason.starts_with("1 of 2 replicas cannot be read from"), "{reason}");
    assert_eq!(status(&service, "/health/ready").await?, 200);
    servers.replicas[0].start_again().await?;
    database_is(&service, "healthy", 2).await?;

    servers.primary.kill9().await?;
    let (code, database) = database_is(&service, "degraded", 2).await?;
    assert_eq!(code, 200, "{database}");
    assert!(database["reason"].as_str().context("reason")?.contains("only reads go on"), "{database}");
    assert_eq!(status(&service, "/health/ready").await?, 200);
    assert_eq!(account.get(&path).send().await?.status(), 200, "a replica answers");
    try_again(account.post("/api/notes", &serde_json::json!({"title": "x", "body": "y"})).send().await?).await?;

    servers.primary.start_again().await?;
    database_is(&service, "healthy", 2).await?;
    assert_eq!(status(&service, "/health/ready").await?, 200);
    account.write_note("written again").await?;
    Ok(())
}
