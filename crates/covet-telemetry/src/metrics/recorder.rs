//! Our end of the `metrics` facade.

use std::sync::Arc;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};

use super::series::{Handle, Series, Wanted};

/// Counts what `metrics::counter!` and its siblings are given into a [`Registry`](super::Registry).
///
/// Installed for the process by [`Registry::install_recorder`](super::Registry::install_recorder); a test
/// uses it for a closure:
///
/// ```
/// use covet_telemetry::metrics::Registry;
///
/// let registry = Registry::new();
/// metrics::with_local_recorder(&registry.recorder(), || {
///     metrics::counter!("db_deadlocks_total").increment(2);
/// });
/// assert!(registry.render().contains("\ndb_deadlocks_total 2.0\n"));
/// ```
#[derive(Clone)]
pub struct Recorder(pub(super) Arc<Series>);

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), Wanted::Counter, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), Wanted::Gauge, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.0.describe(name.as_str(), Wanted::Histogram, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.0.find(key, Wanted::Counter) {
            Some(Handle::Counter(cell)) => Counter::from_arc(cell),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.0.find(key, Wanted::Gauge) {
            Some(Handle::Gauge(cell)) => Gauge::from_arc(cell),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.0.find(key, Wanted::Histogram) {
            Some(Handle::Histogram(cell)) => Histogram::from_arc(cell),
            _ => Histogram::noop(),
        }
    }
}
