//! The series behind the `metrics` facade and the registry's typed handles.
//!
//! A call with name and labels finds its series by the key's hash, under a read lock. The first call of a key
//! goes the slow way: the labels are brought into the form of the declaration, and the guard sees to it that
//! no metric has more than a fixed number of label sets. What comes after that is counted under the label
//! value `other`, so a label taken from outside can cost neither memory nor the scrape. The number of metrics
//! without a declaration and the number of remembered keys are bounded too.

mod labels;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use metrics::Key;

use self::labels::{Declared, OVERFLOW, labels_of, overflow_labels, valid_name};
use super::catalog::DEFAULT_SECONDS;
use super::cells::{CellPool, CounterCell, GaugeCell, HistogramCell};
use super::exposition::{Exposition, Number};
use super::{Kind, Metric};

const LOOKUP_SHARDS: usize = 16;

/// Metrics that nobody declared; further names are not counted.
const MAX_UNDECLARED: usize = 1000;
/// How many series a scrape reads before it lets others have the family.
const CHUNK: usize = 512;
/// A series is found by as many keys as its labels can be put in orders; of each metric so many times its limit of
/// label sets are remembered.
const KEYS_PER_LABEL_SET: usize = 4;

pub(super) struct Series {
    lookup: [RwLock<HashMap<Key, Handle, BuildHasherDefault<KeyHash>>>; LOOKUP_SHARDS],
    families: RwLock<BTreeMap<Cow<'static, str>, Arc<Family>>>,
    pool: CellPool,
    max_label_sets: usize,
    undeclared: AtomicUsize,
    /// Uses of names beyond [`MAX_UNDECLARED`].
    nameless: AtomicU64,
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
    declared: Option<&'static Metric>,
    kind: Kind,
    state: Mutex<State>,
    refused: Arc<AtomicU64>,
    misused: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Of a metric that nobody declared.
    help: Option<String>,
    /// By `a="1",b="2"`.
    series: BTreeMap<String, Handle>,
    remembered: usize,
}

impl Family {
    fn declared(metric: &'static Metric) -> Self {
        Self::new(metric.kind, Some(metric))
    }

    fn undeclared(wanted: Wanted) -> Self {
        let kind = match wanted {
            Wanted::Counter => Kind::Counter,
            Wanted::Gauge => Kind::Gauge,
            Wanted::Histogram => Kind::Histogram(&DEFAULT_SECONDS),
        };
        Self::new(kind, None)
    }

    fn new(kind: Kind, declared: Option<&'static Metric>) -> Self {
        let (refused, misused) = (Arc::default(), AtomicU64::new(0));
        Self { declared, kind, state: Mutex::default(), refused, misused }
    }

    fn labels(&self) -> Declared {
        self.declared.map(|metric| metric.labels)
    }

    fn accepts(&self, wanted: Wanted) -> bool {
        match self.kind {
            Kind::Counter => wanted == Wanted::Counter,
            Kind::Gauge | Kind::Info => wanted == Wanted::Gauge,
            Kind::Histogram(_) | Kind::Summary => wanted == Wanted::Histogram,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the values to a scrape, a few series at a time: whoever needs a new series meanwhile does not wait for
    /// the whole of a large metric.
    fn collect(&self, name: &str, out: &mut Exposition) {
        let index = match self.declared {
            Some(metric) => out.family_of(metric),
            None => {
                let help = self.state().help.clone();
                let help = help.as_deref().unwrap_or("Not described where it is counted.");
                out.family(name, help, self.kind)
            }
        };
        let mut after: Option<String> = None;
        loop {
            let state = self.state();
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut last = None;
            for (labels, handle) in state.series.range::<str, _>((from, Bound::Unbounded)).take(CHUNK) {
                handle.collect(self.kind, index, labels, out);
                last = Some(labels);
            }
            match last {
                Some(labels) => after = Some(labels.clone()),
                None => return,
            }
        }
    }
}

impl Series {
    pub(super) fn new(max_label_sets: usize) -> Self {
        Self {
            lookup: Default::default(),
            families: RwLock::default(),
            pool: CellPool::new(),
            max_label_sets,
            undeclared: AtomicUsize::new(0),
            nameless: AtomicU64::new(0),
        }
    }

    /// Makes the metric show before it has values. One without labels shows its zero, unless it is a gauge:
    /// nobody has read that yet.
    pub(super) fn declare(&self, metric: &'static Metric) {
        if self.family(metric.name).is_none_or(|family| family.declared.is_none()) {
            let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
            let family =
                families.entry(Cow::Borrowed(metric.name)).or_insert_with(|| Arc::new(Family::declared(metric)));
            // Described, and not counted yet.
            if family.declared.is_none() && family.state().series.is_empty() {
                *family = Arc::new(Family::declared(metric));
                self.undeclared.fetch_sub(1, Relaxed);
            }
        }
        let wanted = match metric.kind {
            Kind::Counter => Wanted::Counter,
            Kind::Histogram(_) | Kind::Summary => Wanted::Histogram,
            Kind::Gauge | Kind::Info => return,
        };
        if metric.labels.is_empty() {
            self.find(&Key::from(metric.name), wanted);
        }
    }

    /// Where uses of a declared metric beyond its limit are counted, for those who limit it themselves.
    pub(super) fn refused(&self, metric: &'static Metric) -> Arc<AtomicU64> {
        self.declare(metric);
        self.family(metric.name).map(|family| Arc::clone(&family.refused)).unwrap_or_default()
    }

    /// Keeps the text for a metric that nobody declared; a declaration wins over it.
    pub(super) fn describe(&self, name: &str, wanted: Wanted, help: &str) {
        if let Some(family) = self.family_or_undeclared(name, wanted)
            && family.declared.is_none()
        {
            family.state().help = Some(help.to_owned());
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
        let (handle, remember) = found?;
        if remember {
            let mut lookup = lookup.write().unwrap_or_else(PoisonError::into_inner);
            lookup.insert(key.to_retained(), handle.clone());
        }
        Some(handle)
    }

    /// The series, and whether its key may be remembered.
    fn register(&self, key: &Key, wanted: Wanted) -> (Option<(Handle, bool)>, Option<Warning>) {
        let Some(family) = self.family_or_undeclared(key.name(), wanted) else {
            return (None, first(&self.nameless).then_some(Warning::TooManyNames));
        };
        if !family.accepts(wanted) {
            return (None, first(&family.misused).then_some(Warning::OtherKind(family.kind)));
        }
        let (labels, as_declared) = labels_of(key, family.labels());
        let mut warning = None;
        if !as_declared && first(&family.misused) {
            warning = family.labels().map(Warning::OtherLabels);
        }
        let new = || Handle::new(family.kind, &self.pool);
        let mut state = family.state();
        let known = state.series.get(&labels).cloned();
        if known.is_some() || state.series.len() < self.max_label_sets || labels.is_empty() {
            let handle = known.unwrap_or_else(|| state.series.entry(labels).or_insert_with(new).clone());
            let remember = state.remembered < self.max_label_sets.saturating_mul(KEYS_PER_LABEL_SET);
            state.remembered += usize::from(remember);
            return (Some((handle, remember)), warning);
        }
        if first(&family.refused) {
            warning = Some(Warning::TooManyLabelSets);
        }
        let overflow = overflow_labels(key, family.labels());
        let handle = state.series.entry(overflow).or_insert_with(new).clone();
        (Some((handle, false)), warning)
    }

    /// Gives all values to a scrape.
    pub(super) fn collect(&self, out: &mut Exposition) {
        for (name, family) in self.all_families() {
            family.collect(&name, out);
        }
    }

    /// How often each metric was counted under [`OVERFLOW`], and how often it was not used as declared.
    pub(super) fn troubles(&self) -> Vec<(String, u64, u64)> {
        let troubles = self
            .all_families()
            .into_iter()
            .map(|(name, family)| (name.into_owned(), family.refused.load(Relaxed), family.misused.load(Relaxed)));
        troubles.filter(|(_, refused, misused)| *refused > 0 || *misused > 0).collect()
    }

    /// How often a metric was used whose name was one too many.
    pub(super) fn nameless(&self) -> u64 {
        self.nameless.load(Relaxed)
    }

    fn all_families(&self) -> Vec<(Cow<'static, str>, Arc<Family>)> {
        let families = self.families.read().unwrap_or_else(PoisonError::into_inner);
        families.iter().map(|(name, family)| (name.clone(), Arc::clone(family))).collect()
    }

    fn family(&self, name: &str) -> Option<Arc<Family>> {
        self.families.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The family of this name, made if there is none; `None` when there are too many already.
    fn family_or_undeclared(&self, name: &str, wanted: Wanted) -> Option<Arc<Family>> {
        let name = valid_name(name);
        if let Some(family) = self.family(&name) {
            return Some(family);
        }
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(family) = families.get(name.as_ref()) {
            return Some(Arc::clone(family));
        }
        if self.undeclared.load(Relaxed) >= MAX_UNDECLARED {
            return None;
        }
        self.undeclared.fetch_add(1, Relaxed);
        let family = Arc::new(Family::undeclared(wanted));
        families.insert(Cow::Owned(name.into_owned()), Arc::clone(&family));
        Some(family)
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

    fn collect(&self, kind: Kind, family: usize, labels: &str, out: &mut Exposition) {
        match self {
            Self::Counter(cell) => out.push_number(family, labels, Number::Whole(cell.value())),
            Self::Gauge(cell) => out.push_number(family, labels, Number::Float(cell.value())),
            Self::Histogram(cell) if kind == Kind::Summary => {
                out.push_summary(family, labels, cell.counts().sum(), cell.sum());
            }
            Self::Histogram(cell) => out.push_histogram(family, labels, cell.counts(), cell.sum()),
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
    TooManyNames,
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
            Self::TooManyNames => tracing::warn!(
                metric,
                limit = MAX_UNDECLARED,
                "there are too many metrics that nobody declared; this one is not counted. A name must not be made of \
                 values: those are for labels"
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
pub(super) struct KeyHash(u64);

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

#[cfg(test)]
mod tests {
    use metrics::Label;

    use super::*;
    use crate::metrics::catalog;

    #[test]
    fn keys_that_only_differ_in_what_is_not_declared_are_not_remembered_without_end() {
        let series = Series::new(10);
        series.declare(catalog::DB_ROWS_AFFECTED);
        for number in 0..1000 {
            let labels = vec![Label::new("operation", "SELECT"), Label::new("request", number.to_string())];
            series.find(&Key::from_parts("db_rows_affected", labels), Wanted::Counter).unwrap();
        }
        let remembered: usize = series.lookup.iter().map(|lookup| lookup.read().unwrap().len()).sum();
        assert!(remembered <= 10 * KEYS_PER_LABEL_SET + catalog::all().count(), "{remembered}");
    }
}
