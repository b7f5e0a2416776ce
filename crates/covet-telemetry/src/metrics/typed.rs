//! What `covet::metrics!` makes its methods of: metrics whose labels have types, and whose handles are found by index.
//!
//! A label is an enum that derives `covet::Label`, or [`Text`] with a bound. So the number of label sets is known when
//! the service is compiled, and cannot exceed [`MAX_LABEL_SETS`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use metrics::{Counter, Gauge, Histogram};

use super::{Metric, Registry};

/// Most label sets that a declaration allows; the default of `COVET_METRICS__MAX_LABEL_SETS`.
pub const MAX_LABEL_SETS: usize = 1000;

/// The value of everything beyond a [`Text`]'s bound.
const OTHER: &str = "other";

/// The type of a label. Derived for enums without fields; [`Text`] for what is only known at run time.
pub trait Label: 'static {
    /// Most values.
    const BOUND: usize;
    /// All values, where they are known.
    const KNOWN: &'static [&'static str];
    /// What a caller gives.
    type Given<'a>;
    /// What has to be kept to know a value again.
    type Seen: Default + Send + Sync;

    /// The value's place among all, below [`BOUND`](Self::BOUND).
    fn place(given: Self::Given<'_>, seen: &Self::Seen) -> Place;

    /// The value at a place that [`place`](Self::place) has told.
    fn text(place: usize, seen: &Self::Seen) -> Arc<str>;
}

/// Where a label's value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this place.
    At(usize),
    /// At this one, which stands for all values beyond the bound.
    Beyond(usize),
}

/// A label with any text for a value: the first `N` different ones are kept, further ones are counted as `other`. For
/// values from the code or the configuration (a region, a provider, a tenant); never for what a client sends.
#[derive(Debug)]
pub struct Text<const N: usize>;

/// The values of a [`Text`] so far.
#[derive(Debug, Default)]
pub struct Seen(RwLock<HashMap<Arc<str>, usize>>);

impl<const N: usize> Label for Text<N> {
    const BOUND: usize = N + 1;
    const KNOWN: &'static [&'static str] = &[];
    type Given<'a> = &'a str;
    type Seen = Seen;

    fn place(given: &str, Seen(seen): &Seen) -> Place {
        if let Some(place) = seen.read().unwrap_or_else(PoisonError::into_inner).get(given) {
            return Place::At(*place);
        }
        let mut seen = seen.write().unwrap_or_else(PoisonError::into_inner);
        let next = seen.len();
        match seen.get(given) {
            Some(place) => Place::At(*place),
            None if next < N => {
                seen.insert(given.into(), next);
                Place::At(next)
            }
            None => Place::Beyond(N),
        }
    }

    fn text(place: usize, Seen(seen): &Seen) -> Arc<str> {
        let seen = seen.read().unwrap_or_else(PoisonError::into_inner);
        let found = seen.iter().find(|(_, known)| **known == place);
        found.map_or_else(|| OTHER.into(), |(text, _)| Arc::clone(text))
    }
}

/// The labels of one metric: a tuple of up to four [`Label`]s.
pub trait Labels: 'static {
    /// Most label sets.
    const BOUND: usize;
    /// Whether all values of all labels are known.
    const KNOWN: bool;
    /// What a caller gives.
    type Given<'a>;
    /// What the labels keep.
    type Seen: Default + Send + Sync;

    /// The label set's place among all.
    fn place(given: Self::Given<'_>, seen: &Self::Seen) -> Place;

    /// The values at a place.
    fn texts(place: usize, seen: &Self::Seen) -> Vec<Arc<str>>;
}

macro_rules! labels {
    ($($label:ident $given:ident $seen:ident),*) => {
        impl<$($label: Label),*> Labels for ($($label,)*) {
            const BOUND: usize = 1 $(* $label::BOUND)*;
            const KNOWN: bool = true $(&& !$label::KNOWN.is_empty())*;
            type Given<'a> = ($($label::Given<'a>,)*);
            type Seen = ($($label::Seen,)*);

            fn place(($($given,)*): Self::Given<'_>, ($($seen,)*): &Self::Seen) -> Place {
                let (place, beyond) = (0, false);
                $(
                    let (own, is_beyond) = match $label::place($given, $seen) {
                        Place::At(own) => (own, beyond),
                        Place::Beyond(own) => (own, true),
                    };
                    let (place, beyond) = (place * $label::BOUND + own, is_beyond);
                )*
                if beyond { Place::Beyond(place) } else { Place::At(place) }
            }

            fn texts(place: usize, ($($seen,)*): &Self::Seen) -> Vec<Arc<str>> {
                let [$($given),*] = digits(place, [$($label::BOUND),*]);
                vec![$($label::text($given, $seen)),*]
            }
        }
    };
}

labels!();
labels!(A a a_seen);
labels!(A a a_seen, B b b_seen);
labels!(A a a_seen, B b b_seen, C c c_seen);
labels!(A a a_seen, B b b_seen, C c c_seen, D d d_seen);

/// The digits of a number whose places have these bounds, the last one counting one by one.
fn digits<const N: usize>(mut number: usize, bounds: [usize; N]) -> [usize; N] {
    let mut digits = [0; N];
    for (digit, bound) in digits.iter_mut().zip(bounds).rev() {
        (*digit, number) = (number % bound, number / bound);
    }
    digits
}

/// A handle of the facade, got from a registry.
pub trait Handle: Clone + Send + Sync + 'static {
    /// Whether a series says something true before anything has happened. A counter does: nothing has.
    const FROM_START: bool;

    /// The handle of one series.
    fn of(registry: &Registry, metric: &'static Metric, labels: &[&str]) -> Self;
}

impl Handle for Counter {
    const FROM_START: bool = true;

    fn of(registry: &Registry, metric: &'static Metric, labels: &[&str]) -> Self {
        registry.counter(metric, labels)
    }
}

impl Handle for Gauge {
    const FROM_START: bool = false;

    fn of(registry: &Registry, metric: &'static Metric, labels: &[&str]) -> Self {
        registry.gauge(metric, labels)
    }
}

impl Handle for Histogram {
    const FROM_START: bool = true;

    fn of(registry: &Registry, metric: &'static Metric, labels: &[&str]) -> Self {
        registry.histogram(metric, labels)
    }
}

/// The bounds of a histogram's buckets, if each is above the one before it; else the service does not compile.
///
/// # Panics
/// When they are not.
#[must_use]
pub const fn ascending(bounds: &'static [f64]) -> &'static [f64] {
    assert!(!bounds.is_empty(), "a histogram has at least one bucket");
    let mut index = 1;
    while index < bounds.len() {
        assert!(bounds[index - 1] < bounds[index], "the bounds of the buckets ascend");
        index += 1;
    }
    bounds
}

/// One metric with all its series. Cheap to clone.
pub struct Family<H, L: Labels>(Arc<Inner<H, L>>);

struct Inner<H, L: Labels> {
    registry: Registry,
    metric: &'static Metric,
    handles: Box<[OnceLock<H>]>,
    seen: L::Seen,
    beyond: Arc<AtomicU64>,
}

impl<H: Handle, L: Labels> Family<H, L> {
    /// The metric's series in `registry`. Where all values of all labels are known, each series is there from now on: a
    /// counter at zero can be seen to rise, one that appears with its first event cannot. A gauge appears when it is set.
    #[must_use]
    pub fn new(registry: &Registry, metric: &'static Metric) -> Self {
        const {
            assert!(
                L::BOUND <= MAX_LABEL_SETS,
                "a metric has at most 1000 label sets: use fewer labels, or lower the bounds of its Text labels"
            );
        }
        registry.declare(metric);
        let family = Self(Arc::new(Inner {
            registry: registry.clone(),
            metric,
            handles: (0..L::BOUND).map(|_| OnceLock::new()).collect(),
            seen: L::Seen::default(),
            beyond: registry.refused(metric),
        }));
        if L::KNOWN && H::FROM_START {
            for place in 0..L::BOUND {
                family.0.at(place);
            }
        }
        family
    }

    /// The handle of one series. Keep it where it is hot and a label is [`Text`].
    pub fn with(&self, given: L::Given<'_>) -> &H {
        match L::place(given, &self.0.seen) {
            Place::At(place) => self.0.at(place),
            Place::Beyond(place) => {
                self.0.beyond.fetch_add(1, Relaxed);
                self.0.at(place)
            }
        }
    }
}

impl<H: Handle, L: Labels> Inner<H, L> {
    fn at(&self, place: usize) -> &H {
        self.handles[place].get_or_init(|| {
            let texts = L::texts(place, &self.seen);
            let labels: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
            H::of(&self.registry, self.metric, &labels)
        })
    }
}

impl<H, L: Labels> Clone for Family<H, L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H, L: Labels> fmt::Debug for Family<H, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.0.metric.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::declare_metrics! {
        /// For these tests.
        ALL;
        /// Payments.
        counter PAYMENTS = "payments_total" {way, provider, ended};
        /// Payments by provider.
        counter BY_PROVIDER = "payments_by_provider_total" {provider};
        /// Ways.
        counter BY_WAY = "payments_by_way_total" {way, ended};
        /// Level.
        gauge LEVEL = "level" {way};
        /// Nothing to tell apart.
        counter PLAIN = "plain_total" {};
    }

    /// What `#[derive(Label)]` makes.
    struct Way(usize);

    impl Label for Way {
        const BOUND: usize = 3;
        const KNOWN: &'static [&'static str] = &["card", "bank", "cash"];
        type Given<'a> = Self;
        type Seen = ();

        fn place(Self(place): Self, _: &()) -> Place {
            Place::At(place)
        }

        fn text(place: usize, _: &()) -> Arc<str> {
            Self::KNOWN[place].into()
        }
    }

    #[test]
    fn each_label_set_has_its_own_series() {
        let registry = Registry::new();
        let payments = Family::<Counter, (Way, Text<2>, Way)>::new(&registry, PAYMENTS);
        let mut expected = Vec::new();
        for (number, (way, ended)) in [(0, 2), (1, 0), (2, 1)].into_iter().enumerate() {
            for (half, provider) in ["acme", "best"].into_iter().enumerate() {
                let count = (number * 2 + half + 1) as u64;
                payments.with((Way(way), provider, Way(ended))).increment(count);
                let (way, ended) = (Way::KNOWN[way], Way::KNOWN[ended]);
                expected.push(format!(
                    "payments_total{{way=\"{way}\",provider=\"{provider}\",ended=\"{ended}\"}} {count}.0\n"
                ));
            }
        }
        let text = registry.render();
        for line in &expected {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert_eq!(text.matches("\npayments_total{").count(), expected.len());
        assert_eq!(ALL.metrics.len(), 5);
    }

    #[test]
    fn texts_beyond_the_bound_are_counted_as_other_and_told() {
        let registry = Registry::new();
        let payments = Family::<Counter, (Text<2>,)>::new(&registry, BY_PROVIDER);
        for provider in ["acme", "best", "cheap", "acme", "dear"] {
            payments.with((provider,)).increment(1);
        }
        let text = registry.render();
        for line in [
            "payments_by_provider_total{provider=\"acme\"} 2.0\n",
            "payments_by_provider_total{provider=\"other\"} 2.0\n",
            "metrics_label_sets_dropped_total{metric=\"payments_by_provider_total\"} 2.0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn a_counter_of_known_labels_is_there_from_the_start_and_a_gauge_is_not() {
        let registry = Registry::new();
        let _ways = Family::<Counter, (Way, Way)>::new(&registry, BY_WAY);
        let _plain = Family::<Counter, ()>::new(&registry, PLAIN);
        let level = Family::<Gauge, (Way,)>::new(&registry, LEVEL);
        let text = registry.render();
        assert_eq!(text.matches("\npayments_by_way_total{").count(), 9);
        assert!(text.contains("\nplain_total 0.0\n") && !text.contains("\nlevel{"));
        level.with((Way(1),)).set(4);
        assert!(registry.render().contains("\nlevel{way=\"bank\"} 4.0\n"));
    }

    #[test]
    fn the_same_metrics_made_twice_are_the_same() {
        let registry = Registry::new();
        for _ in 0..2 {
            Family::<Counter, ()>::new(&registry, PLAIN).with(()).increment(1);
        }
        assert!(registry.render().contains("\nplain_total 2.0\n"));
    }
}
