//! A primary that is lost while `covet-api` writes all the time: writes resume by themselves, nothing acknowledged is lost, and
//! whoever was not served was told to try again.
//!
//! What `Db` does then in every case (a server that hangs, is demoted, comes back): `crates/covet-data/tests/postgres/failover.rs`.

use std::time::Duration;

use anyhow::{Result, ensure};
use covet_system_tests::SOON;
use covet_system_tests::account::Account;
use covet_system_tests::write_load::{Gap, WriteLoad, Writes, now};
use covet_testkit::{Patroni, Postgres, Service};

/// `COVET_HTTP__REQUEST_TIMEOUT`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the client has the answer, on a busy machine.
const DEADLINE: Duration = Duration::from_secs(7);
/// Ten times what is normal: on a busy machine a test is not about speed.
const LONGEST_GAP: Duration = Duration::from_secs(15);
/// Acknowledged writes before a loss and after it.
const WRITES: u64 = 200;

async fn service(url: &str) -> Result<Service> {
    let timeout = format!("{}s", REQUEST_TIMEOUT.as_secs());
    Ok(Service::builder().env("DATABASE_URL", url).env("COVET_HTTP__REQUEST_TIMEOUT", timeout).start().await?)
}

fn told(gap: Gap, writes: &Writes) -> String {
    format!(
        "{:.2} s from the loss to the first acknowledged write, {:.2} s from the promotion; {} acknowledged, {} refused, slowest \
         answer {:.2} s",
        gap.from_loss.as_secs_f64(),
        gap.from_promotion.as_secs_f64(),
        writes.acknowledged(),
        writes.refused(),
        writes.slowest().as_secs_f64()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_resume_after_kill_9_of_the_primary_and_promotion_of_a_replica() -> Result<()> {
    let mut primary = Postgres::start().await?;
    let (one, other) = (primary.replica().await?, primary.replica().await?);
    primary.wait_for_replicas_at_commit().await?;
    let service = service(&Postgres::url_of(&[&primary, &one, &other])).await?;
    let account = Account::register(&service, "ada").await?;
    let load = WriteLoad::start(&account);
    load.more_acknowledged(WRITES, SOON).await?;

    let lost_at = now();
    primary.kill9().await?;
    let heir = Postgres::furthest(&[&one, &other]).await?;
    heir.promote().await?;
    load.more_acknowledged(WRITES, SOON).await?;

    let writes = load.stop().await?;
    writes.check(&heir.psql("SELECT id FROM notes").await?, DEADLINE)?;
    let gap = writes.gap(lost_at, heir.promoted_at().await?)?;
    println!("{}", told(gap, &writes));
    ensure!(gap.from_promotion < LONGEST_GAP, "{gap:?}");
    ensure!(writes.refused() > 0, "the primary was not missed at all");
    ensure!(service.process()?.status().is_none(), "the service has ended");
    Ok(())
}

/// How often the next test loses the primary.
fn failovers() -> Result<usize> {
    let count = std::env::var_os("COVET_TEST_FAILOVERS").unwrap_or_else(|| "1".into());
    Ok(count.to_string_lossy().parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: scripts/test load; twenty times: scripts/test failover"]
async fn writes_resume_after_the_primarys_machine_is_gone_and_patroni_has_promoted_a_replica() -> Result<()> {
    let mut patroni = Patroni::start().await?;
    let service = service(&patroni.url()).await?;
    let mut account = Account::register(&service, "ada").await?;
    let mut gaps = Vec::new();
    for turn in 1..=failovers()? {
        patroni.wait_whole().await?;
        account.log_in().await?;
        let load = WriteLoad::start(&account);
        load.more_acknowledged(WRITES, SOON).await?;

        let lost = patroni.primary().await?;
        let lost_at = now();
        patroni.lose(lost).await?;
        let (heir, promoted_at) = patroni.promoted_after(lost_at).await?;
        load.more_acknowledged(WRITES, SOON).await?;

        let writes = load.stop().await?;
        writes.check(&patroni.psql(heir, "SELECT id FROM notes").await?, DEADLINE)?;
        let gap = writes.gap(lost_at, promoted_at)?;
        println!("failover {turn}: {}", told(gap, &writes));
        ensure!(gap.from_promotion < LONGEST_GAP, "{gap:?}");
        gaps.push(gap);
        patroni.bring_back(lost).await?;
    }
    // As it was started, once.
    ensure!(service.process()?.status().is_none(), "the service has ended");
    println!("{}", percentiles("the loss", gaps.iter().map(|gap| gap.from_loss)));
    println!("{}", percentiles("the promotion", gaps.iter().map(|gap| gap.from_promotion)));
    Ok(())
}

fn percentiles(since: &str, gaps: impl Iterator<Item = Duration>) -> String {
    let mut seconds: Vec<f64> = gaps.map(|gap| gap.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    let (count, p50, p95) = (seconds.len(), percentile(&seconds, 50), percentile(&seconds, 95));
    format!("{count} failovers, from {since} to the first acknowledged write: p50 {p50:.2} s, p95 {p95:.2} s")
}

/// The smallest of these sorted values that so many per cent of them do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[test]
fn percentiles_are_values_that_were_measured() {
    let values: Vec<f64> = (1..=20_u8).map(f64::from).collect();
    assert_eq!((percentile(&values, 50), percentile(&values, 95)), (10.0, 19.0));
    assert_eq!(percentile(&[3.0], 95), 3.0);
}
