//! A connection that has been idle for five seconds puts its buffers away. Nobody may notice, whatever has been sent before.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, drill};
use covet_testkit::{Certificate, Process, Service, Signal, wait_until};

/// Longer than a connection waits before it rests.
const A_WHILE: Duration = Duration::from_millis(6_500);

#[tokio::test]
async fn a_client_that_comes_back_after_a_while_is_served() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut whole = Connection::open(service.port()).await?;
    whole.send_get("/hello").await?;
    assert_eq!(whole.response().await?.text(), "hello");
    let mut never = Connection::open(service.port()).await?;
    for _ in 0..2 {
        tokio::time::sleep(A_WHILE).await;
        whole.send_get("/hello").await?;
        assert_eq!(whole.response().await?.text(), "hello");
    }
    never.send_get("/hello").await?;
    assert_eq!(never.response().await?.text(), "hello");
    Ok(())
}

#[tokio::test]
async fn a_head_may_begin_before_the_rest_and_end_after_it() -> Result<()> {
    let service = drill::builder()?.start().await?;
    // Two requests at once, the second without its end.
    let mut partial = Connection::open(service.port()).await?;
    partial.send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he").await?;
    assert_eq!(partial.response().await?.text(), "hello");
    tokio::time::sleep(A_WHILE).await;
    partial.send("llo HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    assert_eq!(partial.response().await?.text(), "hello");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_pauses_is_no_idle_connection() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/trickle?ms=7000").await?;
    assert_eq!(connection.response().await?.text(), "ab");
    Ok(())
}

#[tokio::test]
async fn a_resting_connection_is_closed_when_the_service_stops() -> Result<()> {
    let service = drill::builder()?.env("COVET_SHUTDOWN__READINESS_DELAY", "0s").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/hello").await?;
    assert_eq!(connection.response().await?.text(), "hello");
    tokio::time::sleep(A_WHILE).await;
    service.process()?.signal(Signal::SIGTERM)?;
    connection.closed(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn a_resting_connection_with_tls_is_served_again() -> Result<()> {
    let certificate = Certificate::self_signed("first").await?;
    let service = Service::builder()
        .env("COVET_HTTP__TLS_CERTIFICATE", certificate.certificate_path().display().to_string())
        .env("COVET_HTTP__TLS_KEY", certificate.key_path().display().to_string())
        .spawn()?;
    let url = format!("https://localhost:{}/health/live", service.port());
    let curl = |more: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--http1.1", "--write-out", "%{http_code} %{num_connects}\n"]);
        curl.arg("--cacert").arg(certificate.certificate_path()).args(more);
        curl.args(["--output", "/dev/null", &url]);
        curl
    };
    wait_until("an answer over TLS", SOON, async || {
        let answer = Process::run("curl", &mut curl(&[]), SOON).await.and_then(|run| run.success("curl"));
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await?;
    // Eight requests a minute: 7.5 seconds between the two.
    let mut twice = curl(&["--rate", "8/m", "--output", "/dev/null", &url]);
    let answers = Process::run("curl", &mut twice, SOON).await?.success("curl")?.stdout;
    ensure!(answers == "200 1\n200 0\n", "the second needs no new connection: {answers:?}");
    Ok(())
}
