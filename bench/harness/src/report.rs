//! Medians, Markdown tables and where they are written.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use crate::terminal;

/// Where a report goes besides stdout.
#[derive(Debug, Args)]
pub(crate) struct Outputs {
    /// Put the Markdown into FILE, between its `<!-- bench:COMMAND -->` and `<!-- /bench:COMMAND -->` lines; a new FILE gets
    /// them. May be given several times.
    #[arg(long, value_name = "FILE")]
    markdown: Vec<PathBuf>,
    /// Write every round as JSON to FILE.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Outputs {
    /// Refuses what could not be written at the end, before minutes are spent.
    ///
    /// # Errors
    /// A file to be updated has no marks.
    pub(crate) fn check(&self, command: &str) -> anyhow::Result<()> {
        for path in self.markdown.iter().filter(|path| path.exists()) {
            place(&read(path)?, command, "").with_context(|| format!("{} cannot take the report", path.display()))?;
        }
        Ok(())
    }

    /// Prints the Markdown and writes both forms to the files asked for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(&self, command: &str, markdown: &str, json: &impl Serialize) -> anyhow::Result<()> {
        terminal::print(markdown);
        for path in &self.markdown {
            let page = if path.exists() { read(path)? } else { marks(command).join("\n") + "\n" };
            save(path, &place(&page, command, markdown)?)?;
        }
        if let Some(path) = &self.json {
            save(path, &(serde_json::to_string_pretty(json)? + "\n"))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn save(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn marks(command: &str) -> [String; 2] {
    [format!("<!-- bench:{command} -->"), format!("<!-- /bench:{command} -->")]
}

/// The page with the report between its marks.
fn place(page: &str, command: &str, report: &str) -> anyhow::Result<String> {
    let [start, end] = marks(command);
    let Some((before, rest)) = page.split_once(&start) else { bail!("it has no line {start}") };
    let Some((_, after)) = rest.split_once(&end) else { bail!("it has no line {end} after {start}") };
    Ok(format!("{before}{start}\n{}\n{end}{after}", report.trim_end()))
}

/// A Markdown table; the first column is text, the others are figures.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut lines = vec![row(head), format!("|---{}|", "|---:".repeat(head.len().saturating_sub(1)))];
    lines.extend(rows.iter().map(|cells| row(cells)));
    lines.join("\n") + "\n"
}

fn row(cells: &[impl AsRef<str>]) -> String {
    cells.iter().map(|cell| format!("| {} ", cell.as_ref())).collect::<String>() + "|"
}

/// The middle value, or the mean of the middle two; `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// The median and, for more than one different value, the range; `None` of nothing.
pub(crate) fn spread(values: &[f64]) -> Option<String> {
    let middle = median(values.iter().copied())?;
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(if format!("{lowest:.2}") == format!("{highest:.2}") {
        format!("**{middle:.2}**")
    } else {
        format!("**{middle:.2}** ({lowest:.2}–{highest:.2})")
    })
}

/// MiB with one decimal.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::{median, place, table};

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_report_replaces_only_what_is_between_its_marks() {
        let page =
            "a\n<!-- bench:http -->\nold\n<!-- /bench:http -->\nb\n<!-- bench:start-up -->\n<!-- /bench:start-up -->\n";
        let once = place(page, "http", "new\n").unwrap();
        assert_eq!(once, page.replace("old", "new"));
        assert_eq!(place(&once, "http", "new\n").unwrap(), once);
    }

    #[test]
    fn a_page_without_marks_is_left_alone() {
        assert!(place("# README\n", "http", "new").is_err());
        assert!(place("<!-- /bench:http --><!-- bench:http -->", "http", "new").is_err());
    }

    #[test]
    fn a_table_has_a_rule_under_its_head() {
        assert_eq!(
            table(&["server", "µs"], &[vec!["a".into(), "1".into()]]),
            "| server | µs |\n|---|---:|\n| a | 1 |\n"
        );
    }
}
