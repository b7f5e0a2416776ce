//! Handlers that fail: too late, by a panic, or because nobody waits any more.

use anyhow::{Context, Result};
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, drill};
use covet_testkit::wait_until;
use serde_json::Value;

#[tokio::test]
async fn a_handler_that_takes_too_long_is_answered_504() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__REQUEST_TIMEOUT", "300ms").start().await?;
    let response = service.client().get(service.url("/stuck")).send().await?;
    assert_eq!(response.status(), 504);
    let problem: Value = response.json().await?;
    assert!(problem["request_id"].is_string(), "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_panicking_handler_is_answered_500_and_leaves_a_trace_in_the_log() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/panic").await?;
    let response = connection.response().await?;
    assert_eq!((response.status, response.header("content-type")), (500, Some("application/problem+json")));
    let problem: Value = serde_json::from_str(&response.text())?;
    let request_id = problem["request_id"].as_str().context("request_id")?;
    assert_eq!(response.header("x-request-id"), Some(request_id));
    assert!(!response.text().contains("on purpose"), "the client learns nothing about the inside: {problem}");
    connection.send_get("/hello").await?;
    assert_eq!(connection.response().await?.status, 200, "the same connection goes on");

    let process = service.process()?;
    let logged = wait_until("the panic in the log", SOON, async || {
        let lines = process.lines().into_iter();
        let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines.find(|line| line["level"] == "ERROR" && line["request_id"] == request_id).ok_or("not there")
    })
    .await?;
    let text = logged.to_string();
    assert!(text.contains("on purpose") && text.contains("drill-service"), "message and backtrace: {text}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_counted_as_499() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/stuck").await?;
    let count = async |name: &str, labels: &[(&str, &str)]| -> Result<f64> {
        Ok(Exposition::parse(&service.metrics().await?)?.sum(name, labels))
    };
    let stuck = [("endpoint", "/stuck")];
    wait_until("the request to be in progress", SOON, async || {
        match count("http_requests_in_progress", &stuck).await {
            Ok(1.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    drop(connection);
    let left = [("endpoint", "/stuck"), ("status", "499")];
    wait_until("a 499", SOON, async || match count("http_requests_total", &left).await {
        Ok(1.0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    assert_eq!(count("http_requests_in_progress", &stuck).await?, 0.0, "its handler is dropped");
    Ok(())
}
