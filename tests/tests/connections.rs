//! Ten thousand connections at once: what the service documents as its limit, and what each one costs.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, limits};
use covet_testkit::{Service, wait_until};

const CONNECTIONS: usize = 10_000;
/// Of resident memory, for a connection that has had a request and waits for the next one.
const MOST_BYTES_EACH: u64 = 16 * 1024;

/// Opens connections from ten addresses of the loopback network; each one gets an answer before the next hundred are opened.
async fn open(service: &Service) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    while connections.len() < CONNECTIONS {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(connections.len() / 100 % 10)? + 2);
        let mut batch = Vec::new();
        for _ in 0..100 {
            let mut connection = Connection::open_from(source, service.port()).await?;
            connection.send_get("/health/live").await?;
            batch.push(connection);
        }
        for connection in &mut batch {
            let status = connection.response().await?.status;
            ensure!(status == 200, "connection {}: {status}", connections.len());
        }
        connections.append(&mut batch);
    }
    Ok(connections)
}

async fn wait_for_open_files_below(service: &Service, most: usize) -> Result<()> {
    let directory = format!("/proc/{}/fd", service.process()?.pid());
    wait_until(format!("fewer than {most} open files"), SOON, async || {
        let count = std::fs::read_dir(&directory).map_err(|error| error.to_string())?.count();
        if count < most { Ok(()) } else { Err(format!("{count}")) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs the machine for itself: scripts/test load"]
async fn ten_thousand_idle_connections_cost_a_bounded_amount_of_memory() -> Result<()> {
    limits::allow_open_files(CONNECTIONS as u64 + 1_000)?;
    let service = Service::builder().env("LOG_LEVEL", "warn").start().await?;
    let process = service.process()?;
    let before = process.rss_bytes()?;

    let mut connections = open(&service).await?;
    let first = process.rss_bytes()?;
    let each = first.saturating_sub(before) / CONNECTIONS as u64;
    let health = service.client().get(service.url("/health/ready")).send().await?;
    assert_eq!(health.status(), 200, "it still answers others");
    for connection in connections.iter_mut().step_by(1_000) {
        connection.send_get("/health/live").await?;
        assert_eq!(connection.response().await?.status, 200, "and those who come back");
    }
    drop(connections);
    wait_for_open_files_below(&service, 500).await?;

    // What grew is used again, and the allocator takes some rounds to find its size: the peaks wander about twice the first. A
    // leak of a tenth of a connection shows in six rounds.
    let mut peaks = vec![first];
    for _ in 1..12 {
        let again = open(&service).await?;
        peaks.push(process.rss_bytes()?);
        drop(again);
        wait_for_open_files_below(&service, 500).await?;
    }
    let peak_kib: Vec<u64> = peaks.iter().map(|peak| peak / 1024).collect();
    println!("{CONNECTIONS} idle connections: {each} bytes each; peaks of {} rounds in KiB: {peak_kib:?}", peaks.len());
    assert!(each <= MOST_BYTES_EACH, "{each} bytes of memory for each connection");
    let (early, late) = (peaks[..6].iter().max(), peaks[6..].iter().max());
    let grown = late.zip(early).map_or(0, |(late, early)| late.saturating_sub(*early));
    assert!(grown <= CONNECTIONS as u64 * MOST_BYTES_EACH / 2, "still growing: {peak_kib:?} KiB");
    Ok(())
}
