//! What a scrape collects: values, grouped under one HELP and TYPE by name, in any order and from several collectors.
//!
//! | you want | look in |
//! |---|---|
//! | sorting, and making one of values with equal labels | `merged.rs` |
//! | the text | `text.rs`; what OpenMetrics demands of names `openmetrics.rs` |
//! | which format a scraper gets | [`Format`] |
//! | to hand the values to another process | `wire.rs` |

mod format;
mod merged;
mod openmetrics;
mod text;
mod wire;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

pub use self::format::{Format, Selection};
pub(super) use self::text::push_labels;
pub(super) use self::wire::Sender;
use super::exemplar::Exemplar;
use super::{Kind, Merge, Metric, Origin};

/// Where a [`Collector`](super::Collector) puts its values. Label values are given in the order of the
/// metric's labels.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
    by_name: HashMap<Box<str>, usize>,
    /// Collectors give the values of one metric in a row.
    last: Option<(&'static str, usize)>,
    label_text: String,
    bucket_counts: Vec<u64>,
    exemplars: Vec<Option<Exemplar>>,
    failures: Vec<String>,
    last_text_bytes: usize,
}

#[derive(Debug)]
struct Family {
    name: Box<str>,
    help: Box<str>,
    kind: Kind,
    /// Of a histogram; those of another process's are nobody's constant.
    bounds: Cow<'static, [f64]>,
    merge: Merge,
    origin: Origin,
    /// Known from another process only, and forgotten with its values.
    foreign: bool,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    /// Where in `label_text` its `a="1",b="2"` lies.
    labels: Range<usize>,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Number(Number),
    /// The counts lie in `bucket_counts`, and, if there are any, an exemplar for each in `exemplars`.
    Histogram {
        counts: Range<usize>,
        sum: f64,
        exemplars: Range<usize>,
    },
    Summary {
        count: u64,
        sum: f64,
    },
}

/// A value: whole numbers stay exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// Anything else.
    Float(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        u64::try_from(value).map_or(Self::Float(value as f64), Self::Whole)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Number {
    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

impl Exposition {
    /// The value of a counter.
    ///
    /// # Panics
    /// This and the other methods that add values panic when the metric is of another kind, or has another
    /// number of labels. [`Registry::render`](super::Registry::render) counts that as the collector's failure.
    pub fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: impl Into<Number>) {
        self.add(metric, Kind::Counter, labels, Value::Number(value.into()));
    }

    /// The value of a gauge.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: impl Into<Number>) {
        self.add(metric, Kind::Gauge, labels, Value::Number(value.into()));
    }

    /// A fact: its labels tell it.
    pub fn info(&mut self, metric: &'static Metric, labels: &[&str]) {
        self.add(metric, Kind::Info, labels, Value::Number(Number::Whole(1)));
    }

    /// A histogram: the count of each bucket by itself, not cumulative, `+Inf` last; and the sum.
    pub fn histogram(&mut self, metric: &'static Metric, labels: &[&str], counts: &[u64], sum: f64) {
        self.histogram_with_exemplars(metric, labels, counts, sum, &[]);
    }

    /// The same with an exemplar for each bucket, `+Inf` last; or none at all.
    ///
    /// # Panics
    /// Also when there is another number of exemplars than of counts.
    pub fn histogram_with_exemplars(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        counts: &[u64],
        sum: f64,
        exemplars: &[Option<Exemplar>],
    ) {
        assert!(exemplars.is_empty() || exemplars.len() == counts.len(), "exemplars of {}", metric.name);
        let value = self.histogram_value(counts.iter().copied(), sum, exemplars);
        self.add(metric, Kind::Histogram(metric.kind.buckets()), labels, value);
    }

    /// A summary without quantiles.
    pub fn summary(&mut self, metric: &'static Metric, labels: &[&str], count: u64, sum: f64) {
        self.add(metric, Kind::Summary, labels, Value::Summary { count, sum });
    }

    /// Says that something could not be read. It is logged, and counted under the collector's name; the
    /// values given before and after are shown all the same.
    pub fn failure(&mut self, what: impl Into<String>) {
        self.failures.push(what.into());
    }

    fn add(&mut self, metric: &'static Metric, kind: Kind, labels: &[&str], value: Value) {
        assert_eq!(metric.kind, kind, "kind of {}", metric.name);
        if let Value::Histogram { counts, .. } = &value {
            assert_eq!(counts.len(), kind.buckets().len() + 1, "buckets of {}", metric.name);
        }
        assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
        let family = self.declare(metric);
        if self.families[family].kind != kind {
            let known = self.families[family].kind.type_name();
            self.failures.push(format!("{} is a {known} and was given as a {}", metric.name, kind.type_name()));
            return;
        }
        let start = self.label_text.len();
        push_labels(&mut self.label_text, metric.labels.iter().copied().zip(labels.iter().copied()));
        let labels = start..self.label_text.len();
        self.families[family].samples.push(Sample { labels, value });
    }

    fn declare(&mut self, metric: &'static Metric) -> usize {
        if let Some((name, family)) = self.last
            && std::ptr::eq(name, metric.name)
        {
            return family;
        }
        let known = self.by_name.get(metric.name).copied();
        let family = known
            .unwrap_or_else(|| self.new_family(metric.name, &metric.help(), metric.kind, metric.merge, metric.origin));
        self.last = Some((metric.name, family));
        family
    }

    fn new_family(&mut self, name: &str, help: &str, kind: Kind, merge: Merge, origin: Origin) -> usize {
        let index = self.families.len();
        self.by_name.insert(name.into(), index);
        self.families.push(Family {
            name: name.into(),
            help: help.into(),
            kind,
            bounds: Cow::Borrowed(kind.buckets()),
            merge,
            origin,
            foreign: false,
            samples: Vec::new(),
        });
        index
    }

    fn histogram_value(
        &mut self,
        counts: impl Iterator<Item = u64>,
        sum: f64,
        exemplars: &[Option<Exemplar>],
    ) -> Value {
        let (start, first) = (self.bucket_counts.len(), self.exemplars.len());
        self.bucket_counts.extend(counts);
        self.exemplars.extend_from_slice(exemplars);
        Value::Histogram { counts: start..self.bucket_counts.len(), sum, exemplars: first..self.exemplars.len() }
    }
}

/// For the series behind the facade, whose labels are kept as text.
impl Exposition {
    /// The family of a declared metric, which from now on is as declared. Series are given before collectors.
    pub(super) fn family_of(&mut self, metric: &'static Metric) -> usize {
        let index = self.declare(metric);
        let family = &mut self.families[index];
        if family.kind != metric.kind {
            // Declared since the last scrape.
            family.help = metric.help().into();
            (family.kind, family.merge, family.origin) = (metric.kind, metric.merge, metric.origin);
            family.bounds = Cow::Borrowed(metric.kind.buckets());
        }
        index
    }

    /// The family of a metric that nobody declared.
    pub(super) fn family(&mut self, name: &str, help: &str, kind: Kind) -> usize {
        let Some(index) = self.by_name.get(name).copied() else {
            return self.new_family(name, help, kind, Merge::Sum, Origin::Platform);
        };
        if *self.families[index].help != *help {
            self.families[index].help = help.into();
        }
        index
    }

    pub(super) fn push_number(&mut self, family: usize, labels: &str, value: Number) {
        self.push(family, labels, Value::Number(value));
    }

    pub(super) fn push_histogram(&mut self, family: usize, labels: &str, counts: impl Iterator<Item = u64>, sum: f64) {
        let value = self.histogram_value(counts, sum, &[]);
        self.push(family, labels, value);
    }

    pub(super) fn push_summary(&mut self, family: usize, labels: &str, count: u64, sum: f64) {
        self.push(family, labels, Value::Summary { count, sum });
    }

    fn push(&mut self, family: usize, labels: &str, value: Value) {
        let start = self.label_text.len();
        self.label_text.push_str(labels);
        self.families[family].samples.push(Sample { labels: start..self.label_text.len(), value });
    }

    pub(super) fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// Forgets the values and keeps the memory.
    pub(super) fn clear(&mut self) {
        if self.families.iter().any(|family| family.foreign) {
            self.families.retain(|family| !family.foreign);
            let names = self.families.iter().enumerate().map(|(index, family)| (family.name.clone(), index));
            self.by_name = names.collect();
            self.last = None;
        }
        for family in &mut self.families {
            family.samples.clear();
        }
        self.label_text.clear();
        self.bucket_counts.clear();
        self.exemplars.clear();
        self.failures.clear();
    }
}
