//! The metrics of a moment, and what has changed since another.

use std::collections::BTreeMap;

/// Values of all metrics, as a scrape shows them. Histograms and summaries are there as `…_count`, `…_sum`,
/// `…_bucket` and quantiles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricValues {
    samples: BTreeMap<Sample, f64>,
}

/// Name and labels of a value, in the labels' order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
}

impl MetricValues {
    /// The sum of all values called `name` that have these labels, and maybe others. 0 when there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &Sample, (label, value): &(&str, &str)| {
            sample.labels.iter().any(|(own, own_value)| own == label && own_value == value)
        };
        let wanted = |sample: &Sample| sample.name == name && labels.iter().all(|label| has(sample, label));
        // Not `sum`, which makes -0 of nothing.
        self.samples.iter().filter(|(sample, _)| wanted(sample)).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// What has changed since an `earlier` moment: each value less what it was.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |sample| earlier.samples.get(sample).copied().unwrap_or(0.0);
        let samples = self.samples.iter().map(|(sample, value)| (sample.clone(), value - before(sample)));
        Self { samples: samples.collect() }
    }

    /// The names of the values that are not 0: after [`since`](Self::since), of those that have changed.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.samples.iter().filter(|(_, value)| **value != 0.0).map(|(sample, _)| sample.name.as_str()).collect();
        names.dedup();
        names
    }

    /// Reads what the registry has rendered.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.filter_map(sample).collect() }
    }
}

/// `name{label="value",…} 1.0`
fn sample(line: &str) -> Option<(Sample, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, pairs(labels.strip_suffix('}')?)?),
        None => (series, Vec::new()),
    };
    Some((Sample { name: name.to_owned(), labels }, value))
}

/// `label="value",…` with `\\`, `\"` and `\n` in the values.
fn pairs(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    char => value.push(char),
                },
                (_, char) => value.push(char),
            }
        };
        pairs.push((label.to_owned(), value));
        rest = after[end + 1..].trim_start_matches(',');
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_summed_over_the_labels_that_are_not_named() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"q\\\"}\\n, z=\"} 3.0\na{x=\"2\",y=\"\"} 4.5\nb +Inf\n";
        let values = MetricValues::parse(text);
        assert_eq!(values.sum("a", &[]), 7.5);
        assert_eq!(values.sum("a", &[("x", "1"), ("y", "q\"}\n, z=")]), 3.0);
        assert_eq!(values.sum("a", &[("x", "3")]), 0.0);
        assert!(values.sum("b", &[]).is_infinite());
    }

    #[test]
    fn a_change_is_the_difference_and_names_what_has_moved() {
        let before = MetricValues::parse("a 1.0\nb 5.0\n");
        let after = MetricValues::parse("a 1.0\nb 7.0\nc{x=\"1\"} 1.0\n");
        let change = after.since(&before);
        assert_eq!((change.sum("a", &[]), change.sum("b", &[]), change.sum("c", &[])), (0.0, 2.0, 1.0));
        assert_eq!(change.names(), ["b", "c"]);
    }
}
