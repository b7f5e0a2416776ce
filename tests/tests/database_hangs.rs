//! A PostgreSQL that hangs: connections stay open, nothing is answered. The worst kind, because nobody is told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet::clock::Clock;
use covet_system_tests::write_load::try_again;
use covet_system_tests::{SOON, drill};
use covet_testkit::{Postgres, Process, Service, wait_until};
use futures_util::future::{join_all, try_join_all};

/// Connections that hang at once, each in the middle of a statement.
const HUNG: usize = 50;
/// `COVET_HTTP__REQUEST_TIMEOUT`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The shortest time limit of a documented probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one core. Near idle is a hundredth of it; a loop that never rests takes all of it.
const MOST_CPU: f64 = 0.25;

async fn probe(service: &Service, path: &str) -> Result<u16> {
    let request = service.client().get(service.url(path)).timeout(PROBE_TIMEOUT);
    Ok(request.send().await.with_context(|| format!("{path} within {PROBE_TIMEOUT:?}"))?.status().as_u16())
}

/// Processor time that a process uses while something happens, as a share of one core.
async fn cpu_while(process: &Process, happens: impl Future<Output = Result<()>>) -> Result<f64> {
    let clock = Clock::system();
    let (began, before) = (clock.monotonic(), process.cpu_time()?);
    happens.await?;
    let took = clock.monotonic() - began;
    Ok((process.cpu_time()? - before).as_secs_f64() / took.as_secs_f64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_hung_connections_are_told_by_readiness_cost_no_cpu_and_heal_by_themselves() -> Result<()> {
    let postgres = Postgres::start().await?;
    let service = drill::builder()?
        .env("DATABASE_URL", postgres.url())
        .env("COVET_DATABASE__POOL_MAX", (HUNG + 10).to_string())
        .env("COVET_HTTP__REQUEST_TIMEOUT", format!("{}s", REQUEST_TIMEOUT.as_secs()))
        .start()
        .await?;
    let get = async |path: &str| Ok::<_, anyhow::Error>(service.client().get(service.url(path)).send().await?);

    let clock = Clock::system();
    let sleep = async || {
        try_again(get("/db/sleep?ms=5000").await?).await?;
        Ok::<_, anyhow::Error>(clock.monotonic())
    };
    let hung = async {
        wait_until("all to be under way", SOON, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            match postgres.psql(sql).await {
                Ok(count) if count == HUNG.to_string() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        assert_eq!(probe(&service, "/health/ready").await?, 200);
        postgres.pause()?;
        let paused = clock.monotonic();
        // Whoever asks now is answered too.
        let new = async || try_again(get("/db/sleep?ms=0").await?).await;
        let readiness = wait_until("readiness to tell", SOON, async || {
            let probes =
                async { Ok((probe(&service, "/health/live").await?, probe(&service, "/health/ready").await?)) };
            match probes.await.map_err(|error: anyhow::Error| format!("{error:#}"))? {
                (200, 503) => Ok(clock.monotonic() - paused),
                (200, 200) => Err("ready".to_owned()),
                other => panic!("live and ready: {other:?}"),
            }
        });
        let mut told_after = Duration::ZERO;
        let cpu = cpu_while(service.process()?, async {
            let asked = async { try_join_all((0..HUNG).map(|_| new())).await };
            let (_, told) = tokio::try_join!(asked, async { Ok(readiness.await?) })?;
            told_after = told;
            Ok(())
        });
        let cpu = cpu.await?;
        Ok::<_, anyhow::Error>((paused, told_after, cpu))
    };
    let (slept, hung) = tokio::join!(join_all((0..HUNG).map(|_| sleep())), hung);
    let (paused, told_after, cpu_at_first) = hung?;
    let mut slowest = Duration::ZERO;
    for answered in slept {
        slowest = slowest.max(answered?.saturating_duration_since(paused));
    }
    ensure!(slowest < REQUEST_TIMEOUT + Duration::from_secs(2), "a request was answered after {slowest:?}");

    // As long as it lasts.
    let cpu = cpu_while(service.process()?, async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(())
    })
    .await?;
    assert_eq!(probe(&service, "/health/ready").await?, 503);
    assert_eq!(probe(&service, "/health/live").await?, 200);
    try_again(get("/db/sleep?ms=0").await?).await?;
    println!(
        "readiness told after {told_after:?}, the last of {HUNG} was answered after {slowest:?}; CPU {:.1} % of a core until then, \
         {:.1} % after it",
        cpu_at_first * 100.0,
        cpu * 100.0
    );
    ensure!(cpu_at_first < MOST_CPU && cpu < MOST_CPU, "{cpu_at_first} and {cpu} of a core");

    postgres.resume()?;
    wait_until("the service to be ready again", SOON, async || match probe(&service, "/health/ready").await {
        Ok(200) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    ensure!(get("/db/sleep?ms=0").await?.status() == 200);
    ensure!(service.process()?.status().is_none(), "the service has ended");
    Ok(())
}
