//! Many logins at once: each costs as much as thousands of other requests, and the others must hardly notice.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet::clock::Clock;
use covet_testkit::Service;
use serde_json::{Value, json};

const PASSWORD: &str = "seven grey herons wait";
/// Requests of each measurement, one after the other.
const REQUESTS: usize = 500;
/// The clients of this test take their turns on the same cores as the service.
const SLACK: Duration = Duration::from_millis(30);
/// Argon2id's memory of two at a time, their stacks, and the connections.
const MOST_GROWTH_BYTES: u64 = 96 << 20;

/// The slowest but one in a hundred.
async fn p99(service: &Service, path: &str, token: &str) -> Result<Duration> {
    let clock = Clock::system();
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let started = clock.monotonic();
        service.client().get(service.url(path)).bearer_auth(token).send().await?.error_for_status()?;
        times.push(clock.monotonic().duration_since(started));
    }
    times.sort();
    Ok(times[REQUESTS * 99 / 100])
}

/// The most memory that the process has had.
fn peak_bytes(service: &Service) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", service.process()?.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

#[tokio::test]
#[ignore = "needs the machine for itself: scripts/test load"]
async fn other_requests_go_on_under_load_of_two_hundred_logins() -> Result<()> {
    // Fewer places than logins, so that some are refused. The limit by address would let ten a minute through.
    let builder = Service::builder().env("COVET_AUTH__PASSWORD_QUEUE", "100").env("COVET_RATE_LIMIT__ENABLED", "false");
    let service = Arc::new(builder.start().await?);
    let post = async |path: &str, body: Value| service.client().post(service.url(path)).json(&body).send().await;
    let ada = json!({"email": "ada@covet.example", "password": PASSWORD});
    let registration = json!({"email": "ada@covet.example", "password": PASSWORD, "name": "Ada"});
    post("/api/auth/register", registration).await?.error_for_status()?;
    let tokens: Value = post("/api/auth/login", ada.clone()).await?.error_for_status()?.json().await?;
    let token = tokens["access_token"].as_str().context("token")?;

    let routes = ["/health/live", "/api/users/me"];
    let mut idle = Vec::new();
    for route in routes {
        p99(&service, route, token).await?;
        idle.push(p99(&service, route, token).await?);
    }
    let before_bytes = peak_bytes(&service)?;

    let (over, done, refused) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let (service, over, ada) = (Arc::clone(&service), Arc::clone(&over), ada.clone());
            let (done, refused) = (Arc::clone(&done), Arc::clone(&refused));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let login = service.client().post(service.url("/api/auth/login")).json(&ada).send().await?;
                    match login.status().as_u16() {
                        200 => done.fetch_add(1, Ordering::Relaxed),
                        status => {
                            ensure!([429, 503].contains(&status), "{status}");
                            ensure!(login.headers().contains_key("retry-after"), "when to come back");
                            // As it was told.
                            tokio::time::sleep(Duration::from_secs(1)).await;
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
                Ok(())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut busy = Vec::new();
    for route in routes {
        busy.push(p99(&service, route, token).await?);
    }
    over.store(true, Ordering::Relaxed);
    for login in flood {
        login.await??;
    }
    let growth_bytes = peak_bytes(&service)?.saturating_sub(before_bytes);
    let (done, refused) = (done.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    for ((route, idle), busy) in routes.iter().zip(&idle).zip(&busy) {
        println!("{route}: p99 {idle:.2?} idle, {busy:.2?} with 200 logins at once");
    }
    println!("{done} logins, {refused} refused, {} MiB more at the peak", growth_bytes >> 20);
    assert!(done > 0 && refused > 0, "{done} {refused}");
    assert!(growth_bytes <= MOST_GROWTH_BYTES, "{growth_bytes} bytes");
    for ((route, idle), busy) in routes.iter().zip(idle).zip(busy) {
        assert!(busy <= idle * 2 + SLACK, "{route}: p99 {busy:?} for {idle:?} idle");
    }
    Ok(())
}
