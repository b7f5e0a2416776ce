//! The series behind the `metrics` facade and the registry's typed handles.
//!
//! A call with name and labels finds its series by the key's hash, under a read lock. The first call of a key
//! goes the slow way: the labels are brought into the form of the declaration, and the guard sees to it that
//! no metric has more than a fixed number of label sets. What comes after that is counted under the label
//! value `other`, so a label taken from outside can cost neither memory nor the scrape.

mod labels;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use metrics::Key;

use self::labels::{Declared, OVERFLOW, labels_of, overflow_labels, valid_name};
use super::catalog::DEFAULT_SECONDS;
use super::cells::{CellPool, CounterCell, GaugeCell, HistogramCell};
use super::exposition::{Exposition, Number};
use super::{Kind, Metric};

const LOOKUP_SHARDS: usize = 16;

pub(super) struct Series {
    lookup: [RwLock<HashMap<Key, Handle, BuildHasherDefault<KeyHash>>>; LOOKUP_SHARDS],
    families: Mutex<BTreeMap<Cow<'static, str>, Family>>,
    pool: CellPool,
    max_label_sets: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Handle {
    Counter(Arc<CounterCell>),
    Gauge(Arc<GaugeCell>),
    /// Also summaries.
    Histogram(Arc<HistogramCell>),
}

/// What the facade distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Counter,
    Gauge,
    Histogram,
}

struct Family {
    help: Cow<'static, str>,
    kind: Kind,
    labels: Declared,
    /// By `a="1",b="2"`.
    series: BTreeMap<String, Handle>,
    refused: AtomicU64,
    misused: AtomicU64,
}

impl Family {
    fn declared(metric: &'static Metric) -> Self {
        Self::new(metric.help, metric.kind, Some(metric.labels))
    }

    fn undeclared(wanted: Wanted) -> Self {
        let kind = match wanted {
            Wanted::Counter => Kind::Counter,
            Wanted::Gauge => Kind::Gauge,
            Wanted::Histogram => Kind::Histogram(&DEFAULT_SECONDS),
        };
        Self::new("Not described where it is counted.", kind, None)
    }

    fn new(help: &'static str, kind: Kind, labels: Declared) -> Self {
        let (refused, misused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { help: Cow::Borrowed(help), kind, labels, series: BTreeMap::new(), refused, misused }
    }

    fn accepts(&self, wanted: Wanted) -> bool {
        match self.kind {
            Kind::Counter => wanted == Wanted::Counter,
            Kind::Gauge | Kind::Info => wanted == Wanted::Gauge,
            Kind::Histogram(_) | Kind::Summary => wanted == Wanted::Histogram,
        }
    }
}

impl Series {
    pub(super) fn new(max_label_sets: usize) -> Self {
        Self {
            lookup: Default::default(),
            families: Mutex::new(BTreeMap::new()),
            pool: CellPool::new(),
            max_label_sets,
        }
    }

    /// Makes the metric show before it has values. One without labels shows its zero, unless it is a gauge:
    /// nobody has read that yet.
    pub(super) fn declare(&self, metric: &'static Metric) {
        let mut families = self.families();
        let family = families.entry(Cow::Borrowed(metric.name)).or_insert_with(|| Family::declared(metric));
        if family.labels.is_none() && family.series.is_empty() {
            *family = Family::declared(metric);
        }
        drop(families);
        let wanted = match metric.kind {
            Kind::Counter => Wanted::Counter,
            Kind::Histogram(_) | Kind::Summary => Wanted::Histogram,
            Kind::Gauge | Kind::Info => return,
        };
        if metric.labels.is_empty() {
            self.find(&Key::from(metric.name), wanted);
        }
    }

    /// Keeps the text for a metric that nobody declared; a declaration wins over it.
    pub(super) fn describe(&self, name: &str, wanted: Wanted, help: &str) {
        let mut families = self.families();
        let family =
            families.entry(Cow::Owned(valid_name(name).into_owned())).or_insert_with(|| Family::undeclared(wanted));
        if family.labels.is_none() {
            family.help = Cow::Owned(help.to_owned());
        }
    }

    /// The series of `key`. `None` when the metric is of another kind.
    pub(super) fn find(&self, key: &Key, wanted: Wanted) -> Option<Handle> {
        // The map itself looks at the lowest and the highest bits.
        let lookup = &self.lookup[(key.get_hash() >> 32) as usize % LOOKUP_SHARDS];
        if let Some(handle) = lookup.read().unwrap_or_else(PoisonError::into_inner).get(key)
            && handle.is(wanted)
        {
            return Some(handle.clone());
        }
        let (found, warning) = self.register(key, wanted);
        if let Some(warning) = warning {
            // Only now that nothing is locked: the log may count things too.
            warning.log(key.name(), wanted, self.max_label_sets);
        }
        let (handle, within_limit) = found?;
        if within_limit {
            let mut lookup = lookup.write().unwrap_or_else(PoisonError::into_inner);
            lookup.insert(key.to_retained(), handle.clone());
        }
        Some(handle)
    }

    /// The series, and whether its key may be remembered.
    fn register(&self, key: &Key, wanted: Wanted) -> (Option<(Handle, bool)>, Option<Warning>) {
        let mut families = self.families();
        let name = valid_name(key.name());
        if !families.contains_key(name.as_ref()) {
            families.insert(Cow::Owned(name.clone().into_owned()), Family::undeclared(wanted));
        }
        let Some(family) = families.get_mut(name.as_ref()) else { return (None, None) };
        if !family.accepts(wanted) {
            return (None, first(&family.misused).then_some(Warning::OtherKind(family.kind)));
        }
        let (labels, as_declared) = labels_of(key, family.labels);
        let mut warning = None;
        if !as_declared && first(&family.misused) {
            warning = family.labels.map(Warning::OtherLabels);
        }
        if let Some(handle) = family.series.get(&labels) {
            return (Some((handle.clone(), true)), warning);
        }
        let new = || Handle::new(family.kind, &self.pool);
        if family.series.len() < self.max_label_sets || labels.is_empty() {
            let handle = family.series.entry(labels).or_insert_with(new);
            return (Some((handle.clone(), true)), warning);
        }
        if first(&family.refused) {
            warning = Some(Warning::TooManyLabelSets);
        }
        let overflow = overflow_labels(key, family.labels);
        let handle = family.series.entry(overflow).or_insert_with(new);
        (Some((handle.clone(), false)), warning)
    }

    /// Gives all values to a scrape.
    pub(super) fn collect(&self, out: &mut Exposition) {
        for (name, family) in &*self.families() {
            let index = out.family(name, &family.help, family.kind);
            for (labels, handle) in &family.series {
                match handle {
                    Handle::Counter(cell) => out.push_number(index, labels, Number::Whole(cell.value())),
                    Handle::Gauge(cell) => out.push_number(index, labels, Number::Float(cell.value())),
                    Handle::Histogram(cell) if family.kind == Kind::Summary => {
                        out.push_summary(index, labels, cell.counts().sum(), cell.sum());
                    }
                    Handle::Histogram(cell) => out.push_histogram(index, labels, cell.counts(), cell.sum()),
                }
            }
        }
    }

    /// How often each metric was counted under [`OVERFLOW`], and how often it was not used as declared.
    pub(super) fn troubles(&self) -> Vec<(String, u64, u64)> {
        let families = self.families();
        let troubles = families.iter().map(|(name, family)| {
            (name.clone().into_owned(), family.refused.load(Relaxed), family.misused.load(Relaxed))
        });
        troubles.filter(|(_, refused, misused)| *refused > 0 || *misused > 0).collect()
    }

    fn families(&self) -> MutexGuard<'_, BTreeMap<Cow<'static, str>, Family>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn new(kind: Kind, pool: &CellPool) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Arc::new(CounterCell::new(pool))),
            Kind::Gauge | Kind::Info => Self::Gauge(Arc::default()),
            Kind::Histogram(_) | Kind::Summary => Self::Histogram(Arc::new(HistogramCell::new(pool, kind.buckets()))),
        }
    }

    fn is(&self, wanted: Wanted) -> bool {
        match self {
            Self::Counter(_) => wanted == Wanted::Counter,
            Self::Gauge(_) => wanted == Wanted::Gauge,
            Self::Histogram(_) => wanted == Wanted::Histogram,
        }
    }
}

/// What is said once a metric; every further occurrence is only counted.
enum Warning {
    OtherKind(Kind),
    OtherLabels(&'static [&'static str]),
    TooManyLabelSets,
}

impl Warning {
    fn log(self, metric: &str, wanted: Wanted, limit: usize) {
        match self {
            Self::OtherKind(kind) => {
                let declared = kind.type_name();
                tracing::warn!(metric, declared, used = ?wanted, "a metric is used as another type; the values are lost");
            }
            Self::OtherLabels(declared) => tracing::warn!(
                metric,
                ?declared,
                "a metric is used with other labels than declared; missing ones are empty, others left out"
            ),
            Self::TooManyLabelSets => tracing::warn!(
                metric,
                limit,
                "a metric has its largest number of label sets; further ones are counted under \"{OVERFLOW}\". Use \
                 labels with few values, or raise COVET_METRICS__MAX_LABEL_SETS"
            ),
        }
    }
}

/// Counts an occurrence. True for the first.
fn first(occurrences: &AtomicU64) -> bool {
    occurrences.fetch_add(1, Relaxed) == 0
}

/// A [`Key`] brings its hash along.
#[derive(Default)]
struct KeyHash(u64);

impl Hasher for KeyHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
