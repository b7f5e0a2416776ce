//! What an operator can set about traces: the variables of OpenTelemetry under their own names, and Covet's beside them.
//!
//! Meaning and defaults are those of
//! [OpenTelemetry's specification](https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/);
//! where one differs, its doc comment says so.

use std::path::PathBuf;
use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::settings::{Invalid, SettingValue, Settings};
use url::Url;

use super::otel::{Headers, KeyValues, Milliseconds};
use crate::logging::Levels;

/// Traces: which requests are recorded, and where spans are sent by OTLP. Off until an endpoint is set.
#[derive(Debug, Clone, Settings)]
#[settings(section = "traces", validate = "invalid")]
pub struct TraceSettings {
    /// Switches traces off, whatever else is set.
    #[setting(variable = "OTEL_SDK_DISABLED", default = "false")]
    pub disabled: Option<bool>,
    /// How spans leave the process.
    #[setting(variable = "OTEL_TRACES_EXPORTER", default = "otlp")]
    pub exporter: Option<Exporter>,
    /// Where an OTLP receiver (OpenTelemetry Collector, Jaeger, Tempo) listens. With `http/protobuf`, `/v1/traces` is
    /// put behind it. Traces are off while neither this nor `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set.
    #[setting(variable = "OTEL_EXPORTER_OTLP_ENDPOINT", example = "http://collector:4318")]
    pub endpoint: Option<Url>,
    /// The same for traces alone. It is used as it stands: nothing is put behind it.
    #[setting(variable = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", example = "http://collector:4318/v1/traces")]
    pub traces_endpoint: Option<Url>,
    /// How the receiver is spoken to. When it is not set: `grpc` where the endpoint's port is 4317, else
    /// `http/protobuf`.
    #[setting(variable = "OTEL_EXPORTER_OTLP_PROTOCOL")]
    pub protocol: Option<Protocol>,
    /// The same for traces alone.
    #[setting(variable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")]
    pub traces_protocol: Option<Protocol>,
    /// Headers that the receiver asks for, `name=value`, separated by commas, values percent-encoded.
    #[setting(variable = "OTEL_EXPORTER_OTLP_HEADERS", example = "api-key=%3Ckey%3E,tenant=shop")]
    pub headers: Option<Headers>,
    /// The same for traces alone.
    #[setting(variable = "OTEL_EXPORTER_OTLP_TRACES_HEADERS", example = "api-key=%3Ckey%3E,tenant=shop")]
    pub traces_headers: Option<Headers>,
    /// File with the certificates (PEM) that the receiver's is checked against, beside those that the system trusts.
    #[setting(variable = "OTEL_EXPORTER_OTLP_CERTIFICATE", example = "/etc/otel/ca.pem")]
    pub certificate: Option<PathBuf>,
    /// Longest time an export may take, retries included, in milliseconds.
    #[setting(variable = "OTEL_EXPORTER_OTLP_TIMEOUT", default = "10000", min = "100", max = "300000")]
    pub timeout: Option<Milliseconds>,
    /// The same for traces alone.
    #[setting(variable = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", min = "100", max = "300000")]
    pub traces_timeout: Option<Milliseconds>,
    /// How what is sent is compressed.
    #[setting(variable = "OTEL_EXPORTER_OTLP_COMPRESSION", default = "none")]
    pub compression: Option<Compression>,
    /// The same for traces alone.
    #[setting(variable = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")]
    pub traces_compression: Option<Compression>,
    /// The service's name in traces. When it is not set, that of the program.
    #[setting(variable = "OTEL_SERVICE_NAME", example = "shop")]
    pub service_name: Option<String>,
    /// More about this instance, `name=value`, separated by commas, values percent-encoded.
    #[setting(variable = "OTEL_RESOURCE_ATTRIBUTES", example = "service.namespace=shop,k8s.pod.name=shop-7d4f")]
    pub resource_attributes: Option<KeyValues>,
    /// Which requests are recorded. The decision falls before anything else is done for the trace.
    #[setting(variable = "OTEL_TRACES_SAMPLER", default = "parentbased_traceidratio")]
    pub sampler: Option<SamplerChoice>,
    /// The share that the samplers `traceidratio` and `parentbased_traceidratio` record: 1 is every trace, 0.001 one in
    /// a thousand.
    #[setting(
        variable = "OTEL_TRACES_SAMPLER_ARG",
        default = "1.0",
        default_outside_development = "0.001",
        min = "0",
        max = "1"
    )]
    pub sampler_ratio: Option<f64>,
    /// What of a trace is taken from callers' headers and handed on to other services. When it is not set:
    /// `tracecontext,baggage` where traces are on, nothing where they are off. Set it to hand a caller's trace on
    /// without recording.
    #[setting(variable = "OTEL_PROPAGATORS", example = "tracecontext,baggage")]
    pub propagators: Option<Vec<Propagator>>,
    /// Spans that may wait to be sent. Further ones are dropped and counted.
    #[setting(variable = "OTEL_BSP_MAX_QUEUE_SIZE", default = "2048", min = "1", max = "1000000")]
    pub queue_size: Option<usize>,
    /// Most spans in one export.
    #[setting(variable = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", default = "512", min = "1", max = "100000")]
    pub batch_size: Option<usize>,
    /// Longest time a span waits for others to be sent with, in milliseconds.
    #[setting(variable = "OTEL_BSP_SCHEDULE_DELAY", default = "5000", min = "1", max = "600000")]
    pub schedule_delay: Option<Milliseconds>,
    /// Longest time an export may take, in milliseconds, where that is less than the exporter's own timeout.
    #[setting(variable = "OTEL_BSP_EXPORT_TIMEOUT", default = "30000", min = "100", max = "300000")]
    pub export_timeout: Option<Milliseconds>,
    /// Which spans made with `tracing` are recorded, as `LOG_LEVEL` says it of events.
    #[setting(default = "info", example = "info,shop=debug")]
    pub spans: Levels,
    /// A request that was not chosen and ends in a 5xx status is recorded all the same, its server span alone: so many a
    /// second in each process; 0 is none.
    #[setting(default = "10", max = "10000")]
    pub errors_per_second: u32,
    /// Whether callers are heard: their `traceparent` decides over trace and sampling, their `baggage` is handed on. Set
    /// it to false where anybody on the internet calls directly: otherwise a caller can have every request of his
    /// recorded.
    #[setting(default = "true")]
    pub trust_callers: bool,
    /// Longest time the process waits at its end for the last spans to be sent. It never waits past the shutdown
    /// deadline.
    #[setting(default = "5s", max = "1m")]
    pub flush_timeout: Duration,
}

/// Where spans go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Exporter {
    /// To a receiver that speaks OTLP.
    Otlp,
    /// Nowhere: traces are off.
    None,
}

/// The forms of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Protocol {
    /// Protobuf over HTTP, usually on port 4318.
    #[setting(name = "http/protobuf")]
    HttpProtobuf,
    /// gRPC, usually on port 4317.
    Grpc,
}

/// Compression of exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Compression {
    /// As it is: fine inside a data centre.
    None,
    /// By gzip.
    Gzip,
}

/// Who decides which requests are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum SamplerChoice {
    /// As the caller has decided; without a caller's decision, the share of `OTEL_TRACES_SAMPLER_ARG`.
    #[setting(name = "parentbased_traceidratio")]
    ParentBasedTraceIdRatio,
    /// As the caller has decided; without, every one.
    #[setting(name = "parentbased_always_on")]
    ParentBasedAlwaysOn,
    /// As the caller has decided; without, none.
    #[setting(name = "parentbased_always_off")]
    ParentBasedAlwaysOff,
    /// The share of `OTEL_TRACES_SAMPLER_ARG`, whatever the caller has decided. The same trace is recorded, or not, by
    /// all services with the same share.
    #[setting(name = "traceidratio")]
    TraceIdRatio,
    /// Every one.
    #[setting(name = "always_on")]
    AlwaysOn,
    /// None.
    #[setting(name = "always_off")]
    AlwaysOff,
}

/// What is passed between services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Propagator {
    /// W3C Trace Context: `traceparent` and `tracestate`.
    #[setting(name = "tracecontext")]
    TraceContext,
    /// W3C Baggage: `baggage`.
    Baggage,
    /// Nothing.
    None,
}

impl TraceSettings {
    /// Where spans are sent; `None` when traces are off.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        let off = self.disabled == Some(true) || self.exporter == Some(Exporter::None);
        let set = self.traces_endpoint.as_ref().or(self.endpoint.as_ref());
        let endpoint = set.filter(|_| !off)?;
        let by_port = if endpoint.port() == Some(4317) { Protocol::Grpc } else { Protocol::HttpProtobuf };
        let protocol = self.traces_protocol.or(self.protocol).unwrap_or(by_port);
        let mut url = endpoint.clone();
        if self.traces_endpoint.is_none() && protocol == Protocol::HttpProtobuf {
            let base = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{base}/v1/traces"));
        }
        Some(Target { url, protocol })
    }

    /// What is handed on: trace context and baggage.
    #[must_use]
    pub fn propagation(&self) -> Propagation {
        match &self.propagators {
            Some(set) => Propagation {
                trace_context: set.contains(&Propagator::TraceContext),
                baggage: set.contains(&Propagator::Baggage),
            },
            None => {
                let on = self.target().is_some();
                Propagation { trace_context: on, baggage: on }
            }
        }
    }

    /// Longest time one export may take.
    #[must_use]
    pub fn export_limit(&self) -> Duration {
        let exporter = self.traces_timeout.or(self.timeout).map_or(Duration::from_secs(10), Milliseconds::duration);
        exporter.min(self.export_timeout.map_or(Duration::from_secs(30), Milliseconds::duration))
    }
}

/// Where spans are sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address that is called.
    pub url: Url,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// What is handed on to other services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// `traceparent` and `tracestate`.
    pub trace_context: bool,
    /// `baggage`.
    pub baggage: bool,
}

fn invalid(settings: &TraceSettings, _: Environment) -> Vec<Invalid> {
    let mut found = Vec::new();
    let endpoints = [("endpoint", &settings.endpoint), ("traces_endpoint", &settings.traces_endpoint)];
    for (key, endpoint) in endpoints.into_iter().filter_map(|(key, url)| Some((key, url.as_ref()?))) {
        if let Some(reason) = wrong_endpoint(endpoint) {
            found.push(Invalid::new(key, reason));
        }
    }
    let grpc = settings.target().is_some_and(|target| target.protocol == Protocol::Grpc);
    if grpc && !cfg!(feature = "otlp-grpc") {
        let key = if settings.traces_protocol.is_some() { "traces_protocol" } else { "protocol" };
        let reason = "is grpc (or the endpoint's port is 4317), but this program was built without the feature \
                      \"otlp-grpc\"; the same receivers usually take http/protobuf on port 4318";
        found.push(Invalid::new(key, reason).example("http/protobuf"));
    }
    let (queue, batch) = (settings.queue_size.unwrap_or(2048), settings.batch_size.unwrap_or(512));
    if batch > queue {
        let reason = format!("is {batch}, more than the {queue} of OTEL_BSP_MAX_QUEUE_SIZE");
        found.push(Invalid::new("batch_size", reason).example(queue.to_string()));
    }
    let propagators = settings.propagators.as_deref().unwrap_or_default();
    if propagators.contains(&Propagator::None) && propagators.len() > 1 {
        found.push(Invalid::new("propagators", "says none beside others").example("tracecontext,baggage"));
    }
    found
}

fn wrong_endpoint(endpoint: &Url) -> Option<String> {
    if !matches!(endpoint.scheme(), "http" | "https") {
        return Some(format!("begins with {}://, and spans are sent by http:// or https://", endpoint.scheme()));
    }
    if !endpoint.username().is_empty() || endpoint.password().is_some() {
        return Some("has a name or a password in it; give them as a header, OTEL_EXPORTER_OTLP_HEADERS".to_owned());
    }
    // Jaeger's collector takes Thrift there, which OpenTelemetry has given up.
    if endpoint.port() == Some(14268) || endpoint.path().trim_end_matches('/') == "/api/traces" {
        return Some(
            "is Jaeger's port for Thrift (14268, /api/traces). Spans are sent by OTLP, which Jaeger takes on 4318 \
             (http/protobuf) and 4317 (grpc)"
                .to_owned(),
        );
    }
    None
}
