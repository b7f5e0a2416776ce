//! The writing of a scrape as Prometheus text format 0.0.4,
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>, and what OpenMetrics has in common with it.

use super::{Exposition, Format, Number, Selection, Value, openmetrics};

impl Exposition {
    /// The text.
    pub(in crate::metrics) fn write(&mut self, format: Format, selection: Selection) -> String {
        let order = self.merge();
        // As long as the last one, and a little longer: a large text does not grow step by step.
        let mut text = String::with_capacity(self.last_text_bytes + self.last_text_bytes / 16);
        let out = &mut text;
        let Self { families, by_name, label_text, bucket_counts, exemplars, .. } = self;
        for family in order.into_iter().map(|index| &families[index]) {
            if !selection.has(family.origin) {
                continue;
            }
            match format {
                Format::Text => write_head(out, &family.name, family.kind.type_name(), &family.help),
                Format::OpenMetrics => openmetrics::write_head(out, family, |name| by_name.contains_key(name)),
            }
            for sample in &family.samples {
                let line = Line { name: &family.name, labels: &label_text[sample.labels.clone()] };
                match &sample.value {
                    Value::Number(number) => line.write(out, "", None, *number),
                    Value::Summary { count, sum } => line.write_count_and_sum(out, *count, *sum),
                    Value::Histogram { counts, sum, exemplars: shown } => {
                        let counts = &bucket_counts[counts.clone()];
                        let shown = if format == Format::OpenMetrics { &exemplars[shown.clone()] } else { &[] };
                        let mut cumulated = 0_u64;
                        let mut bound = ryu::Buffer::new();
                        for (index, count) in counts.iter().enumerate() {
                            cumulated = cumulated.wrapping_add(*count);
                            let le = family.bounds.get(index).map_or("+Inf", |le| bound.format(*le));
                            line.write(out, "_bucket", Some(le), Number::Whole(cumulated));
                            if let Some(Some(exemplar)) = shown.get(index) {
                                openmetrics::append_exemplar(out, exemplar);
                            }
                        }
                        line.write_count_and_sum(out, cumulated, *sum);
                    }
                }
            }
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        self.last_text_bytes = text.len();
        text
    }
}

fn write_head(out: &mut String, name: &str, kind: &str, help: &str) {
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    push_help(out, help, &['\\', '\n']);
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(kind);
    out.push('\n');
}

pub(super) fn push_help(out: &mut String, help: &str, escaped: &[char]) {
    for char in help.chars() {
        if escaped.contains(&char) {
            out.push('\\');
        }
        out.push(if char == '\n' { 'n' } else { char });
    }
}

struct Line<'a> {
    name: &'a str,
    labels: &'a str,
}

impl Line<'_> {
    fn write(&self, out: &mut String, suffix: &str, le: Option<&str>, value: Number) {
        out.push_str(self.name);
        out.push_str(suffix);
        if !self.labels.is_empty() || le.is_some() {
            out.push('{');
            out.push_str(self.labels);
            if let Some(le) = le {
                if !self.labels.is_empty() {
                    out.push(',');
                }
                out.push_str("le=\"");
                out.push_str(le);
                out.push('"');
            }
            out.push('}');
        }
        out.push(' ');
        push_number(out, value);
        out.push('\n');
    }

    fn write_count_and_sum(&self, out: &mut String, count: u64, sum: f64) {
        self.write(out, "_sum", None, Number::Float(sum));
        self.write(out, "_count", None, Number::Whole(count));
    }
}

pub(super) fn push_number(out: &mut String, number: Number) {
    match number {
        // Whole numbers show as floats too, as in `http_requests_total{…} 12543.0`.
        Number::Whole(value) => {
            out.push_str(itoa::Buffer::new().format(value));
            out.push_str(".0");
        }
        Number::Float(f64::INFINITY) => out.push_str("+Inf"),
        Number::Float(f64::NEG_INFINITY) => out.push_str("-Inf"),
        Number::Float(value) => out.push_str(ryu::Buffer::new().format(value)),
    }
}

/// Appends `a="1",b="2"`, escaped.
pub(in crate::metrics) fn push_labels<'a>(out: &mut String, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    for (index, (name, value)) in labels.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        push_escaped(out, value);
        out.push('"');
    }
}

fn push_escaped(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    crate::declare_metrics! {
        /// For these tests.
        ALL;
        /// Things with \ and a
        /// second line.
        counter THINGS = "things_total" {kind, name};
        /// Levels.
        gauge LEVEL = "level" {};
        /// Times.
        histogram TIMES = "times_seconds" {kind} [0.5, 1.0];
        /// Sizes.
        summary SIZES = "sizes_bytes" {};
        /// About.
        info ABOUT = "about" {version};
    }

    fn text(mut exposition: Exposition) -> String {
        exposition.write(Format::Text, Selection::All)
    }

    #[test]
    fn every_kind_has_its_lines_sorted_by_name_and_labels() {
        let mut out = Exposition::default();
        out.counter(THINGS, &["z", "last"], 12_543_u64);
        out.gauge(LEVEL, &[], -1.5);
        out.counter(THINGS, &["a", "first"], u64::MAX);
        out.histogram(TIMES, &["slow"], &[1, 0, 2], 7.25);
        out.summary(SIZES, &[], 2, 1e21);
        out.info(ABOUT, &["1.0.0"]);
        insta::assert_snapshot!(text(out), @r#"
        # HELP about About.
        # TYPE about gauge
        about{version="1.0.0"} 1.0
        # HELP level Levels.
        # TYPE level gauge
        level -1.5
        # HELP sizes_bytes Sizes.
        # TYPE sizes_bytes summary
        sizes_bytes_sum 1e21
        sizes_bytes_count 2.0
        # HELP things_total Things with \\ and a second line.
        # TYPE things_total counter
        things_total{kind="a",name="first"} 18446744073709551615.0
        things_total{kind="z",name="last"} 12543.0
        # HELP times_seconds Times.
        # TYPE times_seconds histogram
        times_seconds_bucket{kind="slow",le="0.5"} 1.0
        times_seconds_bucket{kind="slow",le="1.0"} 1.0
        times_seconds_bucket{kind="slow",le="+Inf"} 3.0
        times_seconds_sum{kind="slow"} 7.25
        times_seconds_count{kind="slow"} 3.0
        "#);
    }

    #[test]
    fn numbers_that_are_none_are_written_as_prometheus_reads_them() {
        for (value, text) in [(f64::INFINITY, "+Inf"), (f64::NEG_INFINITY, "-Inf"), (f64::NAN, "NaN"), (0.0, "0.0")] {
            let mut out = String::new();
            push_number(&mut out, value.into());
            assert_eq!(out, text);
        }
    }

    #[test]
    fn a_cleared_exposition_keeps_only_the_heads() {
        let mut out = Exposition::default();
        for metric in ALL.metrics {
            out.declare(metric);
        }
        out.gauge(LEVEL, &[], 1.0);
        out.clear();
        let text = text(out);
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE ")).count(), ALL.metrics.len());
        assert!(text.lines().all(|line| line.starts_with("# ")), "{text}");
    }

    /// Reads a label value as Prometheus does.
    fn unescaped(text: &str) -> String {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some(other) => out.push(other),
                    None => panic!("a lone backslash at the end of {text:?}"),
                },
                '"' | '\n' => panic!("unescaped {char:?} in {text:?}"),
                other => out.push(other),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn any_label_value_survives_escaping(value in "\\PC*|[\\\\\"\n a]*") {
            let mut out = String::new();
            push_labels(&mut out, [("name", value.as_str())].into_iter());
            let inner = out.strip_prefix("name=\"").unwrap().strip_suffix('"').unwrap();
            prop_assert_eq!(unescaped(inner), value);
        }
    }
}
