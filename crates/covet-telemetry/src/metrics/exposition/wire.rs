//! The values of a scrape as lines that another process of the same service reads; see
//! [`processes`](crate::metrics::processes). Not for anybody else: the first line has a version.
//!
//! ```text
//! covet-metrics 1
//! F <kind> <merge> <origin> <name> <bounds> <help>
//! N <value> <labels>
//! H <sum> <counts> <exemplars> <labels>
//! S <sum> <count> <labels>
//! .
//! ```
//!
//! Each value belongs to the family before it. Numbers are whole or have a point; each is read as it was written.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;

use super::text::push_help;
use super::{Exposition, Family, Number, Value};
use crate::metrics::exemplar::Exemplar;
use crate::metrics::{Kind, Merge, Origin};
use crate::traces::TraceId;

const FIRST_LINE: &str = "covet-metrics 1";
const LAST_LINE: &str = ".\n";
/// In place of a list without items.
const NONE: &str = "-";

/// Whose values they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::metrics) enum Sender {
    /// A process that lives: everything counts but what each reads off the machine.
    Living,
    /// Processes that have ended: what they have counted stays; how things stood with them does not.
    Ended,
}

/// The lines are not what a process of this service writes.
#[derive(Debug, thiserror::Error)]
pub(in crate::metrics) enum WireError {
    #[error("it is of another version, or no metrics at all")]
    Version,
    #[error("it ends in the middle")]
    CutOff,
    #[error("the line {0:?} cannot be read")]
    Line(String),
}

impl Exposition {
    /// All values as lines.
    pub(in crate::metrics) fn encode(&mut self) -> String {
        let order = self.merge();
        let mut out = String::with_capacity(self.label_text.len() * 2);
        out.push_str(FIRST_LINE);
        out.push('\n');
        for family in order.into_iter().map(|index| &self.families[index]) {
            if !family.samples.is_empty() {
                self.encode_family(family, &mut out);
            }
        }
        out.push_str(LAST_LINE);
        out
    }

    /// Writing to a String does not fail.
    fn encode_family(&self, family: &Family, out: &mut String) {
        let bounds = joined(family.bounds.iter());
        let _ = write!(
            out,
            "F {} {} {} {} {bounds} ",
            kind_word(family.kind),
            word_of(&MERGES, family.merge),
            word_of(&ORIGINS, family.origin),
            family.name
        );
        push_help(out, &family.help, &['\\', '\n']);
        out.push('\n');
        for sample in &family.samples {
            let labels = &self.label_text[sample.labels.clone()];
            let _ = match &sample.value {
                Value::Number(Number::Whole(value)) => writeln!(out, "N {value} {labels}"),
                Value::Number(Number::Float(value)) => writeln!(out, "N {value:?} {labels}"),
                Value::Summary { count, sum } => writeln!(out, "S {sum:?} {count} {labels}"),
                Value::Histogram { counts, sum, exemplars } => {
                    let counts = joined(self.bucket_counts[counts.clone()].iter());
                    let exemplars = encode_exemplars(&self.exemplars[exemplars.clone()]);
                    writeln!(out, "H {sum:?} {counts} {exemplars} {labels}")
                }
            };
        }
    }

    /// Adds the values of another process.
    pub(in crate::metrics) fn absorb(&mut self, lines: &str, sender: Sender) -> Result<(), WireError> {
        let lines =
            lines.strip_prefix(FIRST_LINE).and_then(|rest| rest.strip_prefix('\n')).ok_or(WireError::Version)?;
        let Some(lines) = lines.strip_suffix(LAST_LINE) else { return Err(WireError::CutOff) };
        let mut family = None;
        // Not lines(): a label may end in a carriage return.
        for line in lines.split_terminator('\n') {
            let refused = || WireError::Line(line.to_owned());
            match line.split_once(' ').ok_or_else(refused)? {
                ("F", rest) => family = self.absorb_family(rest, sender).ok_or_else(refused)?,
                // Of a family that is not added up over processes, or is another thing here.
                (_, _) if family.is_none() => {}
                (kind, rest) => {
                    let index = family.unwrap_or_default();
                    let (value, labels) = self.read_value(kind, rest, index).ok_or_else(refused)?;
                    self.push(index, labels, value);
                }
            }
        }
        Ok(())
    }

    /// The family that the following values belong to; the inner `None` when they do not count here. The outer one when
    /// the line cannot be read.
    #[expect(clippy::option_option, reason = "two questions with a yes or no each")]
    fn absorb_family(&mut self, line: &str, sender: Sender) -> Option<Option<usize>> {
        let mut words = line.splitn(6, ' ');
        let kind = words.next()?;
        let merge = from_word(&MERGES, words.next()?)?;
        let origin = from_word(&ORIGINS, words.next()?)?;
        let name = words.next()?;
        let bounds: Vec<f64> = separated(words.next()?)?;
        let help = unescaped(words.next()?);
        let stood = matches!(kind, "gauge" | "info");
        if merge == Merge::Own || stood && sender == Sender::Ended {
            return Some(None);
        }
        let Some(known) = self.by_name.get(name).copied() else {
            let kind = KINDS.iter().find(|(word, _)| *word == kind)?.1;
            let index = self.new_family(name, &help, kind, merge, origin);
            self.families[index].foreign = true;
            self.families[index].bounds = Cow::Owned(bounds);
            return Some(Some(index));
        };
        let family = &self.families[known];
        if kind_word(family.kind) == kind && *family.bounds == *bounds {
            return Some(Some(known));
        }
        self.failures.push(format!("{name} is another {kind} in another process"));
        Some(None)
    }

    fn read_value<'a>(&mut self, kind: &str, rest: &'a str, family: usize) -> Option<(Value, &'a str)> {
        let family = &self.families[family];
        match (kind, family.kind) {
            ("N", Kind::Counter | Kind::Gauge | Kind::Info) => {
                let (number, labels) = rest.split_once(' ')?;
                let whole = number.parse().map(Number::Whole);
                let number = whole.or_else(|_| number.parse().map(Number::Float)).ok()?;
                Some((Value::Number(number), labels))
            }
            ("S", Kind::Summary) => {
                let mut words = rest.splitn(3, ' ');
                let (sum, count) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                Some((Value::Summary { count, sum }, words.next()?))
            }
            ("H", Kind::Histogram(_)) => {
                let mut words = rest.splitn(4, ' ');
                let sum = words.next()?.parse().ok()?;
                let counts: Vec<u64> = separated(words.next()?)?;
                let buckets = family.bounds.len() + 1;
                let exemplars = read_exemplars(words.next()?, buckets)?;
                if counts.len() != buckets {
                    return None;
                }
                Some((self.histogram_value(counts.into_iter(), sum, &exemplars), words.next()?))
            }
            _ => None,
        }
    }
}

const KINDS: [(&str, Kind); 5] = [
    ("counter", Kind::Counter),
    ("gauge", Kind::Gauge),
    ("histogram", Kind::Histogram(&[])),
    ("summary", Kind::Summary),
    ("info", Kind::Info),
];
const MERGES: [(&str, Merge); 5] = [
    ("sum", Merge::Sum),
    ("largest", Merge::Largest),
    ("of_cache", Merge::OfCache),
    ("smallest", Merge::Smallest),
    ("own", Merge::Own),
];
const ORIGINS: [(&str, Origin); 2] = [("platform", Origin::Platform), ("business", Origin::Business)];

fn kind_word(kind: Kind) -> &'static str {
    if kind == Kind::Info { "info" } else { kind.type_name() }
}

fn word_of<T: PartialEq + Copy>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or(NONE, |(word, _)| word)
}

fn from_word<T: Copy>(words: &[(&str, T)], word: &str) -> Option<T> {
    words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

fn joined<T: std::fmt::Debug>(items: impl Iterator<Item = T>) -> String {
    let text: Vec<String> = items.map(|item| format!("{item:?}")).collect();
    if text.is_empty() { NONE.to_owned() } else { text.join(",") }
}

fn separated<T: FromStr>(text: &str) -> Option<Vec<T>> {
    if text == NONE {
        return Some(Vec::new());
    }
    text.split(',').map(|item| item.parse().ok()).collect()
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                other => out.extend(other),
            },
            other => out.push(other),
        }
    }
    out
}

fn encode_exemplars(exemplars: &[Option<Exemplar>]) -> String {
    let one = |(bucket, exemplar): (usize, &Option<Exemplar>)| {
        let Exemplar { trace, value, unix_millis } = (*exemplar)?;
        let trace: String = trace.hex().map(char::from).iter().collect();
        Some(format!("{bucket}:{trace}:{value:?}:{unix_millis}"))
    };
    let text: Vec<String> = exemplars.iter().enumerate().filter_map(one).collect();
    if text.is_empty() { NONE.to_owned() } else { text.join(",") }
}

fn read_exemplars(text: &str, buckets: usize) -> Option<Vec<Option<Exemplar>>> {
    if text == NONE {
        return Some(Vec::new());
    }
    let mut exemplars = vec![None; buckets];
    for item in text.split(',') {
        let mut words = item.split(':');
        let bucket: usize = words.next()?.parse().ok()?;
        let trace = u128::from_str_radix(words.next()?, 16).ok()?.to_be_bytes();
        let (value, unix_millis) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        *exemplars.get_mut(bucket)? = Some(Exemplar { trace: TraceId::new(trace)?, value, unix_millis });
    }
    Some(exemplars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Selection};

    crate::declare_metrics! {
        /// For these tests.
        ALL;
        /// Things with a \ and a
        /// second line.
        counter THINGS = "things_total" {kind};
        /// Level.
        gauge LEVEL = "level" {};
        /// Of the machine.
        gauge(own) MACHINE = "machine" {};
        /// Times.
        histogram TIMES = "times_seconds" {kind} [0.5, 1.0];
        /// Sizes.
        summary SIZES = "sizes_bytes" {};
        /// About.
        info ABOUT = "about_info" {version};
    }

    fn full() -> Exposition {
        let mut out = Exposition::default();
        out.counter(THINGS, &["a \" b\n,\t"], u64::MAX / 2);
        out.gauge(LEVEL, &[], 0.1 + 0.2);
        out.gauge(MACHINE, &[], 9_u64);
        let trace = TraceId::new([0xab; 16]).unwrap();
        let exemplar = Some(Exemplar { trace, value: 0.75, unix_millis: 1_760_097_784_123 });
        out.histogram_with_exemplars(TIMES, &["slow"], &[1, 2, 3], 7.25, &[None, exemplar, None]);
        out.summary(SIZES, &[], 5, 1e21);
        out.info(ABOUT, &["1.0.0"]);
        out
    }

    fn text(exposition: &mut Exposition) -> String {
        exposition.write(Format::OpenMetrics, Selection::All)
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let lines = full().encode();
        let mut read = Exposition::default();
        read.absorb(&lines, Sender::Living).unwrap();
        let expected = text(&mut full());
        let without_machine = "# HELP machine Of the machine.\n# TYPE machine gauge\nmachine 9.0\n";
        assert_eq!(text(&mut read), expected.replace(without_machine, ""));
        assert_eq!(ALL.metrics.len(), 6);
    }

    #[test]
    fn values_are_added_to_those_that_are_there_and_the_dead_have_no_levels() {
        let lines = full().encode();
        for (sender, level) in
            [(Sender::Living, "level 0.6000000000000001"), (Sender::Ended, "level 0.30000000000000004")]
        {
            let mut both = full();
            both.absorb(&lines, sender).unwrap();
            let text = text(&mut both);
            for line in [
                "things_total{kind=\"a \\\" b\\n,\t\"} 18446744073709551614.0",
                level,
                "machine 9.0",
                "times_seconds_count{kind=\"slow\"} 12.0",
                "sizes_bytes_sum 2e21",
                "about_info{version=\"1.0.0\"} 1.0",
            ] {
                assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
            }
        }
    }

    #[test]
    fn a_family_that_differs_between_processes_is_told_and_left_out() {
        let lines = full().encode().replace(
            "F histogram sum platform times_seconds 0.5,1.0",
            "F histogram sum platform times_seconds 0.5,2.0",
        );
        let mut here = full();
        here.absorb(&lines, Sender::Living).unwrap();
        assert_eq!(here.take_failures(), ["times_seconds is another histogram in another process"]);
        assert!(text(&mut here).contains("times_seconds_count{kind=\"slow\"} 6.0\n"));
    }

    #[test]
    fn a_family_of_another_process_goes_with_its_values() {
        let mut here = Exposition::default();
        here.gauge(LEVEL, &[], 1_u64);
        here.absorb(&full().encode(), Sender::Living).unwrap();
        here.clear();
        here.gauge(LEVEL, &[], 1_u64);
        here.counter(THINGS, &["a"], 1_u64);
        let text = text(&mut here);
        assert!(text.contains("things_total{kind=\"a\"} 1.0\n") && !text.contains("sizes_bytes"), "{text}");
    }

    #[test]
    fn lines_that_are_cut_off_or_of_another_version_are_refused() {
        let lines = full().encode();
        let refusal = |lines: &str| Exposition::default().absorb(lines, Sender::Living).unwrap_err();
        assert!(matches!(refusal(""), WireError::Version));
        assert!(matches!(refusal(&lines.replace("metrics 1", "metrics 2")), WireError::Version));
        assert!(matches!(refusal(lines.trim_end_matches(".\n")), WireError::CutOff));
        assert!(matches!(refusal(&lines.replace("N ", "N x")), WireError::Line(_)));
    }
}
