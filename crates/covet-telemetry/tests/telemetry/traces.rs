//! Spans on their way to a receiver, and what becomes of them when it misbehaves.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, SectionDoc, Sources};
use covet_telemetry::Service;
use covet_telemetry::metrics::Registry;
use covet_telemetry::request::RequestScope;
use covet_telemetry::settings::{Protocol, SamplerChoice, TraceSettings};
use covet_telemetry::traces::{Export, Traces};
use covet_testkit::{Certificate, OtlpBehaviour, OtlpReceiver, SpanKind, wait_until};
use http::HeaderMap;

use crate::value;

/// Nobody should wait that long; a failing test does.
const LONG: Duration = Duration::from_secs(30);

struct Process {
    traces: Traces,
    export: Export,
    registry: Registry,
    clock: Clock,
}

impl Process {
    /// Sends to `endpoint` at once.
    fn sending_to(endpoint: &str, set: &[(&str, &str)]) -> Self {
        let always = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "10")];
        let settings = TraceSettings::load(Sources::of(always.iter().chain(set).copied())).unwrap();
        let clock = Clock::system();
        let service = Service { name: "shop", version: "1.2.3", environment: Environment::Staging };
        let (export, tracer) = Export::start(&settings, service, &clock).unwrap().unwrap();
        let registry = Registry::new();
        export.register_metrics(&registry);
        Self { traces: Traces::new(&settings, Some(tracer)), export, registry, clock }
    }

    /// Records a request of this name.
    fn record(&self, name: &str) {
        let scope = RequestScope::new(RequestId::generate(&self.clock), Ipv4Addr::LOCALHOST.into());
        let scope = scope.with_trace(self.traces.join(&HeaderMap::new()).unwrap());
        drop(self.traces.request_span(&scope, self.clock.monotonic(), true, || name.to_owned()));
    }

    fn count(&self, sample: &str) -> f64 {
        value(&self.registry.render(), sample).unwrap()
    }

    async fn wait_for(&self, sample: &str, at_least: f64) {
        let reached = async || match self.count(sample) {
            count if count >= at_least => Ok(()),
            count => Err(count),
        };
        wait_until(format!("{sample} to be {at_least}"), LONG, reached).await.unwrap();
    }
}

const ALWAYS: (&str, &str) = ("OTEL_TRACES_SAMPLER", "always_on");
const EXPORTED: &str = "trace_spans_exported_total";
const QUEUE_FULL: &str = "trace_spans_dropped_total{reason=\"queue_full\"}";
const SEND_FAILED: &str = "trace_spans_dropped_total{reason=\"send_failed\"}";

#[tokio::test]
async fn spans_arrive_by_http_and_by_grpc_compressed_or_not() {
    for (protocol, compression) in
        [("http/protobuf", "none"), ("http/protobuf", "gzip"), ("grpc", "none"), ("grpc", "gzip")]
    {
        let receiver = OtlpReceiver::start().await.unwrap();
        let process = Process::sending_to(
            &receiver.endpoint(),
            &[
                ALWAYS,
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s%20ecret,tenant=shop"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=a%2Cb,deployment.environment.name=canary"),
            ],
        );
        process.record("GET /");
        let spans = receiver.wait_for(1, LONG, |_| true).await.unwrap();
        let span = &spans[0];
        assert_eq!((span.name.as_str(), span.kind, &span.parent_id), ("GET /", SpanKind::Server, &None), "{protocol}");
        assert_eq!((span.trace_id.len(), span.span_id.len()), (32, 16));
        assert!(span.end >= span.start);
        assert_eq!(span.headers["api-key"], "s ecret");
        for (name, expected) in [
            ("service.name", "shop"),
            ("service.version", "1.2.3"),
            ("service.namespace", "a,b"),
            ("deployment.environment.name", "canary"),
            ("telemetry.sdk.language", "rust"),
        ] {
            assert_eq!(span.resource.get(name).map(String::as_str), Some(expected), "{name}");
        }
        process.wait_for(EXPORTED, 1.0).await;
    }
}

#[tokio::test]
async fn spans_arrive_by_tls_when_the_certificate_is_trusted_and_else_not() {
    let certificate = Certificate::self_signed("receiver").await.unwrap();
    let path = certificate.certificate_path();
    let trusted = [ALWAYS, ("OTEL_EXPORTER_OTLP_CERTIFICATE", path.to_str().unwrap())];
    for protocol in ["http/protobuf", "grpc"] {
        let receiver = OtlpReceiver::start_with_tls(&certificate).await.unwrap();
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let suspicious = Process::sending_to(&receiver.endpoint(), &[ALWAYS, protocol]);
        suspicious.record("GET /");
        suspicious.wait_for(SEND_FAILED, 1.0).await;
        assert_eq!(receiver.spans(), []);

        let process = Process::sending_to(&receiver.endpoint(), &[trusted[0], trusted[1], protocol]);
        process.record("GET /");
        receiver.wait_for(1, LONG, |_| true).await.unwrap();
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_told_at_the_start() {
    let settings = TraceSettings::load(Sources::of([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
    ]));
    let service = Service { name: "shop", version: "1.2.3", environment: Environment::Staging };
    let error = Export::start(&settings.unwrap(), service, &Clock::system()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/ca.pem (OTEL_EXPORTER_OTLP_CERTIFICATE)"), "{error}");
}

#[tokio::test]
async fn what_the_receiver_refuses_for_a_while_is_sent_again() {
    for protocol in ["http/protobuf", "grpc"] {
        let receiver = OtlpReceiver::start().await.unwrap();
        receiver.behave(OtlpBehaviour::Refuse(503));
        let process = Process::sending_to(&receiver.endpoint(), &[ALWAYS, ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
        process.record("GET /");
        wait_until("an export", LONG, async || if receiver.exports() > 0 { Ok(()) } else { Err("none") })
            .await
            .unwrap();
        receiver.behave(OtlpBehaviour::Take);
        receiver.wait_for(1, LONG, |_| true).await.unwrap();
        assert_eq!(process.count(SEND_FAILED), 0.0);
    }
}

#[tokio::test]
async fn what_cannot_be_sent_is_counted_and_later_spans_arrive() {
    let mut receiver = OtlpReceiver::start().await.unwrap();
    let process = Process::sending_to(&receiver.endpoint(), &[ALWAYS]);
    receiver.behave(OtlpBehaviour::Refuse(400));
    process.record("refused");
    process.wait_for(SEND_FAILED, 1.0).await;

    receiver.stop();
    process.record("nobody there");
    process.wait_for(SEND_FAILED, 2.0).await;

    receiver.behave(OtlpBehaviour::Take);
    receiver.start_again().await.unwrap();
    process.record("later");
    let spans = receiver.wait_for(1, LONG, |_| true).await.unwrap();
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["later"]);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_nobody_up_and_what_does_not_fit_is_dropped() {
    let receiver = OtlpReceiver::start().await.unwrap();
    receiver.behave(OtlpBehaviour::Hang);
    let few = [ALWAYS, ("OTEL_BSP_MAX_QUEUE_SIZE", "20"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")];
    let process = Process::sending_to(&receiver.endpoint(), &few);
    let began = process.clock.monotonic();
    (0..10_000).for_each(|_| process.record("GET /"));
    assert!(took_since(&process.clock, began) < Duration::from_secs(5));
    // At most those in the queue and those being sent are not lost.
    assert!(process.count(QUEUE_FULL) >= 10_000.0 - 30.0 - 10.0, "{}", process.registry.render());

    let began = process.clock.monotonic();
    assert!(!process.export.shutdown(Duration::from_millis(300)).await);
    assert!(took_since(&process.clock, began) < Duration::from_secs(5));
}

fn took_since(clock: &Clock, began: Instant) -> Duration {
    clock.monotonic().duration_since(began)
}

#[tokio::test]
async fn a_receiver_that_hangs_is_given_up_after_the_time_set() {
    let receiver = OtlpReceiver::start().await.unwrap();
    receiver.behave(OtlpBehaviour::Hang);
    let process = Process::sending_to(&receiver.endpoint(), &[ALWAYS, ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")]);
    process.record("GET /");
    process.wait_for(SEND_FAILED, 1.0).await;
}

#[tokio::test]
async fn at_the_end_everything_that_waits_is_sent() {
    let receiver = OtlpReceiver::start().await.unwrap();
    let settings = [ALWAYS, ("OTEL_BSP_SCHEDULE_DELAY", "600000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")];
    let process = Process::sending_to(&receiver.endpoint(), &settings);
    receiver.behave(OtlpBehaviour::Slow(Duration::from_millis(20)));
    (0..350).for_each(|_| process.record("GET /"));
    assert!(process.export.shutdown(LONG).await);
    assert_eq!(receiver.spans().len(), 350);
    assert_eq!(process.count(EXPORTED), 350.0);
    process.record("too late");
    assert_eq!(process.count("trace_spans_dropped_total{reason=\"closed\"}"), 1.0);
    assert!(process.export.shutdown(Duration::ZERO).await, "a second time there is nothing to do");
}

#[tokio::test]
async fn at_the_end_nobody_waits_for_each_batch_of_a_receiver_that_is_gone() {
    let mut receiver = OtlpReceiver::start().await.unwrap();
    receiver.stop();
    let settings = [ALWAYS, ("OTEL_BSP_SCHEDULE_DELAY", "600000"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100")];
    let process = Process::sending_to(&receiver.endpoint(), &settings);
    (0..2_000).for_each(|_| process.record("GET /"));
    assert!(process.export.shutdown(LONG).await);
    let [failed, closed] = [SEND_FAILED, "trace_spans_dropped_total{reason=\"closed\"}"].map(|of| process.count(of));
    // One that was under way, and one at the end.
    assert!(failed <= 300.0 && failed + closed == 2_000.0, "{failed} {closed}");
}

#[test]
fn without_an_endpoint_there_are_no_traces() {
    let service = Service { name: "shop", version: "1.2.3", environment: Environment::Staging };
    for set in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"), ("OTEL_SDK_DISABLED", "true")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"), ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        let settings = TraceSettings::load(Sources::of(set.iter().copied())).unwrap();
        assert!(Export::start(&settings, service, &Clock::system()).unwrap().is_none(), "{set:?}");
        assert!(Traces::new(&settings, None).join(&HeaderMap::new()).is_none());
    }
}

#[test]
fn the_declarations_are_sound() {
    assert_eq!(SectionDoc::of::<TraceSettings>().faults(), Vec::<String>::new());
}

#[test]
fn the_defaults_are_the_promised_ones() {
    let development = TraceSettings::defaults(Environment::Development);
    assert_eq!(development.sampler, Some(SamplerChoice::ParentBasedTraceIdRatio));
    assert_eq!(development.sampler_ratio, Some(1.0));
    for environment in [Environment::Staging, Environment::Production] {
        assert_eq!(TraceSettings::defaults(environment).sampler_ratio, Some(0.001));
    }
}

/// The address that is called, for these settings.
fn target(set: &[(&str, &str)]) -> (String, Protocol) {
    let target = TraceSettings::load(Sources::of(set.iter().copied())).unwrap().target().unwrap();
    (target.url.to_string(), target.protocol)
}

#[test]
fn the_address_is_made_as_opentelemetry_says() {
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let http = |url: &str| (url.to_owned(), Protocol::HttpProtobuf);
    assert_eq!(target(&[(endpoint, "http://c:4318")]), http("http://c:4318/v1/traces"));
    assert_eq!(target(&[(endpoint, "http://c:4318/")]), http("http://c:4318/v1/traces"));
    assert_eq!(target(&[(endpoint, "https://c/otlp/")]), http("https://c/otlp/v1/traces"));
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/mine");
    assert_eq!(target(&[(endpoint, "http://c:4318"), own]), http("http://t:4318/mine"));
    assert_eq!(target(&[(endpoint, "http://c:4317")]), ("http://c:4317/".to_owned(), Protocol::Grpc));
    let set = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    assert_eq!(target(&[(endpoint, "http://c:4317"), set]), http("http://c:4317/v1/traces"));
}

#[test]
fn settings_that_cannot_work_are_told_with_what_would() {
    for (variable, text, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://jaeger:14268/api/traces", "Jaeger takes on 4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317", "begins with grpc://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://name:hunter2@collector:4318", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "expected http/protobuf or grpc"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "expected parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "at most 1"),
        ("OTEL_PROPAGATORS", "tracecontext,b3", "item 2: expected tracecontext, baggage or none"),
        ("OTEL_PROPAGATORS", "none,baggage", "none beside others"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000", "more than the 2048"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key: s3cret", "name=value"),
    ] {
        let problem = TraceSettings::load(Sources::of([(variable, text)])).unwrap_err().to_string();
        assert!(problem.contains(variable) && problem.contains(expected), "{problem}");
        assert!(!problem.contains("hunter2") && !problem.contains("s3cret"), "{problem}");
    }
}
