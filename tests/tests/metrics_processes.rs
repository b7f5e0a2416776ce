//! Several processes of one service, scraped as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::scrape::{scrape, scrape_until};
use covet_system_tests::{SOON, drill};
use covet_testkit::{Process, Service, ServiceBuilder, Signal, TempDir, wait_until};

const DIRECTORY: &str = "PROMETHEUS_MULTIPROC_DIR";

fn member(directory: &TempDir) -> Result<ServiceBuilder> {
    Ok(drill::builder()?.env(DIRECTORY, directory.path().display().to_string()))
}

/// Another process on the ports of `first`.
async fn sibling(first: &Service, directory: &TempDir) -> Result<Service> {
    let sibling = member(directory)?
        .env("PORT", first.port().to_string())
        .env("METRICS_PORT", first.operator_port().to_string())
        .spawn()?;
    sibling.process()?.wait_for_line("\"message\":\"ready\"", SOON).await?;
    Ok(sibling)
}

async fn three(directory: &TempDir) -> Result<[Service; 3]> {
    let first = member(directory)?.start().await?;
    let (second, third) = (sibling(&first, directory).await?, sibling(&first, directory).await?);
    Ok([first, second, third])
}

/// A scrape on a connection of its own, answered by any of those who share the port.
async fn scrape_any(service: &Service) -> Result<Exposition> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let response = client.get(service.operator_url("/metrics")).send().await?.error_for_status()?;
    Exposition::parse(&response.text().await?)
}

async fn hello(service: &Service, times: usize) -> Result<()> {
    let mut connection = Connection::open(service.port()).await?;
    for _ in 0..times {
        connection.send_get("/hello").await?;
        ensure!(connection.response().await?.status == 200, "not answered");
    }
    Ok(())
}

fn hellos(now: &Exposition) -> f64 {
    now.sum("http_requests_total", &[("endpoint", "/hello"), ("status", "200")])
}

#[tokio::test]
async fn whichever_process_is_scraped_shows_the_sum_of_all() -> Result<()> {
    let directory = TempDir::new("processes")?;
    let services = three(&directory).await?;
    let first = &services[0];
    for _ in 0..60 {
        hello(first, 5).await?;
    }
    let url = first.url("/ws/echo").replace("http://", "ws://");
    let mut sockets = Vec::new();
    for _ in 0..6 {
        sockets.push(tokio_tungstenite::connect_async(&url).await?);
    }
    let settled = scrape_until(first, "300 requests and 6 sockets", |now| {
        hellos(now) == 300.0 && now.sum("websocket_connections_total", &[]) == 6.0
    });
    settled.await?;
    wait_until("lines of more than one process", SOON, async || {
        let lines = |service: &Service| service.process().map(Process::lines).unwrap_or_default();
        let served = |service: &&Service| lines(service).iter().any(|line| line.contains("\"path\":\"/hello\""));
        let count = services.iter().filter(served).count();
        if count > 1 { Ok(()) } else { Err(format!("{count} had requests: the test shows nothing")) }
    })
    .await?;

    let workers = std::thread::available_parallelism()?.get();
    for _ in 0..20 {
        let now = scrape_any(first).await?;
        assert_eq!(hellos(&now), 300.0);
        let hello = [("method", "GET"), ("endpoint", "/hello")];
        assert_eq!(now.sum("http_request_duration_seconds_count", &hello), 300.0);
        let last = [("method", "GET"), ("endpoint", "/hello"), ("le", "+Inf")];
        assert_eq!(now.sum("http_request_duration_seconds_bucket", &last), 300.0);
        assert_eq!(now.sum("http_response_size_bytes_sum", &hello), 1500.0);
        assert_eq!(now.sum("websocket_connections_total", &[]), 6.0);
        assert_eq!(now.sum("app_workers_total", &[]), (3 * workers) as f64);
        assert_eq!(now.sum("app_info", &[]), 1.0);
        assert_eq!(now.sum("metrics_processes", &[]), 3.0);
        assert_eq!(now.sum("metrics_collector_failures_total", &[]), 0.0);
    }
    // Of the machine there is one, and the oldest process counts.
    let now = scrape(first).await?;
    let total = std::fs::read_to_string("/proc/meminfo")?;
    let total: f64 = total.split_whitespace().nth(1).context("MemTotal")?.parse()?;
    assert!(now.sum("system_memory_usage_bytes", &[("type", "total")]) <= total * 1024.0);
    let age = now.sum("app_uptime_seconds", &[]);
    assert!(age > 0.0 && age < 600.0, "{age}");
    Ok(())
}

#[tokio::test]
async fn no_counter_goes_back_when_a_process_ends_or_is_killed() -> Result<()> {
    let directory = TempDir::new("processes")?;
    let [first, mut second, mut third] = three(&directory).await?;
    let (answered, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let port = first.port();
    let load = tokio::spawn({
        let (answered, over) = (Arc::clone(&answered), Arc::clone(&over));
        async move {
            while !over.load(Relaxed) {
                // A killed process takes its connections along.
                let Ok(mut connection) = Connection::open(port).await else { continue };
                for _ in 0..10 {
                    if connection.send_get("/hello").await.is_err() || connection.response().await.is_err() {
                        break;
                    }
                    answered.fetch_add(1, Relaxed);
                }
            }
        }
    });
    let mut seen = vec![0.0];
    let mut watch = async |scrapes: usize| -> Result<()> {
        for _ in 0..scrapes {
            // The process that was to answer may just have been killed.
            if let Ok(now) = scrape_any(&first).await {
                seen.push(hellos(&now));
            }
        }
        Ok(())
    };
    watch(20).await?;
    second.kill9().await?;
    watch(20).await?;
    ensure!(third.stop().await?.success(), "it does not end as it should");
    watch(20).await?;
    let fourth = sibling(&first, &directory).await?;
    watch(20).await?;
    over.store(true, Relaxed);
    load.await?;
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.len() > 60, "{seen:?}");
    let processes = |now: &Exposition| now.sum("metrics_processes", &[]) == 2.0;
    let now = scrape_until(&first, "two processes", processes).await?;
    let answered = answered.load(Relaxed) as f64;
    // What the killed one counted after its last scrape was never shown, and is lost.
    assert!(hellos(&now) <= answered && hellos(&now) > answered * 0.5, "{} of {answered}", hellos(&now));
    drop(fourth);
    Ok(())
}

#[tokio::test]
async fn counts_of_a_process_that_ended_are_complete() -> Result<()> {
    let directory = TempDir::new("processes")?;
    let first = member(&directory)?.start().await?;
    let mut second = member(&directory)?.start().await?;
    hello(&first, 10).await?;
    hello(&second, 32).await?;
    // Nobody has scraped the second one.
    ensure!(second.stop().await?.success(), "it does not end as it should");
    let now = scrape_until(&first, "42 requests", |now| hellos(now) == 42.0).await?;
    assert_eq!(now.sum("metrics_processes", &[]), 1.0);
    let left: Vec<_> =
        std::fs::read_dir(directory.path())?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    assert_eq!(left.iter().filter(|name| name.ends_with(".socket")).count(), 1, "{left:?}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_does_not_answer_is_shown_with_its_last_counts_and_told() -> Result<()> {
    let directory = TempDir::new("processes")?;
    let (first, second) = (member(&directory)?.start().await?, member(&directory)?.start().await?);
    hello(&second, 7).await?;
    scrape_until(&first, "7 requests", |now| hellos(now) == 7.0).await?;
    let failures = [("collector", "processes")];
    let failed = |now: &Exposition| now.sum("metrics_collector_failures_total", &failures);

    second.process()?.signal(Signal::SIGSTOP)?;
    let now = scrape(&first).await?;
    assert_eq!((hellos(&now), now.sum("metrics_processes", &[])), (7.0, 1.0));
    scrape_until(&first, "a counted failure", |now| failed(now) > 0.0).await?;
    second.process()?.signal(Signal::SIGCONT)?;
    hello(&second, 1).await?;
    scrape_until(&first, "8 requests", |now| hellos(now) == 8.0 && now.sum("metrics_processes", &[]) == 2.0).await?;
    Ok(())
}

#[tokio::test]
async fn the_first_process_after_all_have_gone_begins_anew() -> Result<()> {
    let directory = TempDir::new("processes")?;
    let mut first = member(&directory)?.start().await?;
    let mut second = member(&directory)?.start().await?;
    hello(&first, 3).await?;
    hello(&second, 3).await?;
    scrape_until(&first, "6 requests", |now| hellos(now) == 6.0).await?;
    first.kill9().await?;
    second.stop().await?;
    first.start_again().await?;
    assert_eq!(hellos(&scrape(&first).await?), 0.0);
    Ok(())
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_told_with_what_to_do() -> Result<()> {
    let service = drill::builder()?.env(DIRECTORY, "/proc/no/such/place").spawn()?;
    let process = service.process()?;
    let status = process.wait_exit(SOON).await?;
    assert_eq!(status.code(), Some(2));
    let told = process.stderr();
    assert!(told.contains(DIRECTORY) && told.contains("/proc/no/such/place"), "{told}");
    Ok(())
}

#[tokio::test]
async fn without_the_directory_a_second_process_is_told_that_the_port_is_in_use() -> Result<()> {
    let first = drill::builder()?.start().await?;
    let second = drill::builder()?.env("METRICS_PORT", first.operator_port().to_string()).spawn()?;
    let process = second.process()?;
    wait_until("the second process to end", SOON, async || process.status().ok_or("it runs")).await?;
    assert!(process.stderr().contains("is in use by another process"), "{}", process.stderr());
    Ok(())
}
