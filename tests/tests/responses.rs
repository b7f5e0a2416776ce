//! What every response carries, whatever happened: an id, the documented security headers, a problem when it is an error.

use anyhow::{Context, Result};
use covet_system_tests::drill;
use covet_system_tests::raw_http::Connection;
use covet_testkit::Service;
use reqwest::{Method, Response};
use serde_json::Value;

const SECURITY_HEADERS: [(&str, &str); 6] = [
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    ("referrer-policy", "no-referrer-when-downgrade"),
    (
        "content-security-policy",
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';",
    ),
    ("permissions-policy", "geolocation=(), microphone=(), camera=()"),
];

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// One response of every kind: 200, 404, 405, 413, 500 by an error, 500 by a panic, 503 shed, 504 too late.
async fn every_kind(service: &Service) -> Result<Vec<(u16, Response)>> {
    let get = async |path: &str| service.client().get(service.url(path)).send().await;
    let large = service.client().post(service.url("/echo")).body(vec![b'x'; 100_000]).send();
    Ok(vec![
        (200, get("/hello").await?),
        (404, get("/nowhere").await?),
        (405, service.client().delete(service.url("/hello")).send().await?),
        (413, large.await?),
        (500, get("/fail").await?),
        (500, get("/panic").await?),
        (504, get("/stuck").await?),
    ])
}

async fn strictly_limited() -> Result<Service> {
    let builder = drill::builder()?.env("COVET_HTTP__BODY_LIMIT", "64KiB").env("COVET_HTTP__REQUEST_TIMEOUT", "300ms");
    Ok(builder.start().await?)
}

#[tokio::test]
async fn security_headers_are_exact_on_every_kind_of_response() -> Result<()> {
    let service = strictly_limited().await?;
    for (status, response) in every_kind(&service).await? {
        assert_eq!(response.status(), status);
        for (name, value) in SECURITY_HEADERS {
            assert_eq!(header(&response, name), Some(value), "{name} of {status}");
        }
        assert_eq!(header(&response, "strict-transport-security"), None, "only over HTTPS");
    }
    Ok(())
}

#[tokio::test]
async fn every_error_is_a_problem_with_the_id_of_the_header() -> Result<()> {
    let service = strictly_limited().await?;
    for (status, response) in every_kind(&service).await? {
        let id = header(&response, "x-request-id").with_context(|| status.to_string())?.to_owned();
        if status == 200 {
            continue;
        }
        assert_eq!(header(&response, "content-type"), Some("application/problem+json"), "{status}");
        let problem: Value = response.json().await?;
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], id.as_str());
        assert!(problem["title"].is_string() && problem["type"].is_string(), "{problem}");
    }
    Ok(())
}

#[tokio::test]
async fn a_callers_request_id_is_taken_over_when_it_is_harmless() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let ask = async |id: &str| -> Result<String> {
        let response = service.client().get(service.url("/hello")).header("x-request-id", id).send().await?;
        Ok(header(&response, "x-request-id").context("x-request-id")?.to_owned())
    };
    let longest = "a".repeat(64);
    for harmless in ["checkout-42", "A.b_c-9", longest.as_str()] {
        assert_eq!(ask(harmless).await?, harmless);
    }
    let too_long = "a".repeat(65);
    for harmful in ["with space", "quote\"", "{\"level\":\"ERROR\"}", "", too_long.as_str()] {
        let made = ask(harmful).await?;
        assert_ne!(made, harmful);
        assert_eq!(made.len(), 36, "a UUID: {made}");
    }
    Ok(())
}

#[tokio::test]
async fn the_wrong_method_is_told_which_ones_are_right() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let response = service.client().delete(service.url("/hello")).send().await?;
    assert_eq!(response.status(), 405);
    let allowed = header(&response, "allow").context("allow")?;
    assert!(allowed.contains("GET") && !allowed.contains("DELETE"), "{allowed}");
    Ok(())
}

#[tokio::test]
async fn head_is_get_without_a_body() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let response = connection.head_response().await?;
    assert_eq!((response.status, response.header("content-length")), (200, Some("5")));
    Ok(())
}

#[tokio::test]
async fn other_origins_may_call_only_when_they_are_named() -> Result<()> {
    let service = drill::builder()?.env("COVET_CORS__ALLOWED_ORIGINS", "https://app.covet.example").start().await?;
    let preflight = async |origin: &str| {
        let request = service.client().request(Method::OPTIONS, service.url("/echo"));
        request.header("origin", origin).header("access-control-request-method", "POST").send().await
    };
    let allowed = preflight("https://app.covet.example").await?;
    assert!(allowed.status().is_success(), "{}", allowed.status());
    assert_eq!(header(&allowed, "access-control-allow-origin"), Some("https://app.covet.example"));
    assert!(header(&allowed, "access-control-allow-methods").context("methods")?.contains("POST"));
    let denied = preflight("https://evil.example").await?;
    assert_eq!(header(&denied, "access-control-allow-origin"), None);
    // A cache must not give what was answered to nobody's page to the page that may call.
    let bare = service.client().get(service.url("/hello")).send().await?;
    assert!(header(&bare, "vary").context("vary")?.contains("origin"));
    Ok(())
}

#[tokio::test]
async fn the_strict_preset_and_none_replace_the_documented_headers() -> Result<()> {
    let strict = drill::builder()?.env("COVET_SECURITY_HEADERS__PRESET", "strict").start().await?;
    let response = strict.client().get(strict.url("/hello")).send().await?;
    assert_eq!(header(&response, "x-frame-options"), Some("DENY"));
    assert!(!header(&response, "content-security-policy").context("policy")?.contains("unsafe"));
    let off = drill::builder()?.env("COVET_SECURITY_HEADERS__PRESET", "off").start().await?;
    let response = off.client().get(off.url("/hello")).send().await?;
    assert_eq!(header(&response, "x-frame-options"), None);
    Ok(())
}

#[tokio::test]
async fn large_texts_are_compressed_for_those_who_ask() -> Result<()> {
    let service = Service::start().await?;
    let ask = |encoding: &str| {
        service.client().get(service.url("/api/openapi.json")).header("accept-encoding", encoding).send()
    };
    let (plain, compressed) = (ask("identity").await?, ask("gzip").await?);
    assert_eq!((header(&plain, "content-encoding"), header(&compressed, "content-encoding")), (None, Some("gzip")));
    assert!(header(&compressed, "vary").context("vary")?.to_lowercase().contains("accept-encoding"));
    let (plain, compressed) = (plain.bytes().await?, compressed.bytes().await?);
    assert!(compressed.len() * 3 < plain.len(), "{} of {}", compressed.len(), plain.len());
    Ok(())
}
