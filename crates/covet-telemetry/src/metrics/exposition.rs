//! What a scrape collects. How it is written is in `text.rs`.
//!
//! Values may come from several collectors in any order: they are grouped under one HELP and TYPE by name,
//! sorted by name and labels, and values with equal labels are added up.

mod text;

use std::collections::HashMap;
use std::ops::Range;

pub(super) use self::text::push_labels;
use super::{Kind, Metric};

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

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
    failures: Vec<String>,
}

#[derive(Debug)]
struct Family {
    name: Box<str>,
    help: Box<str>,
    kind: Kind,
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
    /// The counts lie in `bucket_counts`.
    Histogram {
        counts: Range<usize>,
        sum: f64,
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
    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Self::Whole(a.wrapping_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }

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
        let value = self.histogram_value(counts.iter().copied(), sum);
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
        let family = self.known_or_new(metric.name, metric.help, metric.kind);
        self.last = Some((metric.name, family));
        family
    }

    fn histogram_value(&mut self, counts: impl Iterator<Item = u64>, sum: f64) -> Value {
        let start = self.bucket_counts.len();
        self.bucket_counts.extend(counts);
        Value::Histogram { counts: start..self.bucket_counts.len(), sum }
    }
}

/// For the series behind the facade, whose labels are kept as text.
impl Exposition {
    /// The family of a metric, which from now on is of this kind. Series are given before collectors.
    pub(super) fn family(&mut self, name: &str, help: &str, kind: Kind) -> usize {
        let index = self.known_or_new(name, help, kind);
        let family = &mut self.families[index];
        if family.kind != kind {
            // Declared since the last scrape.
            (family.help, family.kind) = (help.into(), kind);
        }
        index
    }

    fn known_or_new(&mut self, name: &str, help: &str, kind: Kind) -> usize {
        if let Some(index) = self.by_name.get(name).copied() {
            return index;
        }
        let index = self.families.len();
        self.by_name.insert(name.into(), index);
        self.families.push(Family { name: name.into(), help: help.into(), kind, samples: Vec::new() });
        index
    }

    pub(super) fn push_number(&mut self, family: usize, labels: &str, value: Number) {
        self.push(family, labels, Value::Number(value));
    }

    pub(super) fn push_histogram(&mut self, family: usize, labels: &str, counts: impl Iterator<Item = u64>, sum: f64) {
        let value = self.histogram_value(counts, sum);
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
        for family in &mut self.families {
            family.samples.clear();
        }
        self.label_text.clear();
        self.bucket_counts.clear();
        self.failures.clear();
    }
}
