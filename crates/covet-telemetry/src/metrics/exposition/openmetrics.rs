//! What OpenMetrics 1.0 demands beyond the text format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
//!
//! Names of samples are the documented ones in both formats. OpenMetrics wants a counter's family to be named without
//! the `_total` that its sample ends in; a counter whose documented name does not end so is given as `unknown`, the
//! only type whose samples are named as they are. Given as `counter`, Prometheus would take it, but strict readers (the
//! parser of the Python client, and Datadog's agent with it) refuse the whole scrape. Queries do not look at types:
//! `rate()` works all the same. A gauge may end in `_total` as long as no counter is named like it.

use super::text::{push_help, push_number};
use super::{Family, Number};
use crate::metrics::Kind;
use crate::metrics::exemplar::Exemplar;

/// HELP and TYPE. `is_taken` tells whether another family has a name.
pub(super) fn write_head(out: &mut String, family: &Family, is_taken: impl Fn(&str) -> bool) {
    let (name, kind) = name_and_type(&family.name, family.kind, is_taken);
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    push_help(out, &family.help, &['\\', '\n', '"']);
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(kind);
    out.push('\n');
}

fn name_and_type(name: &str, kind: Kind, is_taken: impl Fn(&str) -> bool) -> (&str, &'static str) {
    let without = |suffix| name.strip_suffix(suffix).filter(|short| !short.is_empty() && !is_taken(short));
    match kind {
        Kind::Counter => without("_total").map_or((name, "unknown"), |short| (short, "counter")),
        Kind::Info => without("_info").map_or((name, "gauge"), |short| (short, "info")),
        Kind::Gauge | Kind::Histogram(_) | Kind::Summary => (name, kind.type_name()),
    }
}

/// Puts an exemplar behind the bucket that has just been written.
pub(super) fn append_exemplar(out: &mut String, exemplar: &Exemplar) {
    // Before the line's end.
    out.pop();
    out.push_str(" # {trace_id=\"");
    out.extend(exemplar.trace.hex().map(char::from));
    out.push_str("\"} ");
    push_number(out, Number::Float(exemplar.value));
    out.push(' ');
    push_number(out, Number::Float(exemplar.unix_millis as f64 / 1000.0));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::{Exposition, Format, Selection};
    use super::*;
    use crate::traces::TraceId;

    crate::declare_metrics! {
        /// For these tests.
        ALL;
        /// Things with a \ and a
        /// "quote".
        counter THINGS = "things_total" {kind};
        /// Answers.
        counter ANSWERS = "answers" {};
        /// A gauge that has the short name of a counter.
        gauge CLASH = "clash" {};
        /// The counter.
        counter CLASH_TOTAL = "clash_total" {};
        /// Levels.
        gauge LEVEL_TOTAL = "level_total" {};
        /// Times.
        histogram TIMES = "times_seconds" {} [0.5, 1.0];
        /// About.
        info ABOUT = "about_info" {version};
    }

    fn exposition() -> Exposition {
        let mut out = Exposition::default();
        out.counter(THINGS, &["a"], 3_u64);
        out.counter(ANSWERS, &[], 4_u64);
        out.gauge(CLASH, &[], 5_u64);
        out.counter(CLASH_TOTAL, &[], 6_u64);
        out.gauge(LEVEL_TOTAL, &[], 7_u64);
        let trace = TraceId::new([0xab; 16]).unwrap();
        let exemplar = Exemplar { trace, value: 0.75, unix_millis: 1_760_097_784_123 };
        out.histogram_with_exemplars(TIMES, &[], &[1, 1, 0], 1.0, &[None, Some(exemplar), None]);
        out.info(ABOUT, &["1.0.0"]);
        out
    }

    #[test]
    fn samples_keep_their_names_and_families_have_the_names_that_open_metrics_wants() {
        let text = exposition().write(Format::OpenMetrics, Selection::All);
        assert_eq!(ALL.metrics.len(), 7);
        insta::assert_snapshot!(text, @r#"
        # HELP about About.
        # TYPE about info
        about_info{version="1.0.0"} 1.0
        # HELP answers Answers.
        # TYPE answers unknown
        answers 4.0
        # HELP clash A gauge that has the short name of a counter.
        # TYPE clash gauge
        clash 5.0
        # HELP clash_total The counter.
        # TYPE clash_total unknown
        clash_total 6.0
        # HELP level_total Levels.
        # TYPE level_total gauge
        level_total 7.0
        # HELP things Things with a \\ and a \"quote\".
        # TYPE things counter
        things_total{kind="a"} 3.0
        # HELP times_seconds Times.
        # TYPE times_seconds histogram
        times_seconds_bucket{le="0.5"} 1.0
        times_seconds_bucket{le="1.0"} 2.0 # {trace_id="abababababababababababababababab"} 0.75 1760097784.123
        times_seconds_bucket{le="+Inf"} 2.0
        times_seconds_sum 1.0
        times_seconds_count 2.0
        # EOF
        "#);
    }

    #[test]
    fn the_text_format_shows_no_exemplars() {
        let text = exposition().write(Format::Text, Selection::All);
        assert!(!text.contains("trace_id") && !text.contains("EOF"), "{text}");
    }
}
