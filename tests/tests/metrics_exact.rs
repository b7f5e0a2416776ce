//! Ten thousand requests of every kind, counted by the client and by the service: the same numbers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use covet_system_tests::drill;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::scrape::{scrape, scrape_until};
use futures_util::future::try_join_all;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

const CLIENTS: usize = 8;
const EACH: usize = 1_250;
const MESSAGES: usize = 2;

/// Method, endpoint, status.
type Series = (String, String, String);

/// What a client did.
#[derive(Debug, Default)]
struct Done {
    requests: BTreeMap<Series, f64>,
    uploaded_bytes: f64,
    messages: f64,
}

impl Done {
    fn count(&mut self, method: &str, endpoint: &str, status: u16) {
        let series = (method.to_owned(), endpoint.to_owned(), status.to_string());
        *self.requests.entry(series).or_default() += 1.0;
    }

    fn sum(&self, of: impl Fn(&Series) -> bool) -> f64 {
        self.requests.iter().filter(|(series, _)| of(series)).map(|(_, count)| count).sum()
    }
}

/// Sends requests of all kinds, one after the other, on one connection where the kind allows it.
async fn client(port: u16, number: usize) -> Result<Done> {
    let mut done = Done::default();
    let mut connection = Connection::open(port).await?;
    for request in 0..EACH {
        let (method, path, endpoint, body) = match request % 25 {
            0..=12 => ("GET", "/hello".to_owned(), "/hello", 0),
            13..=15 => ("GET", format!("/nowhere/{number}/{request}"), "unmatched", 0),
            16 => ("POST", "/hello".to_owned(), "/hello", 3),
            17..=19 => ("POST", "/echo".to_owned(), "/echo", request + 1),
            20 => ("GET", "/fail".to_owned(), "/fail", 0),
            21 => ("GET", "/panic".to_owned(), "/panic", 0),
            22 => ("BREW", "/hello".to_owned(), "/hello", 0),
            23 => {
                leave(port).await?;
                done.count("GET", "/stuck", 499);
                continue;
            }
            _ => {
                talk(port).await?;
                done.count("GET", "/ws/echo", 101);
                done.messages += MESSAGES as f64;
                continue;
            }
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body}\r\n\r\n");
        connection.send([head.into_bytes(), vec![b'x'; body]].concat()).await?;
        let response = connection.response().await?;
        let method = if method == "BREW" { "OTHER" } else { method };
        done.count(method, endpoint, response.status);
        if endpoint == "/echo" {
            assert_eq!(response.body.len(), body);
            done.uploaded_bytes += body as f64;
        }
    }
    Ok(done)
}

/// Asks for what never comes, and goes.
async fn leave(port: u16) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    connection.send_get("/stuck").await
}

/// Opens a WebSocket, hears its messages again, and closes it.
async fn talk(port: u16) -> Result<()> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/ws/echo")).await?;
    for _ in 0..MESSAGES {
        socket.send(Message::text("hello")).await?;
        socket.next().await.context("an echo")??;
    }
    socket.close(None).await?;
    while socket.next().await.is_some() {}
    Ok(())
}

#[tokio::test]
async fn ten_thousand_requests_of_every_kind_are_counted_exactly() -> Result<()> {
    let service = drill::builder()?.env("LOG_LEVEL", "off").start().await?;
    let before = scrape(&service).await?;
    let mut done = Done::default();
    for one in try_join_all((0..CLIENTS).map(|number| client(service.port(), number))).await? {
        for (series, count) in one.requests {
            *done.requests.entry(series).or_default() += count;
        }
        done.uploaded_bytes += one.uploaded_bytes;
        done.messages += one.messages;
    }
    let all = (CLIENTS * EACH) as f64;
    let grown =
        |now: &Exposition, name: &str, labels: &[(&str, &str)]| now.sum(name, labels) - before.sum(name, labels);
    let now = scrape_until(&service, "all requests to be counted", |now| {
        grown(now, "http_requests_total", &[]) >= all
            && now.sum("http_requests_in_progress", &[]) == 0.0
            && now.sum("websocket_connections_total", &[]) == 0.0
    })
    .await?;

    // Every series of the service, against every kind of the client: no more and no less.
    let mut counted = BTreeMap::new();
    for sample in now.matching("http_requests_total", &[]) {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let (method, endpoint, status) = (label("method"), label("endpoint"), label("status"));
        let own = [("method", method.as_str()), ("endpoint", endpoint.as_str()), ("status", status.as_str())];
        let count = grown(&now, "http_requests_total", &own);
        if count != 0.0 {
            counted.insert((method, endpoint, status), count);
        }
    }
    assert_eq!(counted, done.requests);
    assert_eq!(done.sum(|_| true), all);

    let sum = |name: &str, labels: &[(&str, &str)]| grown(&now, name, labels);
    let (of_class, of_endpoint) = (
        |class: char| done.sum(|(.., status)| status.starts_with(class)),
        |name: &str| done.sum(|(_, endpoint, _)| endpoint == name),
    );
    assert_eq!(sum("http_4xx_responses", &[]), of_class('4'));
    assert_eq!(sum("http_4xx_responses", &[("status", "499")]), of_endpoint("/stuck"));
    assert_eq!(sum("http_5xx_responses", &[]), of_class('5'));
    assert_eq!(sum("http_exceptions_total", &[("exception_type", "panic")]), of_endpoint("/panic"));
    assert_eq!(sum("http_exceptions_total", &[]), of_class('5'));
    assert_eq!(sum("http_requests_by_user_agent", &[]), all);
    for (method, endpoint) in [("GET", "/hello"), ("POST", "/echo"), ("GET", "/stuck"), ("OTHER", "/hello")] {
        let labels = [("method", method), ("endpoint", endpoint)];
        let requests = done.sum(|(own, at, _)| own == method && at == endpoint);
        for family in [
            "http_request_duration_seconds",
            "http_request_duration_summary",
            "http_request_size_bytes",
            "http_response_size_bytes",
        ] {
            assert_eq!(sum(&format!("{family}_count"), &labels), requests, "{family} {labels:?}");
        }
        let last = [labels[0], labels[1], ("le", "+Inf")];
        assert_eq!(sum("http_request_duration_seconds_bucket", &last), requests, "{labels:?}");
    }
    assert_eq!(sum("http_request_size_bytes_sum", &[("endpoint", "/echo")]), done.uploaded_bytes);
    assert_eq!(sum("http_response_size_bytes_sum", &[("endpoint", "/echo")]), done.uploaded_bytes);
    let hello = [("method", "GET"), ("endpoint", "/hello")];
    let hellos = done.sum(|(method, endpoint, _)| method == "GET" && endpoint == "/hello");
    assert_eq!(sum("http_response_size_bytes_sum", &hello), hellos * "hello".len() as f64);
    assert_eq!(sum("websocket_messages_received", &[("endpoint", "/ws/echo")]), done.messages);
    assert_eq!(sum("websocket_messages_sent", &[("endpoint", "/ws/echo")]), done.messages);
    Ok(())
}
