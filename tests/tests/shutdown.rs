//! How a service ends: in which order, how long it waits, and what it says about what it had to cut.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, drill};
use covet_testkit::{Service, Signal, wait_until};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const READINESS_DELAY: &str = "COVET_SHUTDOWN__READINESS_DELAY";
const DEADLINE: &str = "COVET_SHUTDOWN__DEADLINE";
/// Longer than any test may take: whoever waits for it fails.
const FOREVER: &str = "10m";

/// A service that stops accepting as soon as it is told to, and then waits for its work as long as it takes.
async fn patient_service() -> Result<Service> {
    Ok(drill::builder()?.env(READINESS_DELAY, "0s").env(DEADLINE, FOREVER).start().await?)
}

async fn wait_for_readiness(service: &Service, expected: u16) -> Result<()> {
    let url = service.url("/health/ready");
    wait_until(format!("readiness to answer {expected}"), SOON, async || {
        match service.client().get(&url).send().await {
            Ok(response) if response.status() == expected => Ok(()),
            Ok(response) => Err(response.status().to_string()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await?;
    Ok(())
}

/// Waits until the service has a request in its hands.
async fn wait_until_in_progress(service: &Service, endpoint: &str) -> Result<()> {
    let gauge = format!("http_requests_in_progress{{method=\"GET\",endpoint=\"{endpoint}\"}} 1");
    wait_until(format!("a request to {endpoint} to be in progress"), SOON, async || {
        let metrics = service.metrics().await.map_err(|error| error.to_string())?;
        if metrics.contains(&gauge) { Ok(()) } else { Err("none is".to_owned()) }
    })
    .await?;
    Ok(())
}

/// Whether an error in the log names this route as what was still running.
fn names_as_cut(log: &str, route: &str) -> bool {
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.any(|line| {
        let request = line["method"] == "GET" && line["route"] == route;
        let listed = line["still_running"].as_str().is_some_and(|names| names.contains(&format!("GET {route}")));
        line["level"] == "ERROR" && (request || listed)
    })
}

#[tokio::test]
async fn after_sigterm_readiness_fails_first_while_new_connections_are_still_served() -> Result<()> {
    let service = drill::builder()?.env(READINESS_DELAY, "3s").start().await?;
    service.process()?.signal(Signal::SIGTERM)?;
    wait_for_readiness(&service, 503).await?;
    let mut newcomer = Connection::open(service.port()).await?;
    newcomer.send_get("/hello").await?;
    let response = newcomer.response().await?;
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    // So that the proxy in front does not send another request over it.
    assert_eq!(response.header("connection"), Some("close"));
    let alive = service.client().get(service.url("/health/live")).send().await?;
    assert_eq!(alive.status(), 200, "a draining process is alive: restarting it would help nobody");
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    Ok(())
}

#[tokio::test]
async fn sigint_ends_it_as_sigterm_does() -> Result<()> {
    let service = patient_service().await?;
    service.process()?.signal(Signal::SIGINT)?;
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() -> Result<()> {
    let service = patient_service().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/slow?ms=2000").await?;
    wait_until_in_progress(&service, "/slow").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    let response = connection.response().await?;
    assert_eq!(response.status, 200);
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn a_stuck_handler_is_cut_at_the_deadline_and_named_in_the_log() -> Result<()> {
    let service = drill::builder()?.env(READINESS_DELAY, "0s").env(DEADLINE, "500ms").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/stuck").await?;
    wait_until_in_progress(&service, "/stuck").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    let status = service.process()?.wait_exit(SOON).await?;
    let log = service.process()?.lines().join("\n");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(names_as_cut(&log, "/stuck"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_cannot_prevent_the_end() -> Result<()> {
    let service = drill::builder()?.env(READINESS_DELAY, "0s").env(DEADLINE, "500ms").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/block").await?;
    wait_until_in_progress(&service, "/block").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    let status = service.process()?.wait_exit(SOON).await?;
    let log = service.process()?.lines().join("\n");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(names_as_cut(&log, "/block"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Result<()> {
    let service = drill::builder()?.env(READINESS_DELAY, FOREVER).env(DEADLINE, FOREVER).start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/stuck").await?;
    wait_until_in_progress(&service, "/stuck").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    wait_for_readiness(&service, 503).await?;
    service.process()?.signal(Signal::SIGTERM)?;
    let status = service.process()?.wait_exit(SOON).await?;
    let log = service.process()?.lines().join("\n");
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(names_as_cut(&log, "/stuck"), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_websocket_client_sees_close_1001() -> Result<()> {
    let service = patient_service().await?;
    let url = service.url("/ws/echo").replace("http://", "ws://");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    socket.send(Message::text("still there?")).await?;
    assert_eq!(socket.next().await.context("an echo")??, Message::text("still there?"));
    service.process()?.signal(Signal::SIGTERM)?;
    let received = tokio::time::timeout(SOON, socket.next()).await?;
    let Some(Ok(Message::Close(Some(frame)))) = &received else {
        anyhow::bail!("no close frame but {received:?}; {:#?}", service.process()?.lines())
    };
    assert_eq!(frame.code, CloseCode::Away);
    // The client answers the close frame by reading to the end.
    while let Ok(Some(Ok(_))) = tokio::time::timeout(SOON, socket.next()).await {}
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    Ok(())
}

#[tokio::test]
async fn a_websocket_client_that_never_answers_the_close_delays_the_end_only_shortly() -> Result<()> {
    let service = patient_service().await?;
    let mut connection = Connection::open(service.port()).await?;
    let upgrade = "GET /ws/echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    connection.send(upgrade).await?;
    assert_eq!(connection.response().await?.status, 101);
    service.process()?.signal(Signal::SIGTERM)?;
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    Ok(())
}

#[tokio::test]
async fn idle_keep_alive_connections_do_not_delay_the_end() -> Result<()> {
    let service = patient_service().await?;
    let mut connections = Vec::new();
    for number in 0..50 {
        let mut connection = Connection::open(service.port()).await?;
        // Half of them have had a request before.
        if number % 2 == 0 {
            connection.send_get("/hello").await?;
            assert_eq!(connection.response().await?.status, 200);
        }
        connections.push(connection);
    }
    service.process()?.signal(Signal::SIGTERM)?;
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    for mut connection in connections {
        ensure!(connection.response_or_end().await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_does_not_delay_the_end() -> Result<()> {
    let service = drill::builder()?
        .env(READINESS_DELAY, "0s")
        .env(DEADLINE, FOREVER)
        .env("COVET_HTTP__HEADER_READ_TIMEOUT", "1s")
        .start()
        .await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send("GET /hello HTTP/1.1\r\nHost: local").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    Ok(())
}

#[tokio::test]
async fn http2_clients_finish_their_streams() -> Result<()> {
    let service = patient_service().await?;
    let client = covet_testkit::http_client().http2_prior_knowledge().build()?;
    let slow = tokio::spawn(client.get(service.url("/slow?ms=2000")).send());
    wait_until_in_progress(&service, "/slow").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    assert_eq!(slow.await??.status(), 200);
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    Ok(())
}

#[tokio::test]
async fn as_process_1_of_a_container_it_ends_in_time_and_leaves_no_zombies() -> Result<()> {
    let mut wrapper = vec!["unshare", "--pid", "--fork", "--mount-proc"];
    if !nix::unistd::geteuid().is_root() {
        wrapper.extend(["--user", "--map-root-user"]);
    }
    let service = drill::builder()?.wrapper(&wrapper).env(READINESS_DELAY, "0s").env(DEADLINE, FOREVER).start().await?;
    let process = service.process()?;
    let process_1 = *process.descendants().first().context("unshare has no child")?;
    let before = process.descendants();

    // A child of a child loses its parent and becomes a child of process 1, which has to wait for it.
    for _ in 0..5 {
        let response = service.client().post(service.url("/orphan")).send().await?;
        assert_eq!(response.status(), 200, "its own child is still its own: {}", response.text().await?);
    }
    wait_until("the orphans to be gone, not left as zombies", SOON, async || {
        let family = process.descendants();
        if family == before { Ok(()) } else { Err(format!("processes {family:?}, before {before:?}")) }
    })
    .await?;

    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process_1.cast_signed()), Signal::SIGTERM)?;
    // `unshare` passes the exit code on.
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0), "{:#?}", service.process()?.lines());
    Ok(())
}

#[tokio::test]
async fn the_whole_end_takes_no_longer_than_delay_and_deadline() -> Result<()> {
    // What a container's grace period has to be longer than. The test's own limit is generous: it fails when one of the two is ignored.
    let service = drill::builder()?.env(READINESS_DELAY, "500ms").env(DEADLINE, "500ms").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/stuck").await?;
    wait_until_in_progress(&service, "/stuck").await?;
    service.process()?.signal(Signal::SIGTERM)?;
    service.process()?.wait_exit(Duration::from_secs(10)).await?;
    Ok(())
}
