//! The service's command line: data on standard output, exit code 0, 1 or 2, nothing started that was not asked for.

use anyhow::{Context, Result};
use covet_testkit::Service;
use serde_json::Value;

#[tokio::test]
async fn routes_lists_methods_and_paths() -> Result<()> {
    let service = Service::builder().prepare()?;
    let routes = service.command(&["routes"]).await?.success("routes")?.stdout;
    for (method, path) in [("POST", "/api/auth/register"), ("GET", "/api/users"), ("GET", "/health/ready")] {
        let listed =
            routes.lines().any(|line| line.contains(method) && line.split_whitespace().any(|word| word == path));
        assert!(listed, "{method} {path} is not in:\n{routes}");
    }
    Ok(())
}

#[tokio::test]
async fn config_json_names_its_schema_and_the_source_of_every_value() -> Result<()> {
    let service = Service::builder().prepare()?;
    let config = service.command(&["config", "--json"]).await?.success("config --json")?;
    let config: Value = serde_json::from_str(&config.stdout)?;
    assert_eq!(config["schema"], "covet.settings/1");
    assert_eq!(config["environment"], "development");
    let settings = config["settings"].as_array().context("settings")?;
    assert!(settings.len() > 30, "{}", settings.len());
    assert!(settings.iter().all(|setting| setting["provenance"] != Value::Null));
    Ok(())
}

#[tokio::test]
async fn openapi_is_the_document_that_the_service_serves() -> Result<()> {
    let service = Service::start().await?;
    let printed = service.command(&["openapi"]).await?.success("openapi")?;
    let printed: Value = serde_json::from_str(&printed.stdout)?;
    assert!(printed["openapi"].as_str().context("openapi")?.starts_with("3.1"), "{}", printed["openapi"]);
    let served: Value = service.client().get(service.url("/api/openapi.json")).send().await?.json().await?;
    assert_eq!(printed, served);
    let docs = service.client().get(service.url("/docs")).send().await?;
    assert_eq!(docs.status(), 200);
    assert!(docs.headers()["content-type"].to_str()?.starts_with("text/html"));
    Ok(())
}

#[tokio::test]
async fn healthcheck_is_0_for_a_ready_service_and_1_otherwise() -> Result<()> {
    let mut service = Service::start().await?;
    let healthy = service.command(&["healthcheck"]).await?;
    assert_eq!(healthy.code(), Some(0), "{}", healthy.output());
    service.stop().await?;
    let gone = service.command(&["healthcheck"]).await?;
    assert_eq!(gone.code(), Some(1), "{}", gone.output());
    assert!(gone.output().contains(&service.port().to_string()), "it says where it asked: {}", gone.output());
    Ok(())
}

#[tokio::test]
async fn healthcheck_says_which_check_failed() -> Result<()> {
    let service = covet_system_tests::drill::builder()?.start().await?;
    service.client().put(service.url("/check/critical/unhealthy")).send().await?;
    covet_testkit::wait_until("the health check to fail", covet_system_tests::SOON, async || {
        let finished = service.command(&["healthcheck"]).await.map_err(|error| error.to_string())?;
        if finished.code() == Some(1) && finished.output().contains("critical") {
            Ok(())
        } else {
            Err(finished.output())
        }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn migrations_go_up_and_down_and_say_where_they_are() -> Result<()> {
    let service = Service::builder().prepare()?;
    let status = service.command(&["migrate", "status"]).await?;
    assert!(status.output().contains("0001"), "{}", status.output());
    service.command(&["migrate", "up"]).await?.success("migrate up")?;
    let all_up = service.command(&["migrate", "status"]).await?.success("migrate status")?;
    service.command(&["migrate", "up"]).await?.success("migrate up, a second time")?;
    assert_eq!(service.command(&["migrate", "status"]).await?.stdout, all_up.stdout, "a second time changes nothing");
    service.command(&["migrate", "down"]).await?.success("migrate down")?;
    assert_ne!(service.command(&["migrate", "status"]).await?.stdout, all_up.stdout);
    Ok(())
}

#[tokio::test]
async fn an_unknown_command_is_refused_with_a_hint() -> Result<()> {
    let service = Service::builder().prepare()?;
    let finished = service.command(&["rotues"]).await?;
    assert_eq!(finished.code(), Some(2), "{}", finished.output());
    assert!(finished.output().contains("routes"), "{}", finished.output());
    Ok(())
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_variable() -> Result<()> {
    let taken = covet_testkit::free_port()?;
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", taken))?;
    let finished = Service::builder().env("PORT", taken.to_string()).prepare()?.command(&[]).await?;
    assert_eq!(finished.code(), Some(2), "{}", finished.output());
    let output = finished.output();
    assert!(output.contains("PORT") && output.contains(&taken.to_string()), "{output}");
    Ok(())
}
