//! Telemetry as its users see it: the exposition's text, the log's lines, the machine's readings.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

mod catalogue;
mod facade;
mod log_files;
mod log_lines;
mod scrape;
mod settings;
mod start;
mod system;
mod traces;

/// The value of the one sample that is written so, `None` when there is none.
#[track_caller]
fn value(exposition: &str, sample: &str) -> Option<f64> {
    let mut found = exposition.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = found.next()?;
    assert_eq!(found.next(), None, "{sample} is there twice");
    Some(value.parse().unwrap())
}
