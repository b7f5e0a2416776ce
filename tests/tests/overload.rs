//! More than allowed: one connection too many, one request too many. The rest is served.

use anyhow::Result;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::{SOON, drill};
use covet_testkit::wait_until;
use futures_util::future::try_join_all;

#[tokio::test]
async fn one_connection_more_than_allowed_is_answered_503_until_another_one_leaves() -> Result<()> {
    let service = drill::builder()?.env("COVET_HTTP__MAX_CONNECTIONS", "10").start().await?;
    // The connection of the readiness probe may still be counted.
    let mut open = Vec::new();
    let mut refused = wait_until("a refusal", SOON, async || {
        let mut connection = Connection::open(service.port()).await.map_err(|error| format!("{error:#}"))?;
        connection.send_get("/hello").await.map_err(|error| format!("{error:#}"))?;
        match connection.response().await {
            Ok(response) if response.status == 503 => Ok((connection, response)),
            Ok(response) => {
                open.push(connection);
                Err(format!("{} after {} connections", response.status, open.len()))
            }
            Err(error) => Err(format!("{error:#}")),
        }
    })
    .await?;
    assert!(open.len() <= 10, "{} were let in", open.len());
    assert!(refused.1.header("retry-after").is_some());
    refused.0.closed(SOON).await?;
    open.clear();
    wait_until("a place to be free", SOON, async || match service.client().get(service.url("/hello")).send().await {
        Ok(response) if response.status() == 200 => Ok(()),
        Ok(response) => Err(response.status().to_string()),
        Err(error) => Err(error.to_string()),
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn more_requests_than_may_wait_are_answered_503_with_retry_after() -> Result<()> {
    let service = drill::builder()?
        .env("COVET_HTTP__MAX_IN_FLIGHT", "4")
        .env("COVET_HTTP__QUEUE_LIMIT", "4")
        .env("COVET_HTTP__QUEUE_TIMEOUT", "30s")
        .start()
        .await?;
    let get = async || service.client().get(service.url("/slow?ms=1500")).send().await;
    let responses = try_join_all((0..40).map(|_| get())).await?;
    let served = responses.iter().filter(|response| response.status() == 200).count();
    let shed: Vec<_> = responses.iter().filter(|response| response.status() == 503).collect();
    assert_eq!(served + shed.len(), 40);
    assert!((4..=12).contains(&served), "{served} were served");
    assert!(shed.iter().all(|response| response.headers().contains_key("retry-after")));
    wait_until("the queue to be empty again", SOON, async || {
        let metrics = service.metrics().await.map_err(|error| error.to_string())?;
        let depth =
            Exposition::parse(&metrics).map_err(|error| error.to_string())?.sum("app_requests_queue_depth", &[]);
        if depth == 0.0 { Ok(()) } else { Err(depth.to_string()) }
    })
    .await?;
    Ok(())
}
