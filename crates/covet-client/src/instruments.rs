//! The metrics of calls.

use std::time::Duration;

use covet_telemetry::metrics::catalog::DEFAULT_SECONDS;
use metrics::{counter, histogram};

use crate::target::Target;

covet_telemetry::declare_metrics! {
    /// Calls of other services.
    ///
    /// Those made with `covet::client`. `host` is the host and port that are called.
    pub(crate) ALL;

    /// Attempts of calls of other services. The status is that of the answer, or why there was none.
    counter REQUESTS_TOTAL = "http_client_requests_total" {method, host, status};
    /// Time from an attempt's begin to its answer's head, in seconds.
    histogram REQUEST_DURATION_SECONDS = "http_client_request_duration_seconds" {method, host} DEFAULT_SECONDS;
    /// Attempts beyond the first of a call.
    counter RETRIES_TOTAL = "http_client_retries_total" {host};
    /// Retries that were not made because the host's budget was used up.
    counter RETRIES_REFUSED_TOTAL = "http_client_retries_refused_total" {host};
}

/// Counts an attempt.
pub(crate) fn attempted(target: &Target, status: &str, took: Duration) {
    let (method, host) = (target.method.to_string(), target.authority().into_owned());
    histogram!(REQUEST_DURATION_SECONDS.name, "method" => method.clone(), "host" => host.clone())
        .record(took.as_secs_f64());
    counter!(REQUESTS_TOTAL.name, "method" => method, "host" => host, "status" => status.to_owned()).increment(1);
}

/// Counts a further attempt.
pub(crate) fn retried(target: &Target) {
    counter!(RETRIES_TOTAL.name, "host" => target.authority().into_owned()).increment(1);
}

/// Counts a further attempt that was not made.
pub(crate) fn refused(target: &Target) {
    counter!(RETRIES_REFUSED_TOTAL.name, "host" => target.authority().into_owned()).increment(1);
}
