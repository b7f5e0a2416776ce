//! What a scrape costs, for registries of 1 000 and 100 000 series:
//! `cargo run --release -p covet-telemetry --example scrape_cost`.
//!
//! A series is a line of the text. They are counters of three labels and histograms of twelve buckets, half of the lines
//! each, counted by eight threads. The figure is that of the fastest of several rounds, as others on the machine only ever
//! add to it. That counting goes on meanwhile is what `tests/telemetry/scrape.rs` shows.
#![expect(clippy::print_stdout, reason = "a program for the person at the terminal")]

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_telemetry::metrics::{Collector, Exposition, Format, Registry, Selection, catalog, shard};
use covet_telemetry::settings::MetricsSettings;
use covet_telemetry::system::SystemCollector;

const ROUNDS: usize = 9;
const THREADS: usize = 8;
/// Twelve buckets, sum and count.
const LINES_OF_A_HISTOGRAM: usize = 14;

fn main() {
    let clock = Clock::system();
    println!("{:>9} {:>12} {:>10} {:>12} {:>12}  budget", "series", "format", "MiB", "ms", "ns/series");
    for (series, budget) in [(1_000, "1 ms"), (100_000, "100 ms")] {
        let registry = filled(series);
        for (name, format) in [("text", Format::Text), ("OpenMetrics", Format::OpenMetrics)] {
            let (seconds, text) = fastest(&clock, || registry.render_as(format, Selection::All));
            let lines = text.lines().filter(|line| !line.starts_with('#')).count();
            println!(
                "{lines:>9} {name:>12} {:>10.2} {:>12.3} {:>12.0}  {budget}",
                text.len() as f64 / f64::from(1 << 20),
                seconds * 1e3,
                seconds * 1e9 / lines as f64,
            );
        }
    }
    let registry = Registry::new();
    let system = SystemCollector::new(&registry);
    let (seconds, _) = fastest(&clock, || system.collect(&mut Exposition::default()));
    println!("\nreading machine and process from /proc: {:.3} ms of each scrape", seconds * 1e3);
}

/// A registry with so many lines, counted by all threads.
fn filled(lines: usize) -> Registry {
    let settings = MetricsSettings { max_label_sets: lines, ..MetricsSettings::default() };
    let registry = Registry::with_settings(&settings);
    let tables: Vec<String> = (0..lines / 2).map(|table| format!("table_{table}")).collect();
    let histograms = lines / 2 / LINES_OF_A_HISTOGRAM;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                shard::claim();
                for table in &tables {
                    registry.counter(catalog::DB_QUERIES_TOTAL, &["SELECT", table, "success"]).increment(1);
                }
                for table in &tables[..histograms] {
                    let histogram = registry.histogram(catalog::DB_QUERY_DURATION_SECONDS, &["SELECT", table]);
                    histogram.record(Duration::from_micros(700));
                }
            });
        }
    });
    registry
}

fn fastest<T>(clock: &Clock, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut last = work();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = clock.monotonic();
        last = black_box(work());
        best = best.min(clock.monotonic().duration_since(start).as_secs_f64());
    }
    (best, last)
}
