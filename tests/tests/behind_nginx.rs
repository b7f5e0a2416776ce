//! The service behind a real NGINX: kept connections, the client's address, sizes, HTTP/2 at the edge.

use std::process::Command;

use anyhow::{Context, Result};
use covet_system_tests::{SOON, drill};
use covet_testkit::{Certificate, Nginx, Process, Service, wait_until};
use reqwest::Client;
use serde_json::Value;

fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

/// The access line of a request that was sent with this `x-request-id`.
async fn access_line(service: &Service, request_id: &str) -> Result<Value> {
    let process = service.process()?;
    let line = wait_until(format!("the access line of {request_id}"), SOON, async || {
        let lines = process.lines().into_iter();
        let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        lines.find(|line| line["request_id"] == request_id && line["status_code"].is_number()).ok_or("not there")
    });
    Ok(line.await?)
}

#[tokio::test]
async fn a_thousand_requests_share_a_few_connections() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let nginx = Nginx::in_front_of([service.port()]).start().await?;
    let client = client()?;
    for _ in 0..1_000 {
        assert_eq!(client.get(format!("{}/hello", nginx.url())).send().await?.status(), 200);
    }
    // Each connection has a port of its own, in whatever state it is.
    let table = std::fs::read_to_string("/proc/net/tcp")?;
    let service_port = format!(":{:04X}", service.port());
    let connections = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(local, remote)| local.ends_with(&service_port) && !remote.ends_with(":0000"))
        .count();
    // NGINX keeps 32 at most; the readiness probe of the test has one more.
    assert!((1..=33).contains(&connections), "{connections}");
    Ok(())
}

#[tokio::test]
async fn the_clients_address_is_taken_from_a_trusted_proxy_only() -> Result<()> {
    let trusting = drill::builder()?.env("COVET_HTTP__TRUSTED_PROXIES", "127.0.0.1/32").start().await?;
    let nginx = Nginx::in_front_of([trusting.port()]).start().await?;
    let client = client()?;
    // NGINX appends the true peer to what the client claims; only that last entry counts.
    let through = client.get(format!("{}/hello", nginx.url())).header("x-request-id", "through-nginx");
    through.header("x-forwarded-for", "203.0.113.7").send().await?;
    assert_eq!(access_line(&trusting, "through-nginx").await?["ip_address"], "203.0.113.7");

    let distrustful = drill::builder()?.start().await?;
    let direct = client.get(distrustful.url("/hello")).header("x-request-id", "direct");
    direct.header("x-forwarded-for", "203.0.113.7").header("x-real-ip", "203.0.113.7").send().await?;
    assert_eq!(access_line(&distrustful, "direct").await?["ip_address"], "127.0.0.1");
    Ok(())
}

#[tokio::test]
async fn fifty_mebibytes_pass_and_one_byte_more_is_413() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let nginx = Nginx::in_front_of([service.port()]).start().await?;
    let client = client()?;
    for base in [nginx.url().to_owned(), service.url("")] {
        let post = async |size: usize| client.post(format!("{base}/echo")).body(vec![b'x'; size]).send().await;
        let most = post(50 << 20).await?;
        assert_eq!(most.status(), 200, "{base}");
        assert_eq!(most.bytes().await?.len(), 50 << 20, "{base}");
        // The service refuses before it has read the body; the proxy is still sending it then.
        let log = || nginx.process().map(Process::lines);
        assert_eq!(post((50 << 20) + 1).await?.status(), 413, "{base}: {:#?}", log());
    }
    Ok(())
}

#[tokio::test]
async fn http2_and_websockets_pass_the_edge() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let certificate = Certificate::self_signed("edge").await?;
    let authority = certificate.certificate_path();
    let nginx = Nginx::in_front_of([service.port()]).certificate(certificate).start().await?;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--http2", "--write-out", " %{http_version}"])
        .arg("--cacert")
        .arg(&authority);
    let answer = Process::run("curl", curl.arg(format!("{}/hello", nginx.url())), SOON).await?.success("curl")?;
    assert_eq!(answer.stdout.trim_end(), "hello 2");

    let plain = Nginx::in_front_of([service.port()]).start().await?;
    let url = plain.url().replace("http://", "ws://") + "/ws/echo";
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let message = tokio_tungstenite::tungstenite::Message::text("through");
    futures_util::SinkExt::send(&mut socket, message.clone()).await?;
    assert_eq!(futures_util::StreamExt::next(&mut socket).await.context("an echo")??, message);
    Ok(())
}
