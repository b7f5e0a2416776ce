//! The sixty documented metrics: all there before traffic, bounded under abuse. Whether they count right is in
//! `metrics_coverage.rs` and `metrics_exact.rs`, against the machine in `metrics_machine.rs`, in a real Prometheus in
//! `metrics_prometheus.rs`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use covet_system_tests::documented::DOCUMENTED;
use covet_system_tests::drill;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::scrape::{scrape, scrape_until};
use covet_testkit::{OtlpReceiver, Service, TempDir, find_program};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

/// Lints of `promtool check metrics` that the documented names earn, one a line. A new lint fails, and so does one that has gone.
const ACCEPTED_LINTS: &str = include_str!("../promtool-accepted-lints.txt");

#[tokio::test]
async fn all_sixty_documented_names_have_help_and_type_before_any_traffic() -> Result<()> {
    let service = Service::start().await?;
    let response = service.client().get(service.operator_url("/metrics")).send().await?;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let exposition = Exposition::parse(&response.text().await?)?;
    for (name, kind) in DOCUMENTED {
        assert_eq!(exposition.types.get(name).map(String::as_str), Some(kind), "{name}");
        assert!(exposition.helps.get(name).is_some_and(|help| !help.is_empty()), "{name} has no HELP");
    }
    assert_eq!(service.client().get(service.url("/metrics")).send().await?.status(), 404, "not on the API's port");
    Ok(())
}

#[tokio::test]
async fn every_metric_that_is_shown_is_on_the_reference_page() -> Result<()> {
    let page = include_str!("../../docs/reference/metrics.md");
    let (directory, receiver) = (TempDir::new("processes")?, OtlpReceiver::start().await?);
    let service = Service::builder()
        .env("PROMETHEUS_MULTIPROC_DIR", directory.path().display().to_string())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
        .start()
        .await?;
    for name in scrape(&service).await?.types.keys() {
        assert!(
            page.contains(&format!("\n### `{name}`\n")),
            "{name} is declared where the command metrics does not look"
        );
    }
    Ok(())
}

#[tokio::test]
async fn promtool_finds_exactly_the_accepted_lints() -> Result<()> {
    let service = Service::start().await?;
    let metrics = service.metrics().await?;
    let exposition = Exposition::parse(&metrics)?;
    let output = tokio::task::spawn_blocking(move || -> Result<_> {
        let mut promtool = Command::new(find_program("promtool", "prometheus")?);
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = promtool.spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("stdin")?, metrics.as_bytes())?;
        Ok(child.wait_with_output()?)
    })
    .await??;
    let text = String::from_utf8(output.stderr)? + &String::from_utf8(output.stdout)?;
    ensure!(matches!(output.status.code(), Some(0 | 3)), "promtool cannot read it: {text}");
    let found: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let accepted: BTreeSet<&str> =
        ACCEPTED_LINTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!(found.difference(&accepted).collect::<Vec<_>>(), Vec::<&&str>::new(), "new lints");
    // promtool says nothing about a family without a sample.
    let has_sample = |lint: &&&str| {
        let name = lint.split(' ').next().unwrap_or_default();
        exposition.samples.iter().any(|sample| sample.name.starts_with(name))
    };
    let gone: Vec<_> = accepted.difference(&found).filter(has_sample).collect();
    assert_eq!(gone, Vec::<&&str>::new(), "lints that have gone");
    Ok(())
}

#[tokio::test]
async fn ten_thousand_random_paths_add_one_label_value() -> Result<()> {
    let service = Service::builder().env("LOG_LEVEL", "warn").start().await?;
    let before = scrape(&service).await?;
    let mut connection = Connection::open(service.port()).await?;
    for batch in 0..100 {
        let requests: String = (0..100)
            .map(|number| format!("GET /{batch}/{number:x}-{} HTTP/1.1\r\nHost: localhost\r\n\r\n", number * 7919))
            .collect();
        connection.send(requests).await?;
        for _ in 0..100 {
            assert_eq!(connection.response().await?.status, 404);
        }
    }
    let counted = |exposition: &Exposition| exposition.sum("http_requests_total", &[("status", "404")]);
    let after = scrape_until(&service, "10 000 counted requests", |now| counted(now) >= 10_000.0).await?;
    assert_eq!(counted(&after), 10_000.0);
    let added: Vec<_> =
        after.values_of("endpoint").difference(&before.values_of("endpoint")).copied().collect::<Vec<_>>();
    assert_eq!(added.len(), 1, "{added:?}");
    assert_eq!(after.sum("http_requests_total", &[("endpoint", added[0])]), 10_000.0);
    Ok(())
}

#[tokio::test]
async fn unknown_methods_add_one_label_value() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let before = scrape(&service).await?;
    let mut connection = Connection::open(service.port()).await?;
    for number in 0..100 {
        connection.send(format!("METHOD{number} /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")).await?;
        assert_eq!(connection.response().await?.status, 405);
    }
    let counted = |now: &Exposition| now.sum("http_requests_total", &[("status", "405")]);
    let after = scrape_until(&service, "100 counted requests", |now| counted(now) >= 100.0).await?;
    let added = after.values_of("method").difference(&before.values_of("method")).count();
    assert!(added <= 1, "{:?}", after.values_of("method"));
    Ok(())
}

#[tokio::test]
async fn durations_fall_into_the_documented_buckets() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let response = service.client().get(service.url("/slow?ms=30")).send().await?;
    assert_eq!(response.status(), 200);
    let bucket = "http_request_duration_seconds_bucket";
    let slow = [("endpoint", "/slow")];
    let now = scrape_until(&service, "a counted request", |now| now.sum(bucket, &slow) > 0.0).await?;
    let bounds: Vec<&str> = now.matching(bucket, &slow).map(|sample| sample.labels["le"].as_str()).collect();
    assert_eq!(bounds, ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"]);
    let counts: Vec<f64> = now.matching(bucket, &slow).map(|sample| sample.value).collect();
    assert!(counts.is_sorted(), "cumulative: {counts:?}");
    assert_eq!((counts[2], counts[11]), (0.0, 1.0), "30 ms are more than 0.025 s: {counts:?}");
    Ok(())
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_is_not_in_progress_for_ever() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let in_progress = |now: &Exposition| now.sum("http_requests_in_progress", &[("endpoint", "/echo")]);
    let mut connection = Connection::open(service.port()).await?;
    connection.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npart").await?;
    scrape_until(&service, "the upload to be in progress", |now| in_progress(now) == 1.0).await?;
    drop(connection);
    scrape_until(&service, "nothing to be in progress", |now| in_progress(now) == 0.0).await?;
    Ok(())
}

#[tokio::test]
async fn websocket_connections_and_messages_are_counted() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let url = service.url("/ws/echo").replace("http://", "ws://");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    for _ in 0..3 {
        socket.send(Message::text("hello")).await?;
        socket.next().await.context("an echo")??;
    }
    let endpoint = [("endpoint", "/ws/echo")];
    let now = scrape_until(&service, "three messages each way", |now| {
        now.sum("websocket_messages_sent", &endpoint) == 3.0 && now.sum("websocket_messages_received", &endpoint) == 3.0
    });
    assert_eq!(now.await?.sum("websocket_connections_total", &[]), 1.0);
    socket.close(None).await?;
    while socket.next().await.is_some() {}
    scrape_until(&service, "no connection", |now| now.sum("websocket_connections_total", &[]) == 0.0).await?;
    Ok(())
}
