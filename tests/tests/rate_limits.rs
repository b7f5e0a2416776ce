//! Rate limits of real services: the defaults of `covet-api`, its stricter routes, several instances as one.

use std::time::Duration;

use anyhow::{Context, Result};
use covet_system_tests::account::PASSWORD;
use covet_system_tests::raw_http::{Connection, Response};
use covet_system_tests::scrape::scrape;
use covet_system_tests::{SOON, drill};
use covet_testkit::{Service, ServiceBuilder, wait_until};
use serde_json::json;

const SWITCH: &str = "COVET_RATE_LIMIT__ENABLED";

/// `covet-api` with the limits that it has by default.
fn as_it_comes() -> ServiceBuilder {
    Service::builder().without_env(SWITCH)
}

/// GETs, one after the other on one connection.
async fn get(port: u16, path: &str, times: usize) -> Result<Vec<Response>> {
    let mut connection = Connection::open(port).await?;
    let mut responses = Vec::new();
    for _ in 0..times {
        connection.send_get(path).await?;
        responses.push(connection.response().await?);
    }
    Ok(responses)
}

fn count(responses: &[Response], status: u16) -> usize {
    responses.iter().filter(|response| response.status == status).count()
}

fn retry_after(response: &Response) -> Result<u64> {
    Ok(response.header("retry-after").context("no Retry-After")?.parse()?)
}

#[tokio::test]
async fn by_default_an_address_has_a_hundred_requests_a_minute() -> Result<()> {
    let service = as_it_comes().start().await?;
    let responses = get(service.port(), "/api/notes", 101).await?;
    assert_eq!((count(&responses, 401), count(&responses, 429)), (100, 1), "the token is asked for after the limit");
    let refused = &responses[100];
    assert_eq!(refused.status, 429);
    assert!((30..=60).contains(&retry_after(refused)?), "{refused:?}");
    assert_eq!(refused.header("ratelimit-limit"), Some("100"));
    // Another address of this machine is another client; health checks are nobody's.
    let mut other = Connection::open_from("127.0.0.2".parse()?, service.port()).await?;
    other.send_get("/api/notes").await?;
    assert_eq!(other.response().await?.status, 401);
    assert_eq!(count(&get(service.port(), "/health/ready", 5).await?, 200), 5);
    let refused = scrape(&service).await?.sum("app_rate_limit_exceeded", &[("endpoint", "/api/notes")]);
    assert_eq!(refused, 1.0);
    Ok(())
}

#[tokio::test]
async fn whoever_waits_as_long_as_it_was_told_is_let_in() -> Result<()> {
    let service = drill::builder()?
        .without_env(SWITCH)
        .env("COVET_RATE_LIMIT__PER_MINUTE", "60")
        .env("COVET_RATE_LIMIT__BURST", "3")
        .start()
        .await?;
    let responses = get(service.port(), "/hello", 4).await?;
    assert_eq!((count(&responses[..3], 200), responses[3].status), (3, 429));
    let wait = retry_after(&responses[3])?;
    assert!((1..=3).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(get(service.port(), "/hello", 1).await?[0].status, 200);
    Ok(())
}

#[tokio::test]
async fn logging_in_and_registering_are_limited_by_themselves() -> Result<()> {
    let service = as_it_comes().start().await?;
    let wrong = json!({"email": "nobody@covet.example", "password": PASSWORD});
    let log_in = async || service.client().post(service.url("/api/auth/login")).json(&wrong).send().await;
    for _ in 0..10 {
        assert_eq!(log_in().await?.status(), 401);
    }
    let refused = log_in().await?;
    assert_eq!((refused.status(), refused.headers()["ratelimit-limit"].to_str()?), (429.try_into()?, "10"));
    let read = service.client().get(service.url("/api/notes")).send().await?;
    assert_eq!((read.status(), read.headers()["ratelimit-remaining"].to_str()?), (401.try_into()?, "89"));
    Ok(())
}

#[tokio::test]
async fn a_flood_does_not_fill_the_queue_of_those_who_wait_for_their_turn() -> Result<()> {
    let service = drill::builder()?
        .without_env(SWITCH)
        .env("COVET_RATE_LIMIT__PER_MINUTE", "2")
        .env("COVET_HTTP__MAX_IN_FLIGHT", "1")
        .env("COVET_HTTP__QUEUE_LIMIT", "1")
        .env("COVET_HTTP__QUEUE_TIMEOUT", "30s")
        .start()
        .await?;
    let mut slow = Connection::open(service.port()).await?;
    slow.send_get("/slow?ms=2000").await?;
    wait_until("the only place to be taken", SOON, async || {
        let metrics = scrape(&service).await.map_err(|error| format!("{error:#}"))?;
        let running = metrics.sum("http_requests_in_progress", &[]);
        if running == 1.0 { Ok(()) } else { Err(running.to_string()) }
    })
    .await?;
    // One more of this address is within its limit and waits; the flood is refused at once, and takes no place in the queue.
    let mut waiting = Connection::open(service.port()).await?;
    waiting.send_get("/hello").await?;
    wait_until("the queue to hold it", SOON, async || {
        let metrics = scrape(&service).await.map_err(|error| format!("{error:#}"))?;
        let waiting = metrics.sum("app_requests_queue_depth", &[]);
        if waiting == 1.0 { Ok(()) } else { Err(waiting.to_string()) }
    })
    .await?;
    assert_eq!(count(&get(service.port(), "/hello", 50).await?, 429), 50);
    assert_eq!((slow.response().await?.status, waiting.response().await?.status), (200, 200));
    Ok(())
}

#[tokio::test]
async fn the_table_of_routes_and_the_description_show_limits_of_their_own() -> Result<()> {
    let service = as_it_comes().prepare()?;
    let table = service.command(&["routes"]).await?.stdout;
    let line = table.lines().find(|line| line.contains("/api/auth/login")).context("login")?;
    assert!(line.ends_with("[rate limit: 10 a minute by address, 60 an hour by address]"), "{line}");
    let document: serde_json::Value = serde_json::from_str(&service.command(&["openapi"]).await?.stdout)?;
    let response = &document["paths"]["/api/auth/login"]["post"]["responses"]["429"];
    assert!(response["description"].as_str().is_some_and(|text| text.contains("10 a minute")), "{response}");
    let schema = &response["content"]["application/problem+json"]["schema"];
    assert_eq!(schema["$ref"], "#/components/schemas/Problem");
    assert!(document["paths"]["/api/notes"]["get"]["responses"].get("429").is_none());
    Ok(())
}
