//! The one place that knows all metrics of the process and writes them for a scrape.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};

use super::{Exposition, Metric, Recorder, catalog, series::Series};
use crate::declare_metrics;
use crate::settings::MetricsSettings;

declare_metrics! {
    /// What the registry says about itself.
    ALL;

    /// Values that a collector could not read, or panics in it.
    counter COLLECTOR_FAILURES_TOTAL = "metrics_collector_failures_total" {collector};
    /// Uses of a metric that were counted under the label value "other", because the metric had its largest
    /// number of label sets.
    counter LABEL_SETS_DROPPED_TOTAL = "metrics_label_sets_dropped_total" {metric};
    /// Uses of a metric as another type, or with other labels, than it was declared with.
    counter MISUSES_TOTAL = "metrics_misuses_total" {metric};
}

/// Something that knows values and tells them when a scrape asks.
pub trait Collector: Send + Sync {
    /// A name for logs and for `metrics_collector_failures_total`.
    fn name(&self) -> &'static str;

    /// Puts the values of this moment into `out`. It must not wait for anything: the scrape waits for it.
    /// A panic costs what is not yet put there, never the scrape.
    fn collect(&self, out: &mut Exposition);
}

/// All metrics of a process. Cheap to clone.
///
/// The documented metrics are declared from the start, so each shows HELP and TYPE before any traffic.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    series: Arc<Series>,
    collectors: Mutex<Vec<Arc<dyn Collector>>>,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    /// Kept from scrape to scrape for its memory.
    exposition: Mutex<Exposition>,
}

/// The facade already has a recorder; a process has one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the metrics facade already has a recorder: call Registry::install_recorder once a process, before anybody else"
)]
pub struct RecorderInstalled;

impl Registry {
    /// A registry with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_settings(&MetricsSettings::default())
    }

    /// A registry with these limits.
    #[must_use]
    pub fn with_settings(settings: &MetricsSettings) -> Self {
        let registry = Self(Arc::new(Inner {
            series: Arc::new(Series::new(settings.max_label_sets)),
            collectors: Mutex::default(),
            failures: Mutex::default(),
            exposition: Mutex::default(),
        }));
        registry.declare_all(catalog::ALL);
        registry.declare_all(ALL);
        registry
    }

    /// Makes this registry the one behind the `metrics` macros of the whole process.
    ///
    /// # Errors
    /// When the process already has a recorder.
    pub fn install_recorder(&self) -> Result<(), RecorderInstalled> {
        metrics::set_global_recorder(self.recorder()).map_err(|_| RecorderInstalled)
    }

    /// This registry's end of the facade, for use in a scope.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder(Arc::clone(&self.0.series))
    }

    /// Declares a metric, so that it shows before it has values and the facade uses its buckets and labels.
    pub fn declare(&self, metric: &'static Metric) {
        self.0.series.declare(metric);
    }

    /// Declares all of a [`declare_metrics!`] list.
    pub fn declare_all(&self, metrics: &[&'static Metric]) {
        for metric in metrics {
            self.declare(metric);
        }
    }

    /// Asks `collector` at every scrape from now on.
    pub fn register(&self, collector: Arc<dyn Collector>) {
        lock(&self.0.failures).entry(collector.name()).or_insert(0);
        lock(&self.0.collectors).push(collector);
    }

    /// The handle of one series of a declared counter, to keep. Label values in the order of the declaration.
    ///
    /// # Panics
    /// This, [`gauge`](Self::gauge) and [`histogram`](Self::histogram) panic when the number of values is
    /// another than that of the metric's labels.
    pub fn counter(&self, metric: &'static Metric, labels: &[&str]) -> Counter {
        self.recorder().register_counter(&self.key(metric, labels), &METADATA)
    }

    /// The handle of one series of a declared gauge, to keep.
    pub fn gauge(&self, metric: &'static Metric, labels: &[&str]) -> Gauge {
        self.recorder().register_gauge(&self.key(metric, labels), &METADATA)
    }

    /// The handle of one series of a declared histogram or summary, to keep.
    pub fn histogram(&self, metric: &'static Metric, labels: &[&str]) -> Histogram {
        self.recorder().register_histogram(&self.key(metric, labels), &METADATA)
    }

    fn key(&self, metric: &'static Metric, labels: &[&str]) -> Key {
        assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
        self.declare(metric);
        let label = |(name, value): (&&'static str, &&str)| Label::new(*name, (*value).to_owned());
        Key::from_parts(metric.name, metric.labels.iter().zip(labels).map(label).collect::<Vec<_>>())
    }

    /// All values of this moment as Prometheus text; serve it as [`CONTENT_TYPE`](super::CONTENT_TYPE).
    #[must_use]
    pub fn render(&self) -> String {
        let mut exposition = lock(&self.0.exposition);
        exposition.clear();
        self.0.series.collect(&mut exposition);
        let collectors = lock(&self.0.collectors).clone();
        for collector in collectors {
            self.ask(collector.as_ref(), &mut exposition);
        }
        self.tell_of_itself(&mut exposition);
        let mut out = String::new();
        exposition.write(&mut out);
        out
    }

    fn ask(&self, collector: &dyn Collector, exposition: &mut Exposition) {
        let panicked = catch_unwind(AssertUnwindSafe(|| collector.collect(exposition))).is_err();
        let mut failures = exposition.take_failures();
        if panicked {
            failures.push("panicked".to_owned());
        }
        if failures.is_empty() {
            return;
        }
        let name = collector.name();
        tracing::debug!(collector = name, failures = failures.join("; "), "some metrics could not be read");
        *lock(&self.0.failures).entry(name).or_insert(0) += failures.len() as u64;
    }

    fn tell_of_itself(&self, exposition: &mut Exposition) {
        for (collector, count) in &*lock(&self.0.failures) {
            exposition.counter(COLLECTOR_FAILURES_TOTAL, &[collector], *count);
        }
        for (metric, refused, misused) in self.0.series.troubles() {
            if refused > 0 {
                exposition.counter(LABEL_SETS_DROPPED_TOTAL, &[&metric], refused);
            }
            if misused > 0 {
                exposition.counter(MISUSES_TOTAL, &[&metric], misused);
            }
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let collectors: Vec<_> = lock(&self.0.collectors).iter().map(|collector| collector.name()).collect();
        f.debug_struct("Registry").field("collectors", &collectors).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
