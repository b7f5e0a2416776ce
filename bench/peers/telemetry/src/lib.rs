//! Logs and traces of the peers with production crates, assembled as the crates' own documentation shows it:
//! `tracing-subscriber` writes JSON into a file through `tracing-appender`'s non-blocking writer, `tracing-opentelemetry`
//! hands spans to the batch exporter of `opentelemetry-otlp`.
//!
//! Where there is a choice the cheaper one is taken: a plain level instead of `EnvFilter`, the current span's fields once
//! instead of the list of all spans. The sampler, its share and the receiver's address come from the `OTEL_*` variables.

use std::path::Path;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// What must live as long as the service. Dropped, it writes out the log; see also [`Telemetry::end`].
#[must_use]
pub struct Telemetry {
    provider: SdkTracerProvider,
    dropped_lines: ErrorCounter,
    _log: WorkerGuard,
}

/// Starts both. `log_file` is what the files' names begin with; `span_events` says whether a span's end is a log line.
///
/// # Errors
/// The log file cannot be made, or the `OTEL_*` variables do not make sense.
pub fn start(service: &'static str, log_file: &Path, span_events: FmtSpan) -> anyhow::Result<Telemetry> {
    let directory = log_file.parent().unwrap_or(Path::new("."));
    let name = log_file.file_name().context("the log file has no name")?;
    let (writer, guard) = tracing_appender::non_blocking(tracing_appender::rolling::daily(directory, name));
    let dropped_lines = NonBlocking::error_counter(&writer);

    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(SpanExporter::builder().with_http().build()?)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build();

    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_span_events(span_events)
        .with_writer(writer);
    tracing_subscriber::registry()
        .with(LevelFilter::INFO)
        .with(lines)
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer(service)))
        .try_init()?;
    Ok(Telemetry { provider, dropped_lines, _log: guard })
}

impl Telemetry {
    /// Log lines given up because the writer could not keep up. `tracing-appender` gives up a line rather than wait.
    #[must_use]
    pub fn dropped_lines(&self) -> ErrorCounter {
        self.dropped_lines.clone()
    }

    /// Exports what is left and writes out the log.
    ///
    /// # Errors
    /// The spans cannot be exported.
    pub fn end(self) -> anyhow::Result<()> {
        Ok(self.provider.shutdown()?)
    }
}
