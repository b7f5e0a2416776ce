//! The families of a scrape in their final form: sorted, values with equal labels made one, derived values added.
//!
//! Values with equal labels come from several collectors, which are added up, and from several processes, where the
//! metric says what becomes of them ([`Merge`]).

use std::ops::Range;

use super::{Exposition, Family, Number, Sample, Value};
use crate::metrics::exemplar::Exemplar;
use crate::metrics::{Kind, Merge, catalog};

impl Exposition {
    /// Sorts and merges; returns the families' indices by name.
    pub(super) fn merge(&mut self) -> Vec<usize> {
        let Self { families, label_text, bucket_counts, exemplars, .. } = self;
        for family in families.iter_mut() {
            family.samples.sort_by(|a, b| label_text[a.labels.clone()].cmp(&label_text[b.labels.clone()]));
            merge_equal(family, label_text, bucket_counts, exemplars);
        }
        self.derive_hit_ratio();
        let mut order: Vec<usize> = (0..self.families.len()).collect();
        order.sort_unstable_by(|a, b| self.families[*a].name.cmp(&self.families[*b].name));
        order
    }

    /// `cache_hit_ratio` from hits and misses, so that the three always agree, also over several processes.
    fn derive_hit_ratio(&mut self) {
        let family = |name: &str| self.by_name.get(name).copied();
        let (Some(hits), Some(misses)) =
            (family(catalog::CACHE_HITS_TOTAL.name), family(catalog::CACHE_MISSES_TOTAL.name))
        else {
            return;
        };
        let mut by_type: Vec<(Range<usize>, [f64; 2])> = Vec::new();
        for (column, family) in [hits, misses].into_iter().enumerate() {
            for Sample { labels, value } in &self.families[family].samples {
                let Value::Number(count) = value else { continue };
                let cache_type = first_label(labels, &self.label_text);
                let same = |known: &Range<usize>| self.label_text[known.clone()] == self.label_text[cache_type.clone()];
                match by_type.iter_mut().find(|(known, _)| same(known)) {
                    Some((_, counts)) => counts[column] += count.as_f64(),
                    None => {
                        let mut counts = [0.0; 2];
                        counts[column] = count.as_f64();
                        by_type.push((cache_type, counts));
                    }
                }
            }
        }
        let ratio = self.declare(catalog::CACHE_HIT_RATIO);
        let read = by_type.into_iter().filter(|(_, [hits, misses])| hits + misses > 0.0);
        self.families[ratio].samples = read
            .map(|(labels, [hits, misses])| Sample {
                labels,
                value: Value::Number(Number::Float(hits / (hits + misses))),
            })
            .collect();
    }
}

/// Where the first of several labels lies, `a="1"` of `a="1",b="2"`. Both caches and their types are named by code, so
/// no quote in a value can mislead.
fn first_label(labels: &Range<usize>, label_text: &str) -> Range<usize> {
    let text = &label_text[labels.clone()];
    let end = text.find("\",").map_or(text.len(), |quote| quote + 1);
    labels.start..labels.start + end
}

/// Makes one of samples with equal labels; `family.samples` is sorted.
fn merge_equal(family: &mut Family, label_text: &str, bucket_counts: &mut [u64], exemplars: &mut [Option<Exemplar>]) {
    let (kind, rule) = (family.kind, family.merge);
    family.samples.dedup_by(|later, earlier| {
        let labels = &label_text[earlier.labels.clone()];
        if label_text[later.labels.clone()] != *labels {
            return false;
        }
        let rule = match rule {
            Merge::OfCache if labels.starts_with("cache_type=\"redis\"") => Merge::Largest,
            Merge::OfCache => Merge::Sum,
            rule => rule,
        };
        match (&mut earlier.value, &later.value) {
            (Value::Number(a), Value::Number(b)) if kind != Kind::Info => *a = a.merge(*b, rule),
            (Value::Summary { count, sum }, Value::Summary { count: more, sum: further }) if rule != Merge::Own => {
                *count = count.wrapping_add(*more);
                *sum += further;
            }
            (
                Value::Histogram { counts, sum, exemplars: shown },
                Value::Histogram { counts: more, sum: further, exemplars: others },
            ) if rule != Merge::Own => {
                for (to, from) in counts.clone().zip(more.clone()) {
                    bucket_counts[to] = bucket_counts[to].wrapping_add(bucket_counts[from]);
                }
                *sum += further;
                if shown.start == shown.end {
                    *shown = others.clone();
                } else {
                    for (to, from) in shown.clone().zip(others.clone()) {
                        exemplars[to] = Exemplar::younger(exemplars[to], exemplars[from]);
                    }
                }
            }
            _ => {}
        }
        true
    });
}

impl Number {
    fn merge(self, other: Self, rule: Merge) -> Self {
        match (rule, self, other) {
            (Merge::Sum, Self::Whole(a), Self::Whole(b)) => Self::Whole(a.wrapping_add(b)),
            (Merge::Sum, a, b) => Self::Float(a.as_f64() + b.as_f64()),
            (Merge::Largest, a, b) if b.as_f64() > a.as_f64() => b,
            (Merge::Smallest, a, b) if b.as_f64() < a.as_f64() => b,
            (Merge::Largest | Merge::OfCache | Merge::Smallest | Merge::Own, a, _) => a,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Selection};

    crate::declare_metrics! {
        /// For these tests.
        ALL;
        /// Things.
        counter THINGS = "things_total" {kind, name};
        /// Level.
        gauge LEVEL = "level" {};
        /// Highest.
        gauge(largest) HIGHEST = "highest" {};
        /// Lowest.
        gauge(smallest) LOWEST = "lowest" {};
        /// Of the machine.
        gauge(own) MACHINE = "machine" {};
        /// In the cache.
        gauge(of_cache) CACHED = "cached" {cache_type};
        /// Times.
        histogram TIMES = "times_seconds" {kind} [0.5, 1.0];
        /// Sizes.
        summary SIZES = "sizes_bytes" {};
        /// About.
        info ABOUT = "about_info" {version};
    }

    fn text(mut exposition: Exposition) -> String {
        exposition.write(Format::Text, Selection::All)
    }

    #[track_caller]
    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert_eq!(text.lines().filter(|found| found == line).count(), 1, "{line} in\n{text}");
        }
    }

    #[test]
    fn values_with_equal_labels_become_one_as_their_metric_says() {
        let mut out = Exposition::default();
        for round in [1_u64, 2] {
            out.counter(THINGS, &["a", "b"], 2_u64);
            out.gauge(LEVEL, &[], 0.5);
            out.gauge(HIGHEST, &[], round);
            out.gauge(LOWEST, &[], round);
            out.gauge(MACHINE, &[], round);
            out.gauge(CACHED, &["memory"], round);
            out.gauge(CACHED, &["redis"], round);
            out.histogram(TIMES, &["slow"], &[1, 2, 3], 1.0);
            out.summary(SIZES, &[], 5, 50.0);
            out.info(ABOUT, &["1.0.0"]);
        }
        assert_eq!(ALL.metrics.len(), 9);
        let lines = [
            "things_total{kind=\"a\",name=\"b\"} 4.0",
            "level 1.0",
            "highest 2.0",
            "lowest 1.0",
            "machine 1.0",
            "cached{cache_type=\"memory\"} 3.0",
            "cached{cache_type=\"redis\"} 2.0",
            "times_seconds_bucket{kind=\"slow\",le=\"1.0\"} 6.0",
            "times_seconds_count{kind=\"slow\"} 12.0",
            "times_seconds_sum{kind=\"slow\"} 2.0",
            "sizes_bytes_count 10.0",
            "about_info{version=\"1.0.0\"} 1.0",
        ];
        assert_lines(&text(out), &lines);
    }

    #[test]
    fn the_hit_ratio_is_that_of_all_prefixes_of_a_cache() {
        let mut out = Exposition::default();
        out.counter(catalog::CACHE_HITS_TOTAL, &["memory", "user"], 2_u64);
        out.counter(catalog::CACHE_HITS_TOTAL, &["memory", "note"], 1_u64);
        out.counter(catalog::CACHE_MISSES_TOTAL, &["memory", "note"], 1_u64);
        out.counter(catalog::CACHE_MISSES_TOTAL, &["redis", "note"], 5_u64);
        out.counter(catalog::CACHE_HITS_TOTAL, &["unused", "note"], 0_u64);
        let text = text(out);
        assert_lines(
            &text,
            &["cache_hit_ratio{cache_type=\"memory\"} 0.75", "cache_hit_ratio{cache_type=\"redis\"} 0.0"],
        );
        assert!(!text.contains("cache_hit_ratio{cache_type=\"unused\"}"), "{text}");
    }
}
