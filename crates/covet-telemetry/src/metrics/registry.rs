//! The one place that knows all metrics of the process and writes them for a scrape.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder as _};

use super::processes::Processes;
use super::{Exposition, Format, Group, Metric, Recorder, Selection, catalog, series::Series};
use crate::declare_metrics;
use crate::settings::MetricsSettings;

declare_metrics! {
    /// Metrics about metrics.
    ALL;

    /// Values that a collector could not read, or panics in it.
    ///
    /// The log says at level `debug` what it was. Other collectors, and what this one could read, are not affected.
    counter COLLECTOR_FAILURES_TOTAL = "metrics_collector_failures_total" {collector};
    /// Uses of a metric that were counted under the label value "other", because the metric had its largest
    /// number of label sets.
    ///
    /// The largest number is `COVET_METRICS__MAX_LABEL_SETS`, or the bound of a text label of `covet::metrics!`. A warning
    /// in the log names the metric once.
    counter LABEL_SETS_DROPPED_TOTAL = "metrics_label_sets_dropped_total" {metric};
    /// Uses of a metric as another type, or with other labels, than it was declared with.
    counter MISUSES_TOTAL = "metrics_misuses_total" {metric};
    /// Uses of metrics that nobody declared, beyond the first thousand names: they are not counted.
    counter NAMES_DROPPED_TOTAL = "metrics_names_dropped_total" {};
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
    groups: Mutex<Vec<&'static Group>>,
    collectors: Mutex<Vec<Arc<dyn Collector>>>,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    /// Kept from scrape to scrape for its memory.
    exposition: Mutex<Exposition>,
    processes: OnceLock<Processes>,
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
            groups: Mutex::default(),
            collectors: Mutex::default(),
            failures: Mutex::default(),
            exposition: Mutex::default(),
            processes: OnceLock::new(),
        }));
        for group in catalog::GROUPS {
            registry.declare_all(group);
        }
        registry.declare_all(ALL);
        registry
    }

    /// Makes this registry the one behind the macros of the `metrics` crate, for the whole process.
    ///
    /// # Errors
    /// When there is one already.
    pub fn install_recorder(&self) -> Result<(), RecorderInstalled> {
        metrics::set_global_recorder(self.recorder()).map_err(|_| RecorderInstalled)
    }

    /// The registry's end of the facade, for use in a scope.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder(Arc::clone(&self.0.series))
    }

    /// Declares a metric, so that it shows before it has values and the facade uses its buckets and labels.
    pub fn declare(&self, metric: &'static Metric) {
        self.0.series.declare(metric);
    }

    /// Declares all of a [`declare_metrics!`] list.
    pub fn declare_all(&self, group: &'static Group) {
        for metric in group.metrics {
            self.declare(metric);
        }
        let mut groups = lock(&self.0.groups);
        if !groups.contains(&group) {
            groups.push(group);
        }
    }

    /// What has been declared, in this order: the documented 60 first.
    #[must_use]
    pub fn groups(&self) -> Vec<&'static Group> {
        lock(&self.0.groups).clone()
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

    /// Counts uses of a metric that its owner has put under the label value for everything beyond a bound.
    pub(super) fn refused(&self, metric: &'static Metric) -> Arc<AtomicU64> {
        self.0.series.refused(metric)
    }

    fn key(&self, metric: &'static Metric, labels: &[&str]) -> Key {
        assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
        self.declare(metric);
        let label = |(name, value): (&&'static str, &&str)| Label::new(*name, (*value).to_owned());
        Key::from_parts(metric.name, metric.labels.iter().zip(labels).map(label).collect::<Vec<_>>())
    }

    /// All values of this moment as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        self.render_as(Format::Text, Selection::All)
    }

    /// The values of this moment; serve the text as [`Format::content_type`] says. When the process has joined others
    /// ([`processes`](super::processes)), those of all of them.
    #[must_use]
    pub fn render_as(&self, format: Format, selection: Selection) -> String {
        let mut exposition = lock(&self.0.exposition);
        exposition.clear();
        match self.0.processes.get() {
            None => self.collect(&mut exposition),
            Some(processes) => {
                let mut failures = processes.gather(&mut exposition, |exposition| self.collect(exposition));
                failures.append(&mut exposition.take_failures());
                self.note_failures("processes", &failures);
            }
        }
        exposition.write(format, selection)
    }

    /// The values of this moment for another process. Not with the exposition of scrapes: one of them may be waiting
    /// for this.
    pub(super) fn encode(&self) -> String {
        let mut exposition = Exposition::default();
        self.collect(&mut exposition);
        exposition.encode()
    }

    /// Shows the values of other processes too, from now on.
    pub(super) fn join(&self, processes: Processes) {
        lock(&self.0.failures).entry("processes").or_insert(0);
        // A process joins once.
        let _ = self.0.processes.set(processes);
    }

    fn collect(&self, exposition: &mut Exposition) {
        self.0.series.collect(exposition);
        let collectors = lock(&self.0.collectors).clone();
        for collector in collectors {
            self.ask(collector.as_ref(), exposition);
        }
        self.tell_of_itself(exposition);
    }

    fn ask(&self, collector: &dyn Collector, exposition: &mut Exposition) {
        let panicked = catch_unwind(AssertUnwindSafe(|| collector.collect(exposition))).is_err();
        let mut failures = exposition.take_failures();
        if panicked {
            failures.push("panicked".to_owned());
        }
        self.note_failures(collector.name(), &failures);
    }

    fn note_failures(&self, collector: &'static str, failures: &[String]) {
        if failures.is_empty() {
            return;
        }
        tracing::debug!(collector, failures = failures.join("; "), "some metrics could not be read");
        *lock(&self.0.failures).entry(collector).or_insert(0) += failures.len() as u64;
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
        exposition.counter(NAMES_DROPPED_TOTAL, &[], self.0.series.nameless());
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
