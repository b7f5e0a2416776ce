//! Gives the cells their names when somebody scrapes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use covet_telemetry::metrics::catalog::{
    HTTP_4XX_RESPONSES, HTTP_5XX_RESPONSES, HTTP_EXCEPTIONS_TOTAL, HTTP_REQUEST_DURATION_SECONDS,
    HTTP_REQUEST_DURATION_SUMMARY, HTTP_REQUEST_SIZE_BYTES, HTTP_REQUESTS_BY_USER_AGENT, HTTP_REQUESTS_IN_PROGRESS,
    HTTP_REQUESTS_TOTAL, HTTP_RESPONSE_SIZE_BYTES,
};
use covet_telemetry::metrics::{Collector, Exposition};

use super::connections::{self, ConnectionMetrics};
use super::{Shared, UserAgent};

pub(super) struct HttpCollector(pub(super) Arc<Shared>);

impl Collector for HttpCollector {
    fn name(&self) -> &'static str {
        "http"
    }

    fn collect(&self, out: &mut Exposition) {
        let routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for route in &routes {
            let endpoint = route.endpoint();
            for reading in route.readings() {
                let labels = &[reading.method, endpoint];
                for (status, count) in &reading.statuses {
                    let text = status.to_string();
                    let labels = &[reading.method, endpoint, text.as_str()];
                    out.counter(HTTP_REQUESTS_TOTAL, labels, *count);
                    match status / 100 {
                        4 => out.counter(HTTP_4XX_RESPONSES, labels, *count),
                        5 => out.counter(HTTP_5XX_RESPONSES, labels, *count),
                        _ => {}
                    }
                }
                for (exception_type, count) in &reading.exceptions {
                    out.counter(HTTP_EXCEPTIONS_TOTAL, &[reading.method, endpoint, exception_type], *count);
                }
                out.gauge(HTTP_REQUESTS_IN_PROGRESS, labels, reading.in_progress);
                out.histogram_with_exemplars(
                    HTTP_REQUEST_DURATION_SECONDS,
                    labels,
                    &reading.buckets,
                    reading.duration_seconds,
                    &reading.exemplars,
                );
                out.summary(HTTP_REQUEST_DURATION_SUMMARY, labels, reading.finished, reading.duration_seconds);
                out.summary(HTTP_REQUEST_SIZE_BYTES, labels, reading.finished, reading.request_bytes as f64);
                out.summary(HTTP_RESPONSE_SIZE_BYTES, labels, reading.finished, reading.response_bytes as f64);
            }
        }
        for user_agent in UserAgent::ALL {
            let count = self.0.user_agents.sum(user_agent as usize);
            out.counter(HTTP_REQUESTS_BY_USER_AGENT, &[user_agent.label()], count);
        }
        collect_connections(&self.0.connections, out);
    }
}

fn collect_connections(of: &ConnectionMetrics, out: &mut Exposition) {
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    out.gauge(connections::OPEN, &[], of.open());
    out.counter(connections::ACCEPTED_TOTAL, &[], read(&of.accepted));
    out.counter(connections::REFUSED_TOTAL, &["limit"], read(&of.refused_limit));
    out.counter(connections::REFUSED_TOTAL, &["accept"], read(&of.refused_accept));
    out.counter(connections::REFUSED_TOTAL, &["tls"], read(&of.refused_tls));
    out.counter(connections::TIMED_OUT_TOTAL, &["header"], read(&of.timed_out_header));
    out.counter(connections::TIMED_OUT_TOTAL, &["idle"], read(&of.timed_out_idle));
    out.counter(connections::TIMED_OUT_TOTAL, &["age"], read(&of.timed_out_age));
    out.counter(connections::MALFORMED_TOTAL, &[], read(&of.malformed));
}
