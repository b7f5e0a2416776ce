//! The Prometheus text format, read strictly enough to compare counts.
//!
//! Not a validator: that is `promtool check metrics`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

/// One scrape.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Family name → type, from the `# TYPE` lines.
    pub types: BTreeMap<String, String>,
    /// Family name → text, from the `# HELP` lines.
    pub helps: BTreeMap<String, String>,
    /// Every sample, in order.
    pub samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name, with `_count`, `_sum` or `_bucket` where the format adds it.
    pub name: String,
    /// Label → value.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Exposition {
    /// Understands the text of `/metrics`.
    ///
    /// # Errors
    ///
    /// The first line that is neither a comment nor a sample, or a family that is declared twice.
    pub fn parse(text: &str) -> Result<Self> {
        let mut exposition = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').with_context(|| line.to_owned())?;
                if exposition.types.insert(name.to_owned(), kind.to_owned()).is_some() {
                    bail!("{name} is declared twice");
                }
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').with_context(|| line.to_owned())?;
                exposition.helps.insert(name.to_owned(), help.to_owned());
            } else if !line.starts_with('#') {
                exposition.samples.push(sample(line).with_context(|| line.to_owned())?);
            }
        }
        Ok(exposition)
    }

    /// The sum of all samples called `name` that have these labels (and maybe others).
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The samples called `name` that have these labels (and maybe others).
    pub fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|own| own == value);
            sample.name == name && labels.iter().all(has)
        })
    }

    /// Every value that `label` has in any sample.
    #[must_use]
    pub fn values_of(&self, label: &str) -> BTreeSet<&str> {
        self.samples.iter().filter_map(|sample| sample.labels.get(label)).map(String::as_str).collect()
    }
}

fn sample(line: &str) -> Result<Sample> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(end) => line.split_at(end),
        None => bail!("no value"),
    };
    let (labels, rest) = if rest.starts_with('{') { label_pairs(rest)? } else { (BTreeMap::new(), rest) };
    let value = rest.split_whitespace().next().context("no value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse()?,
    };
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// Reads `{a="b",c="d"}` and tells what follows it.
fn label_pairs(text: &str) -> Result<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text.strip_prefix('{').context("no {")?;
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (label, value) = rest.split_once("=\"").context("a label without a value")?;
        let mut unescaped = String::new();
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next().context("a label's value without an end")? {
                (at, '"') => break at,
                (_, '\\') => match letters.next().context("a label's value without an end")?.1 {
                    'n' => unescaped.push('\n'),
                    letter => unescaped.push(letter),
                },
                (_, letter) => unescaped.push(letter),
            }
        };
        labels.insert(label.to_owned(), unescaped);
        rest = &value[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_with_and_without_labels_are_read() {
        let text =
            "# HELP a Things.\n# TYPE a counter\na{x=\"1\",y=\"q\\\"}\\n\"} 3\na{x=\"2\"} 4.5 1700000000\nb +Inf\n";
        let exposition = Exposition::parse(text).unwrap();
        assert_eq!(exposition.types["a"], "counter");
        assert_eq!(exposition.helps["a"], "Things.");
        assert_eq!(exposition.sum("a", &[]), 7.5);
        assert_eq!(exposition.sum("a", &[("x", "1")]), 3.0);
        assert_eq!(exposition.values_of("y"), BTreeSet::from(["q\"}\n"]));
        assert!(exposition.sum("b", &[]).is_infinite());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["a", "a{x=\"1} 2", "a{x} 1", "a one", "# TYPE a counter\n# TYPE a gauge"] {
            assert!(Exposition::parse(text).is_err(), "{text}");
        }
    }
}
