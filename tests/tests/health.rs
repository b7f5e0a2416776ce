//! The four health endpoints, as probes and load balancers see them.

use std::time::Duration;

use anyhow::{Context, Result};
use covet_system_tests::exposition::Exposition;
use covet_system_tests::{SOON, drill};
use covet_testkit::{Service, wait_until};
use serde_json::Value;

async fn get(service: &Service, path: &str) -> Result<(u16, Value)> {
    let response = service.client().get(service.url(path)).timeout(Duration::from_secs(5)).send().await?;
    let status = response.status().as_u16();
    Ok((status, response.json().await?))
}

/// Makes the drill service's own check answer so, and waits until `/health` shows it.
async fn set_check(service: &Service, check: &str, state: &str, shown: &str) -> Result<Value> {
    let answer = service.client().put(service.url(&format!("/check/{check}/{state}"))).send().await?;
    anyhow::ensure!(answer.status().is_success(), "{}", answer.status());
    let report = wait_until(format!("/health to show {check} as {shown}"), SOON, async || {
        let (_, report) = get(service, "/health").await.map_err(|error| format!("{error:#}"))?;
        if report["checks"][check]["status"] == shown { Ok(report) } else { Err(report.to_string()) }
    });
    Ok(report.await?)
}

#[tokio::test]
async fn the_report_has_the_documented_shape() -> Result<()> {
    let service = Service::start().await?;
    let (status, report) = get(&service, "/health").await?;
    assert_eq!(status, 200, "{report}");
    assert!(["healthy", "degraded"].contains(&report["status"].as_str().context("status")?), "{report}");
    assert!(report["uptime_seconds"].is_f64(), "{report}");
    let timestamp = report["timestamp"].as_str().context("timestamp")?;
    assert_eq!(
        (timestamp.len(), &timestamp[19..20], &timestamp[23..]),
        (24, ".", "Z"),
        "milliseconds, UTC: {timestamp}"
    );
    let database = &report["checks"]["database"];
    assert_eq!(database["status"], "healthy");
    for field in ["latency_ms", "connections_active", "connections_idle"] {
        assert!(database[field].is_number(), "{field} in {database}");
    }
    let disk = &report["checks"]["disk_space"];
    assert!(disk["percent_used"].is_number() && disk["free_gb"].is_number() && disk["status"].is_string(), "{disk}");
    let memory = &report["checks"]["memory"];
    assert!(memory["percent_used"].is_number() && memory["available_mb"].is_number(), "{memory}");
    Ok(())
}

#[tokio::test]
async fn version_is_the_same_wherever_it_is_told() -> Result<()> {
    let service = Service::start().await?;
    let (_, report) = get(&service, "/health").await?;
    let version = report["version"].as_str().context("version")?;
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let printed = service.command(&["--version"]).await?.success("--version")?;
    assert_eq!(printed.stdout.trim_end(), format!("covet-api {version}"));
    let metrics = Exposition::parse(&service.metrics().await?)?;
    assert_eq!(metrics.sum("app_version_info", &[("version", version)]), 1.0);
    let openapi = service.command(&["openapi"]).await?.success("openapi")?;
    assert_eq!(serde_json::from_str::<Value>(&openapi.stdout)?["info"]["version"], version);
    Ok(())
}

#[tokio::test]
async fn all_probes_pass_when_all_is_well_and_answers_are_never_cached() -> Result<()> {
    let service = Service::start().await?;
    for path in ["/health", "/health/live", "/health/ready", "/health/startup"] {
        let response = service.client().get(service.url(path)).send().await?;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_critical_check_that_fails_takes_the_instance_out_but_does_not_restart_it() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let report = set_check(&service, "critical", "unhealthy", "unhealthy").await?;
    assert_eq!(report["status"], "unhealthy");
    assert_eq!(get(&service, "/health").await?.0, 503);
    assert_eq!(get(&service, "/health/ready").await?.0, 503);
    assert_eq!(get(&service, "/health/live").await?.0, 200);
    assert_eq!(get(&service, "/health/startup").await?.0, 200);
    let report = set_check(&service, "critical", "healthy", "healthy").await?;
    assert_ne!(report["status"], "unhealthy");
    assert_eq!(get(&service, "/health/ready").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_check_that_is_not_critical_only_degrades() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let report = set_check(&service, "optional", "unhealthy", "unhealthy").await?;
    assert_eq!(report["status"], "degraded");
    assert_eq!(get(&service, "/health").await?.0, 200);
    assert_eq!(get(&service, "/health/ready").await?.0, 200);
    Ok(())
}

#[tokio::test]
async fn a_check_that_hangs_never_hangs_a_probe() -> Result<()> {
    let service = drill::builder()?.env("COVET_HEALTH__CHECK_TIMEOUT", "200ms").start().await?;
    // Every request in here has a limit of 5 s, the shortest time limit of the documented probes.
    let report = set_check(&service, "critical", "hang", "unhealthy").await?;
    let reason = report["checks"]["critical"].to_string();
    assert!(reason.contains("200ms") || reason.contains("200 ms") || reason.contains("0.2"), "{reason}");
    let probes = (0..50).map(|_| get(&service, "/health/ready"));
    for probe in futures_util::future::try_join_all(probes).await? {
        assert_eq!(probe.0, 503);
    }
    Ok(())
}
