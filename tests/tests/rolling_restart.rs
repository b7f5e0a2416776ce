//! Deployments that nobody notices: instances are replaced one after another behind NGINX, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Result, ensure};
use covet_system_tests::account::Account;
use covet_system_tests::limits;
use covet_system_tests::wrk::Load;
use covet_testkit::{Nginx, Service, TempDir};
use serde_json::json;

const INSTANCES: usize = 3;
const ROUNDS: usize = 10;

/// Instances of `covet-api` that share a database and keys, as replicas do.
async fn replicas(shared: &TempDir) -> Result<Vec<Service>> {
    let database = format!("sqlite://{}", shared.join("covet.db").display());
    let mut services = Vec::new();
    for _ in 0..INSTANCES {
        let service = Service::builder()
            .env("DATABASE_URL", &database)
            .env("COVET_SHUTDOWN__READINESS_DELAY", "1s")
            .env("COVET_SHUTDOWN__DEADLINE", "20s")
            .env("COVET_HTTP__TRUSTED_PROXIES", "127.0.0.1/32")
            .start()
            .await?;
        services.push(service);
    }
    Ok(services)
}

/// Writes notes one after another until told to stop; every answer but 201 is kept.
async fn write_notes(account: Account, go_on: Arc<AtomicBool>, written: Arc<AtomicU64>) -> Vec<String> {
    let mut failures = Vec::new();
    while go_on.load(Ordering::Relaxed) {
        let title = format!("note {}", written.load(Ordering::Relaxed));
        match account.post("/api/notes", &json!({"title": title, "body": "text"})).send().await {
            Ok(response) if response.status() == 201 => {
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok(response) => failures.push(format!("{}: {:?}", response.status(), response.text().await)),
            Err(error) => failures.push(format!("{error:?}")),
        }
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: scripts/test load"]
async fn ten_rolling_restarts_under_load_fail_no_request() -> Result<()> {
    limits::allow_open_files(8192)?;
    let shared = TempDir::new("replicas")?;
    let mut services = replicas(&shared).await?;
    let nginx = Nginx::in_front_of(services.iter().map(Service::port)).start().await?;
    let client = covet_testkit::http_client().build()?;
    let account = Account::register_at(client, nginx.url().to_owned(), "ada").await?;

    let authorization = format!("Authorization: Bearer {}", account.access_token);
    let reads = Load::start(&format!("{}/api/users?limit=10", nginx.url()), 32, &[authorization])?;
    let (go_on, written) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> =
        (0..2).map(|_| tokio::spawn(write_notes(account.clone(), Arc::clone(&go_on), Arc::clone(&written)))).collect();

    for round in 1..=ROUNDS {
        for (number, service) in services.iter_mut().enumerate() {
            let log = || format!("round {round}, instance {number}");
            let status = service.restart().await?;
            ensure!(status.code() == Some(0), "{}: the old process ended with {status}", log());
        }
    }

    go_on.store(false, Ordering::Relaxed);
    let mut failures = Vec::new();
    for writer in writers {
        failures.extend(writer.await?);
    }
    let report = reads.stop().await?;
    assert_eq!(
        (report.socket_errors, report.bad_statuses),
        (0, 0),
        "{report:?}; NGINX: {:#?}",
        nginx.process()?.lines()
    );
    assert_eq!(failures, Vec::<String>::new(), "NGINX: {:#?}", nginx.process()?.lines());
    let written = written.load(Ordering::Relaxed);
    ensure!(report.requests > 1_000 && written > 100, "too little load to prove anything: {report:?}, {written} notes");
    println!("{} rolling restarts: {} reads and {written} writes, none failed", ROUNDS, report.requests);
    Ok(())
}
