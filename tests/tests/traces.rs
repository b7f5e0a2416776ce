//! Traces of whole programs: across services, under sampling, and when the receiver is in trouble.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::wrk::Load;
use covet_system_tests::{SOON, drill};
use covet_testkit::{OtlpBehaviour, OtlpReceiver, ReceivedSpan, Service, ServiceBuilder, SpanKind, wait_until};
use tokio::time::Instant;

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

/// A service that sends every span at once.
fn service(receiver: &OtlpReceiver, name: &str) -> Result<ServiceBuilder> {
    Ok(drill::builder()?
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint())
        .env("OTEL_SERVICE_NAME", name)
        .env("OTEL_BSP_SCHEDULE_DELAY", "20")
        .env("COVET_SHUTDOWN__READINESS_DELAY", "0s"))
}

async fn get(service: &Service, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let mut request = service.client().get(service.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

/// Not one of the periodic task that the drill has, which runs when the test takes longer than half a second.
fn of_a_request(span: &ReceivedSpan) -> bool {
    span.name != "drill"
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> Result<&'a ReceivedSpan> {
    spans.iter().find(|span| span.name == name).with_context(|| format!("no span {name:?} in {spans:#?}"))
}

#[tokio::test]
async fn two_services_make_one_trace_from_http_to_the_database() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let (a, b) = (service(&receiver, "a")?.start().await?, service(&receiver, "b")?.start().await?);
    let path = format!("/relay?to={}", b.url("/rows/3?token=planted-secret"));
    let headers = [("authorization", "planted-secret"), ("cookie", "id=planted-secret"), ("x-request-id", "r-1")];
    assert_eq!(get(&a, &path, &headers).await?, (200, "3".to_owned()));

    let spans = receiver.wait_for(6, SOON, of_a_request).await?;
    let (relay, call) = (named(&spans, "GET /relay")?, named(&spans, "GET /drill")?);
    let (rows, custom) = (named(&spans, "GET /rows/{count}")?, named(&spans, "count rows")?);
    let (transaction, select) = (named(&spans, "TRANSACTION")?, named(&spans, "SELECT")?);
    for (below, above) in [(call, relay), (rows, call), (custom, rows), (transaction, custom), (select, transaction)] {
        assert!(below.is_below(above), "{below:#?} is not below {above:#?}");
        assert!(above.start <= below.start && below.end <= above.end, "{below:#?} is not within {above:#?}");
    }
    assert_eq!(relay.parent_id, None);
    let services = [relay, call, rows, custom, transaction, select].map(|span| span.resource["service.name"].as_str());
    assert_eq!(services, ["a", "a", "b", "b", "b", "b"]);
    let kinds = [relay, call, rows, custom, transaction, select].map(|span| span.kind);
    use SpanKind::{Client, Internal, Server};
    assert_eq!(kinds, [Server, Client, Server, Internal, Client, Client]);

    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/rows/{count}"),
        ("http.response.status_code", "200"),
        ("url.path", "/rows/3"),
        ("url.scheme", "http"),
        ("server.address", "127.0.0.1"),
        ("server.port", &b.port().to_string()),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("covet.request_id", "r-1"),
    ] {
        assert_eq!(rows.attribute(name), value, "{name}");
    }
    assert!(rows.attribute("user_agent.original").starts_with("drill-service/"), "{rows:#?}");
    assert_eq!((custom.attribute("drill.rows"), custom.attribute("count")), ("3", "3"));
    assert_eq!(select.attribute("db.system.name"), "sqlite");
    let text = format!("{spans:#?}");
    assert!(!text.contains("planted-secret"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_request_knows_its_trace_and_a_callers_decision_counts() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let never = service(&receiver, "never")?.env("OTEL_TRACES_SAMPLER_ARG", "0").start().await?;
    let always = service(&receiver, "always")?.start().await?;
    for (service, flags) in [(&never, "01"), (&always, "00")] {
        let parent = format!("00-{TRACE_ID}-{PARENT_ID}-{flags}");
        let (_, trace) = get(service, "/trace", &[("traceparent", &parent), ("tracestate", "a=1")]).await?;
        assert!(trace.starts_with(&format!("00-{TRACE_ID}-")) && trace.ends_with(flags), "{trace}");
        assert!(!trace.contains(PARENT_ID), "{trace} has a span of its own");
    }
    let (_, unrecorded) = get(&never, "/trace", &[]).await?;
    assert!(unrecorded.ends_with("-00"), "{unrecorded}");
    let (_, last) = get(&always, "/trace", &[]).await?;
    let spans = receiver.wait_for(2, SOON, of_a_request).await?;
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let (joined, own) = match spans[0].trace_id == TRACE_ID {
        true => (&spans[0], &spans[1]),
        false => (&spans[1], &spans[0]),
    };
    assert_eq!((joined.parent_id.as_deref(), joined.resource["service.name"].as_str()), (Some(PARENT_ID), "never"));
    assert_eq!(joined.tracestate, "a=1");
    assert_eq!(format!("00-{}-{}-01", own.trace_id, own.span_id), last);
    Ok(())
}

#[tokio::test]
async fn requests_that_fail_are_recorded_although_they_were_not_chosen() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let service = service(&receiver, "a")?
        .env("OTEL_TRACES_SAMPLER_ARG", "0")
        .env("COVET_HTTP__REQUEST_TIMEOUT", "200ms")
        .start()
        .await?;
    for (path, status) in [("/hello", 200), ("/nowhere", 404), ("/fail", 500), ("/panic", 500), ("/stuck", 504)] {
        assert_eq!(get(&service, path, &[]).await?.0, status, "{path}");
    }
    let spans = receiver.wait_for(3, SOON, of_a_request).await?;
    let seen: BTreeSet<_> = spans.iter().map(|span| (span.name.as_str(), span.attribute("error.type"))).collect();
    assert_eq!(seen, BTreeSet::from([("GET /fail", "500"), ("GET /panic", "500"), ("GET /stuck", "504")]));
    assert!(spans.iter().all(|span| span.error.is_some() && span.attribute("covet.sampled_by") == "error"));
    Ok(())
}

#[tokio::test]
async fn clients_that_leave_unknown_paths_and_methods_and_probes_are_as_documented() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let service = service(&receiver, "a")?.start().await?;
    let mut leaving = Connection::open(service.port()).await?;
    leaving.send_get("/stuck").await?;
    wait_until("the request to be in progress", SOON, async || {
        let text = service.metrics().await.map_err(|error| error.to_string())?;
        let exposition = Exposition::parse(&text).map_err(|error| error.to_string())?;
        match exposition.sum("http_requests_in_progress", &[("endpoint", "/stuck")]) {
            1.0 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await?;
    drop(leaving);
    get(&service, "/nowhere/7", &[]).await?;
    get(&service, "/health/ready", &[]).await?;
    let brew = reqwest::Method::from_bytes(b"BREW")?;
    service.client().request(brew, service.url("/hello")).send().await?;

    let spans = receiver.wait_for(3, SOON, of_a_request).await?;
    let left = named(&spans, "GET /stuck")?;
    assert_eq!(left.attribute("error.type"), "client_closed_request");
    assert_eq!(left.attribute("http.response.status_code"), "", "it was never sent");
    let unknown = named(&spans, "GET")?;
    assert_eq!((unknown.attribute("http.route"), unknown.attribute("url.path")), ("", "/nowhere/7"));
    let brewed = spans.iter().find(|span| span.attribute("http.request.method") == "_OTHER").context("no BREW")?;
    assert_eq!(brewed.attribute("http.request.method_original"), "BREW");
    assert!(spans.iter().all(|span| !span.attribute("url.path").starts_with("/health")), "{spans:#?}");
    Ok(())
}

#[tokio::test]
async fn without_an_endpoint_nothing_runs_for_traces_and_nothing_is_handed_on() -> Result<()> {
    let service = drill::builder()?.start().await?;
    let pid = service.process()?.pid();
    let threads: Vec<_> = std::fs::read_dir(format!("/proc/{pid}/task"))?
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .collect();
    assert!(threads.iter().any(|name| name.trim() == "covet-log"), "{threads:?}");
    assert!(threads.iter().all(|name| name.trim() != "covet-traces"), "{threads:?}");
    let parent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    assert_eq!(get(&service, "/trace", &[("traceparent", &parent)]).await?, (200, String::new()));
    Ok(())
}

#[tokio::test]
async fn jaegers_thrift_port_is_refused_with_the_one_that_works() -> Result<()> {
    let service = drill::builder()?.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:14268/api/traces").prepare()?;
    let finished = service.command(&["serve"]).await?;
    let text = finished.output();
    ensure!(finished.code() != Some(0) && text.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{text}");
    ensure!(text.contains("4318") && text.contains("4317"), "{text}");
    Ok(())
}

/// What may be wrong with a receiver.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Gone,
    Hangs,
    Slow,
}

#[tokio::test]
async fn a_receiver_in_trouble_slows_no_request_and_does_not_hold_up_the_end() -> Result<()> {
    const REQUESTS: usize = 2_000;
    for trouble in [Trouble::Gone, Trouble::Hangs, Trouble::Slow] {
        let mut receiver = OtlpReceiver::start().await?;
        let service = &mut service(&receiver, "a")?
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "64")
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
            .env("COVET_SHUTDOWN__DEADLINE", "2s")
            .env("COVET_TRACES__FLUSH_TIMEOUT", "1m")
            .start()
            .await?;
        match trouble {
            Trouble::Gone => receiver.stop(),
            Trouble::Hangs => receiver.behave(OtlpBehaviour::Hang),
            Trouble::Slow => receiver.behave(OtlpBehaviour::Slow(Duration::from_secs(1))),
        }
        let mut connection = Connection::open(service.port()).await?;
        let mut slowest = Duration::ZERO;
        for _ in 0..REQUESTS {
            let began = Instant::now();
            connection.send_get("/hello").await?;
            assert_eq!(connection.response().await?.status, 200);
            slowest = slowest.max(began.elapsed());
        }
        // An export takes a second and more in each of these; the bound is for a machine that is busy.
        assert!(slowest < Duration::from_millis(900), "{trouble:?}: the slowest request took {slowest:?}");

        let exposition = Exposition::parse(&service.metrics().await?)?;
        let dropped = exposition.sum("trace_spans_dropped_total", &[]);
        let kept = exposition.sum("trace_spans_exported_total", &[]);
        // Neither sent nor lost: in the queue, and in the export that is under way.
        assert!(dropped + kept >= (REQUESTS - 64 - 32) as f64, "{trouble:?}: {dropped} dropped, {kept} sent");
        assert!(dropped > 0.0, "{trouble:?}");

        let began = Instant::now();
        let status = service.stop().await?;
        assert!(status.success(), "{trouble:?}: {status}");
        assert!(began.elapsed() < Duration::from_secs(10), "{trouble:?}: it took {:?} to end", began.elapsed());
    }
    Ok(())
}

#[tokio::test]
async fn spans_say_no_more_of_a_client_than_the_logs() -> Result<()> {
    for (policy, address) in [("full", "127.0.0.1"), ("truncated", "127.0.0.0"), ("off", "")] {
        let receiver = OtlpReceiver::start().await?;
        let service = service(&receiver, "a")?.env("COVET_LOG__IP_ADDRESS", policy).start().await?;
        get(&service, "/hello", &[]).await?;
        let spans = receiver.wait_for(1, SOON, of_a_request).await?;
        assert_eq!(named(&spans, "GET /hello")?.attribute("client.address"), address, "{policy}");
    }
    Ok(())
}

#[tokio::test]
async fn sending_spans_makes_no_spans() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let service = service(&receiver, "a")?
        // The libraries that speak gRPC make spans of this level.
        .env("COVET_TRACES__SPANS", "trace")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .start()
        .await?;
    for number in 1..=5 {
        get(&service, "/hello", &[]).await?;
        receiver.wait_for(number, SOON, |span| span.name == "GET /hello").await?;
    }
    let names: BTreeSet<_> = receiver.spans().into_iter().filter(of_a_request).map(|span| span.name).collect();
    assert_eq!(names, BTreeSet::from(["GET /hello".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let mut service = service(&receiver, "a")?.env("OTEL_BSP_SCHEDULE_DELAY", "600000").start().await?;
    assert_eq!(get(&service, "/hello", &[]).await?.0, 200);
    assert!(!receiver.spans().iter().any(of_a_request));
    assert!(service.stop().await?.success());
    let names: Vec<_> = receiver.spans().into_iter().filter(of_a_request).map(|span| span.name).collect();
    assert_eq!(names, ["GET /hello"]);
    Ok(())
}

#[tokio::test]
#[ignore = "needs the machine for itself: scripts/test load"]
async fn of_a_hundred_thousand_requests_under_load_a_hundred_are_recorded() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let service =
        service(&receiver, "a")?.env("OTEL_TRACES_SAMPLER_ARG", "0.001").env("LOG_LEVEL", "warn").start().await?;
    let load = Load::start(&service.url("/hello"), 32, &[])?;
    wait_until("100 000 requests", Duration::from_secs(240), async || {
        let text = service.metrics().await.map_err(|error| error.to_string())?;
        let exposition = Exposition::parse(&text).map_err(|error| error.to_string())?;
        match exposition.sum("http_requests_total", &[("endpoint", "/hello")]) {
            enough if enough >= 100_000.0 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await?;
    let sent = load.stop().await?.requests;
    let expected = sent as f64 / 1_000.0;
    let bound = 35.0 * (expected / 100.0).sqrt();
    let mut service = service;
    assert!(service.stop().await?.success());
    let traces: BTreeSet<_> = receiver.spans().into_iter().filter(of_a_request).map(|span| span.trace_id).collect();
    let recorded = traces.len() as f64;
    println!("{recorded} of {sent} requests were recorded");
    assert!((recorded - expected).abs() <= bound, "{recorded} of {sent} requests, expected {expected} ± {bound}");
    Ok(())
}
