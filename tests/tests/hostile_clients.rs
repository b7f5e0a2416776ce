//! Clients that are slow, greedy or broken get a documented answer and cost a bounded amount of memory.
//!
//! Too many of them at once are in `overload.rs` and `connections.rs`, handlers that fail in `handlers.rs`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, drill};
use covet_testkit::wait_until;
use futures_util::future::try_join_all;

const HEADER_READ_TIMEOUT: &str = "COVET_HTTP__HEADER_READ_TIMEOUT";
const REQUEST_TIMEOUT: &str = "COVET_HTTP__REQUEST_TIMEOUT";
const BODY_LIMIT: &str = "COVET_HTTP__BODY_LIMIT";

#[tokio::test]
async fn a_head_that_trickles_in_is_answered_408_and_the_connection_is_closed() -> Result<()> {
    let service = drill::builder()?.env(HEADER_READ_TIMEOUT, "500ms").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send("GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await?;
    let trickle = async {
        // Every byte is a sign of life; the limit is for the whole head.
        while connection.send("a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Ends by itself once the server has closed its side and the kernel has said so.
    tokio::time::timeout(SOON, trickle).await.context("the server still takes bytes")?;

    let mut silent = Connection::open(service.port()).await?;
    silent.send("GET /hello HTTP/1.1\r\nHost: local").await?;
    let response = silent.response().await?;
    assert_eq!(response.status, 408);
    silent.closed(SOON).await
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_after_the_keep_alive_timeout() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__KEEP_ALIVE_TIMEOUT", "500ms").start().await?;
    let mut silent = Connection::open(service.port()).await?;
    let mut used = Connection::open(service.port()).await?;
    used.send_get("/hello").await?;
    assert_eq!(used.response().await?.status, 200);
    ensure!(silent.response_or_end().await?.is_none());
    ensure!(used.response_or_end().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_body_that_stops_coming_is_answered_408() -> Result<()> {
    let service = drill::builder()?.env(REQUEST_TIMEOUT, "500ms").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nonly this").await?;
    let response = connection.response().await?;
    assert_eq!(response.status, 408, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    connection.closed(SOON).await
}

#[tokio::test]
async fn a_body_of_the_limit_passes_and_one_byte_more_is_answered_413() -> Result<()> {
    let service = drill::builder()?.env(BODY_LIMIT, "64KiB").start().await?;
    let post = async |size: usize| service.client().post(service.url("/echo")).body(vec![b'a'; size]).send().await;
    let largest = post(64 * 1024).await?;
    assert_eq!(largest.status(), 200);
    assert_eq!(largest.bytes().await?.len(), 64 * 1024);
    let larger = post(64 * 1024 + 1).await?;
    assert_eq!(larger.status(), 413);
    assert_eq!(larger.headers()["content-type"], "application/problem+json");
    Ok(())
}

#[tokio::test]
async fn an_announced_body_over_the_limit_is_refused_before_it_is_sent() -> Result<()> {
    let service = drill::builder()?.env(BODY_LIMIT, "64KiB").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n";
    connection.send(head).await?;
    let response = connection.response().await?;
    assert_eq!(response.status, 413, "not 100: {}", response.text());
    connection.closed(SOON).await
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_answered_413_and_not_kept_in_memory() -> Result<()> {
    let service = drill::builder()?.env(BODY_LIMIT, "64KiB").start().await?;
    let process = service.process()?;
    let before = process.rss_bytes()?;
    let upload = async || -> Result<()> {
        let mut connection = Connection::open(service.port()).await?;
        connection.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
        // 64 MiB at most; the server answers long before and stops reading.
        for _ in 0..1000 {
            if connection.send(&chunk).await.is_err() {
                break;
            }
            if connection.has_received() {
                break;
            }
        }
        let response = connection.response().await?;
        ensure!(response.status == 413, "{} {}", response.status, response.text());
        connection.closed(SOON).await
    };
    try_join_all((0..20).map(|_| upload())).await?;
    let grown = process.rss_bytes()?.saturating_sub(before);
    assert!(grown < 24 << 20, "20 uploads that were refused cost {} KiB", grown / 1024);
    Ok(())
}

#[tokio::test]
async fn malformed_requests_are_answered_400_and_the_connection_is_closed() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let malformed: &[&[u8]] = &[
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /hello\r\n\r\n",
        b"GET /hello HTTP/9.9\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET /he llo HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: nine\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n",
    ];
    for request in malformed {
        let shown = String::from_utf8_lossy(request).into_owned();
        let mut connection = Connection::open(service.port()).await?;
        connection.send(request).await?;
        let response = connection.response().await.with_context(|| shown.clone())?;
        ensure!(response.status == 400, "{shown:?} was answered {}", response.status);
        connection.closed(SOON).await.with_context(|| shown.clone())?;
    }
    let polite = service.client().get(service.url("/hello")).send().await?;
    assert_eq!(polite.status(), 200, "the service goes on");
    Ok(())
}

#[tokio::test]
async fn a_head_over_the_limit_is_answered_431() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__HEAD_LIMIT", "16KiB").start().await?;
    let request =
        |size: usize| format!("GET /hello HTTP/1.1\r\nHost: localhost\r\nX-Big: {}\r\n\r\n", "a".repeat(size));
    let mut connection = Connection::open(service.port()).await?;
    connection.send(request(8 * 1024)).await?;
    assert_eq!(connection.response().await?.status, 200);
    // The limit counts what is read at once, so up to twice as much may pass.
    connection.send(request(64 * 1024)).await?;
    assert_eq!(connection.response().await?.status, 431);
    connection.closed(SOON).await
}

#[tokio::test]
async fn more_headers_than_allowed_are_answered_431() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let request = |headers: usize| {
        let headers: String = (0..headers).map(|number| format!("X-{number}: a\r\n")).collect();
        format!("GET /hello HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
    };
    let mut connection = Connection::open(service.port()).await?;
    connection.send(request(99)).await?;
    assert_eq!(connection.response().await?.status, 200);
    connection.send(request(100)).await?;
    assert_eq!(connection.response().await?.status, 431);
    connection.closed(SOON).await
}

#[tokio::test]
async fn a_client_that_takes_nothing_in_is_closed_and_its_response_let_go() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__KEEP_ALIVE_TIMEOUT", "500ms").start().await?;
    let process = service.process()?;
    let directory = format!("/proc/{}/fd", process.pid());
    let open_files = || std::fs::read_dir(&directory).map(Iterator::count);
    let before = open_files()?;
    let body = "x".repeat(20 << 20);
    let mut deaf = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(service.port()).await?;
        let head = format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.send(head + &body).await?;
        deaf.push(connection);
    }
    // Much more than the sockets hold; nobody reads it.
    wait_until("the connections to be closed", SOON, async || match open_files() {
        Ok(count) if count <= before => Ok(()),
        other => Err(format!("{other:?} open files, {before} before")),
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn what_was_refused_is_counted() -> Result<()> {
    let service = drill::builder()?.start().await?;
    for _ in 0..3 {
        let mut connection = Connection::open(service.port()).await?;
        connection.send("GARBAGE\r\n\r\n").await?;
        connection.closed(SOON).await?;
    }
    wait_until("three malformed requests", SOON, async || {
        let metrics = service.metrics().await.map_err(|error| error.to_string())?;
        let count = Exposition::parse(&metrics).map_err(|error| error.to_string())?;
        let count = count.sum("http_malformed_requests_total", &[]);
        if count == 3.0 { Ok(()) } else { Err(count.to_string()) }
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_old_connection_is_asked_to_close() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__MAX_CONNECTION_AGE", "300ms").start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/slow?ms=1000").await?;
    let response = connection.response().await?;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    connection.closed(SOON).await
}

#[tokio::test]
async fn the_shared_runtime_keeps_the_same_promises() -> Result<()> {
    let shared = || Ok::<_, anyhow::Error>(drill::builder()?.env("COVET_HTTP__RUNTIME", "shared"));
    let service = shared()?.env(HEADER_READ_TIMEOUT, "500ms").env(BODY_LIMIT, "64KiB").start().await?;
    let mut slow = Connection::open(service.port()).await?;
    slow.send("GET /hello HTTP/1.1\r\nHost: local").await?;
    assert_eq!(slow.response().await?.status, 408);
    let large = service.client().post(service.url("/echo")).body(vec![b'a'; 100_000]).send().await?;
    assert_eq!(large.status(), 413);
    let mut stuck = Connection::open(service.port()).await?;
    stuck.send_get("/slow?ms=1000").await?;
    service.process()?.signal(covet_testkit::Signal::SIGTERM)?;
    assert_eq!(stuck.response().await?.status, 200);
    assert_eq!(service.process()?.wait_exit(SOON).await?.code(), Some(0));
    Ok(())
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut connection = Connection::open(service.port()).await?;
    let request = |number: u32| {
        let body = format!("request {number}");
        format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let requests: String = (0..200).map(request).collect();
    connection.send(requests).await?;
    for number in 0..200 {
        let response = connection.response().await?;
        assert_eq!((response.status, response.text()), (200, format!("request {number}")));
    }
    Ok(())
}

#[tokio::test]
async fn a_response_is_not_held_back_by_slow_requests_behind_it() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut connection = Connection::open(service.port()).await?;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.send(request("/hello") + &request("/stuck") + &request("/hello")).await?;
    assert_eq!(connection.response().await?.text(), "hello");
    Ok(())
}

#[tokio::test]
async fn http2_without_tls_serves_more_requests_at_once_than_it_allows_streams() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__HTTP2_MAX_STREAMS", "20").start().await?;
    let client = covet_testkit::http_client().http2_prior_knowledge().build()?;
    let requests = (0..500).map(|number| client.post(service.url("/echo")).body(number.to_string()).send());
    for (number, response) in try_join_all(requests).await?.into_iter().enumerate() {
        assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
        assert_eq!(response.text().await?, number.to_string());
    }
    Ok(())
}
