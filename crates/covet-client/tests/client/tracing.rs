//! What goes along with a call, and what is recorded and counted of it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use covet_client::Client;
use covet_core::clock::Clock;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, Sources};
use covet_telemetry::metrics::Registry;
use covet_telemetry::request::{RequestScope, carry, enter};
use covet_telemetry::settings::TraceSettings;
use covet_telemetry::traces::{Collected, Kind, Span, Status, TraceContext, Tracer, Traces, Value};
use covet_testkit::free_port;
use http::HeaderMap;

use super::support::{Upstream, answer, client, client_that, never};

struct Process {
    client: Client,
    traces: Traces,
    collected: Collected,
}

impl Process {
    fn sampling(sampler: &str) -> Self {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let settings = TraceSettings::load(Sources::of([endpoint, ("OTEL_TRACES_SAMPLER", sampler)])).unwrap();
        let collected = Collected::default();
        let traces = Traces::new(&settings, Some(Tracer::new(&settings, &Clock::system(), collected.sink())));
        Self { client: client_that(&[], traces.clone()), traces, collected }
    }

    /// Does `work` in a request with the id `r1` that came with these headers.
    async fn request(&self, headers: &HeaderMap, work: impl Future<Output = ()>) -> TraceContext {
        let scope = RequestScope::new(RequestId::parse(b"r1").unwrap(), Ipv4Addr::LOCALHOST.into());
        let scope = Arc::new(scope.with_trace(self.traces.join(headers).unwrap()));
        let trace = scope.trace().unwrap();
        enter(&mut Some(scope), || carry(work)).await;
        trace
    }
}

fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    span.attributes.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn caller() -> HeaderMap {
    HeaderMap::from_iter(
        [
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "a=1"),
            ("baggage", "user=7"),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())),
    )
}

#[tokio::test]
async fn trace_and_request_id_go_along_each_attempt_with_a_span_of_its_own() {
    let upstream = Upstream::new(async |count| answer(if count == 1 { 503 } else { 200 }, "")).await;
    let process = Process::sampling("always_on");
    let request = process
        .request(&caller(), async {
            let call = process.client.get(upstream.url("/items/7?token=secret")).template("/items/{id}");
            call.send().await.unwrap().error_for_status().unwrap();
        })
        .await;
    let (came, spans) = (upstream.came(), process.collected.spans());
    assert_eq!((came.len(), spans.len()), (2, 2));
    for (came, span) in came.iter().zip(&spans) {
        let sent = TraceContext::parse(came.headers["traceparent"].as_bytes()).unwrap();
        assert_eq!(sent, span.context);
        assert_eq!((sent.trace_id, sent.sampled), (request.trace_id, true));
        assert_eq!((span.parent, span.kind), (Some(request.span_id), Kind::Client));
        assert_eq!(span.name, "GET /items/{id}");
        for (name, value) in [("x-request-id", "r1"), ("tracestate", "a=1"), ("baggage", "user=7")] {
            assert_eq!(came.headers[name], value);
        }
        assert_eq!(came.headers["user-agent"], "shop/1.2.3");
        for (name, value) in [
            ("http.request.method", "GET"),
            ("url.scheme", "http"),
            ("url.template", "/items/{id}"),
            ("server.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
        ] {
            assert_eq!(text(span, name), value);
        }
    }
    let status = |span: &Span| span.attributes.get("http.response.status_code").cloned();
    assert_eq!((status(&spans[0]), status(&spans[1])), (Some(Value::Integer(503)), Some(Value::Integer(200))));
    assert_eq!((text(&spans[0], "error.type"), &spans[0].status), ("503", &Status::Error("".into())));
    assert_eq!((text(&spans[1], "error.type"), &spans[1].status), ("", &Status::Unset));
    assert_eq!(spans[1].attributes.get("http.request.resend_count"), Some(&Value::Integer(1)));
    assert!(!format!("{spans:?}").contains("secret"));
}

#[tokio::test]
async fn a_request_that_is_not_recorded_tells_the_other_service_so() {
    let upstream = Upstream::new(async |_| answer(200, "")).await;
    let process = Process::sampling("always_off");
    let request = process
        .request(&HeaderMap::new(), async {
            process.client.get(upstream.url("/")).send().await.unwrap();
        })
        .await;
    let sent = TraceContext::parse(upstream.came()[0].headers["traceparent"].as_bytes()).unwrap();
    assert_eq!((sent.trace_id, sent.sampled), (request.trace_id, false));
    assert_eq!(process.collected.spans(), []);
}

#[tokio::test]
async fn nothing_of_ours_goes_to_others_when_told_so() {
    let upstream = Upstream::new(async |_| answer(200, "")).await;
    let process = Process::sampling("always_on");
    process
        .request(&caller(), async {
            process.client.get(upstream.url("/")).without_propagation().send().await.unwrap();
        })
        .await;
    let headers = &upstream.came()[0].headers;
    for name in ["traceparent", "tracestate", "baggage", "x-request-id"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(process.collected.spans().len(), 1, "it is recorded all the same");
}

#[tokio::test]
async fn an_id_that_the_call_has_itself_stays() {
    let upstream = Upstream::new(async |_| answer(200, "")).await;
    let process = Process::sampling("always_on");
    process
        .request(&HeaderMap::new(), async {
            process.client.get(upstream.url("/")).header("x-request-id", "mine").send().await.unwrap();
        })
        .await;
    assert_eq!(upstream.came()[0].headers["x-request-id"], "mine");
}

#[tokio::test]
async fn an_attempt_without_an_answer_says_why() {
    let nobody = format!("http://127.0.0.1:{}/", free_port().unwrap());
    let upstream = Upstream::new(async |_| never().await).await;
    let process = Process::sampling("always_on");
    process
        .request(&HeaderMap::new(), async {
            process.client.get(nobody).attempts(1).send().await.unwrap_err();
            let soon = Duration::from_millis(100);
            process.client.get(upstream.url("/")).deadline(soon).send().await.unwrap_err();
            let call = process.client.get(upstream.url("/")).send();
            tokio::time::timeout(soon, call).await.unwrap_err();
        })
        .await;
    let kinds: Vec<_> = process.collected.spans().iter().map(|span| text(span, "error.type").to_owned()).collect();
    assert_eq!(kinds, ["connect", "timeout", "cancelled"]);
}

#[tokio::test]
async fn attempts_and_retries_are_counted() {
    let registry = Registry::new();
    registry.install_recorder().unwrap();
    Client::declare_metrics(&registry);
    assert!(registry.render().contains("# TYPE http_client_requests_total counter"));
    let upstream = Upstream::new(async |count| answer(if count == 1 { 503 } else { 200 }, "")).await;
    client(&[]).get(upstream.url("/items")).send().await.unwrap();
    let text = registry.render();
    let host = upstream.url("").replace("http://", "");
    for sample in [
        format!("http_client_requests_total{{method=\"GET\",host=\"{host}\",status=\"503\"}} 1.0"),
        format!("http_client_requests_total{{method=\"GET\",host=\"{host}\",status=\"200\"}} 1.0"),
        format!("http_client_request_duration_seconds_count{{method=\"GET\",host=\"{host}\"}} 2.0"),
        format!("http_client_retries_total{{host=\"{host}\"}} 1.0"),
    ] {
        assert!(text.contains(&sample), "{sample} in\n{text}");
    }
}
