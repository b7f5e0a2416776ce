//! What users of the `metrics` macros get.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::settings::{Section, Sources};
use covet_telemetry::metrics::{Registry, catalog};
use covet_telemetry::settings::MetricsSettings;
use metrics::with_local_recorder;

use crate::value;

fn within(registry: &Registry, work: impl FnOnce()) {
    with_local_recorder(&registry.recorder(), work);
}

fn limited_to(max_label_sets: &str) -> Registry {
    let sources = Sources::of([("COVET_METRICS__MAX_LABEL_SETS", max_label_sets)]);
    Registry::with_settings(&MetricsSettings::load(sources).unwrap())
}

#[test]
fn the_default_limit_is_the_documented_one() {
    assert_eq!(MetricsSettings::default().max_label_sets, 1000);
    assert_eq!(MetricsSettings::defaults(Environment::Production).max_label_sets, 1000);
}

#[test]
fn counts_are_exact_from_many_threads() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    let registry = Registry::new();
    let all_there = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (registry, all_there) = (&registry, &all_there);
            scope.spawn(move || {
                if thread % 2 == 0 {
                    covet_telemetry::metrics::shard::claim();
                }
                all_there.wait();
                within(registry, || {
                    for _ in 0..EACH {
                        metrics::counter!("db_rows_affected", "operation" => "select").increment(2);
                        metrics::histogram!("db_transaction_duration_seconds", "status" => "commit").record(0.5);
                        metrics::gauge!("app_background_tasks_total", "task_type" => "mail").increment(1);
                    }
                });
            });
        }
    });
    let (total, text) = ((THREADS * EACH) as f64, registry.render());
    assert_eq!(value(&text, "db_rows_affected{operation=\"select\"}"), Some(2.0 * total));
    assert_eq!(value(&text, "app_background_tasks_total{task_type=\"mail\"}"), Some(total));
    let histogram = |part: &str| value(&text, &format!("db_transaction_duration_seconds_{part}"));
    assert_eq!(histogram("bucket{status=\"commit\",le=\"0.25\"}"), Some(0.0));
    assert_eq!(histogram("bucket{status=\"commit\",le=\"0.5\"}"), Some(total));
    assert_eq!(histogram("bucket{status=\"commit\",le=\"+Inf\"}"), Some(total));
    assert_eq!(histogram("count{status=\"commit\"}"), Some(total));
    assert_eq!(histogram("sum{status=\"commit\"}"), Some(0.5 * total));
}

#[test]
fn label_sets_beyond_the_limit_are_counted_together_and_the_metric_stays_bounded() {
    let registry = limited_to("10");
    within(&registry, || {
        for client in 0..5_000 {
            let client = client.to_string();
            metrics::counter!("app_rate_limit_exceeded", "endpoint" => "/", "client_id" => client).increment(1);
        }
    });
    let text = registry.render();
    let samples = || text.lines().filter(|line| line.starts_with("app_rate_limit_exceeded{"));
    assert_eq!(samples().count(), 11);
    let sum: f64 = samples().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(sum, 5_000.0);
    assert_eq!(value(&text, "app_rate_limit_exceeded{endpoint=\"other\",client_id=\"other\"}"), Some(4_990.0));
    assert_eq!(value(&text, "metrics_label_sets_dropped_total{metric=\"app_rate_limit_exceeded\"}"), Some(4_990.0));
}

#[test]
fn the_limit_is_exact_and_no_count_is_lost_when_many_threads_reach_it_at_once() {
    const THREADS: u64 = 8;
    const EACH: u64 = 2_000;
    let registry = limited_to("100");
    let all_there = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (registry, all_there) = (&registry, &all_there);
            scope.spawn(move || {
                all_there.wait();
                within(registry, || {
                    for number in 0..EACH {
                        // Each label set comes from two threads.
                        let client = format!("{}-{number}", thread / 2);
                        metrics::counter!("app_rate_limit_exceeded", "endpoint" => "/", "client_id" => client)
                            .increment(1);
                    }
                });
            });
        }
    });
    let text = registry.render();
    let counts = || {
        let lines = text.lines().filter_map(|line| line.strip_prefix("app_rate_limit_exceeded{"));
        lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(labels, count)| (labels, count.parse::<f64>().unwrap()))
    };
    assert_eq!(counts().count(), 101);
    assert_eq!(counts().map(|(_, count)| count).sum::<f64>(), (THREADS * EACH) as f64);
    let other: f64 = counts().filter(|(labels, _)| labels.contains("\"other\"")).map(|(_, count)| count).sum();
    assert_eq!(value(&text, "metrics_label_sets_dropped_total{metric=\"app_rate_limit_exceeded\"}"), Some(other));
    assert!(other >= (THREADS * EACH - 200) as f64, "{other}");
}

#[test]
fn names_without_end_are_not_metrics_without_end() {
    let registry = Registry::new();
    within(&registry, || {
        for number in 0..3_000 {
            metrics::counter!(format!("made_of_values_{number}")).increment(1);
            metrics::describe_counter!(format!("described_{number}"), "Text.");
        }
        metrics::counter!("db_deadlocks_total").increment(1);
    });
    let text = registry.render();
    assert_eq!(text.lines().filter(|line| line.starts_with("made_of_values_")).count(), 500);
    assert_eq!(value(&text, "metrics_names_dropped_total"), Some(2_500.0));
    assert_eq!(value(&text, "db_deadlocks_total"), Some(1.0));
}

#[test]
fn the_limit_holds_for_metrics_that_nobody_declared() {
    let registry = limited_to("10");
    within(&registry, || {
        for number in 0..100 {
            metrics::gauge!("queue.length", "queue" => number.to_string()).set(7);
        }
    });
    let text = registry.render();
    assert_eq!(text.lines().filter(|line| line.starts_with("queue_length{")).count(), 11);
    assert_eq!(value(&text, "queue_length{queue=\"other\"}"), Some(7.0));
}

#[test]
fn a_metric_used_as_another_type_keeps_its_type_and_the_misuse_is_counted() {
    let registry = Registry::new();
    within(&registry, || {
        metrics::gauge!("db_deadlocks_total").set(5);
        metrics::counter!("db_connections_active").increment(1);
    });
    let text = registry.render();
    assert_eq!(value(&text, "db_deadlocks_total"), Some(0.0));
    assert_eq!(value(&text, "db_connections_active"), None);
    assert_eq!(value(&text, "metrics_misuses_total{metric=\"db_deadlocks_total\"}"), Some(1.0));
    assert_eq!(value(&text, "metrics_misuses_total{metric=\"db_connections_active\"}"), Some(1.0));
}

#[test]
fn a_declared_metric_always_shows_its_declared_labels() {
    let registry = Registry::new();
    within(&registry, || {
        metrics::counter!("db_queries_total", "table" => "users", "colour" => "red").increment(1);
        metrics::counter!("db_queries_total", "status" => "ok", "table" => "users", "operation" => "select")
            .increment(1);
    });
    let text = registry.render();
    assert_eq!(value(&text, "db_queries_total{operation=\"\",table=\"users\",status=\"\"}"), Some(1.0));
    assert_eq!(value(&text, "db_queries_total{operation=\"select\",table=\"users\",status=\"ok\"}"), Some(1.0));
    assert_eq!(value(&text, "metrics_misuses_total{metric=\"db_queries_total\"}"), Some(1.0));
}

#[test]
fn an_undeclared_metric_has_a_valid_name_default_buckets_and_its_description() {
    let registry = Registry::new();
    within(&registry, || {
        metrics::describe_histogram!("render.time-taken", "Time to render.");
        metrics::histogram!("render.time-taken", "page" => "a", "le" => "x").record(Duration::from_millis(20));
        metrics::describe_counter!("renders_total", "Pages rendered.");
    });
    let text = registry.render();
    assert!(text.contains("# HELP render_time_taken Time to render.\n# TYPE render_time_taken histogram\n"), "{text}");
    assert!(text.contains("# HELP renders_total Pages rendered.\n# TYPE renders_total counter\n"), "{text}");
    let bucket = |le: &str| value(&text, &format!("render_time_taken_bucket{{le_=\"x\",page=\"a\",le=\"{le}\"}}"));
    assert_eq!((bucket("0.01"), bucket("0.025"), bucket("10.0")), (Some(0.0), Some(1.0), Some(1.0)));
}

#[test]
fn a_description_does_not_replace_the_documented_help() {
    let registry = Registry::new();
    within(&registry, || metrics::describe_counter!("db_deadlocks_total", "Something else."));
    assert!(registry.render().contains(&format!("# HELP db_deadlocks_total {}\n", catalog::DB_DEADLOCKS_TOTAL.help())));
}

#[test]
fn a_documented_summary_is_fed_by_the_histogram_macro() {
    let registry = Registry::new();
    within(&registry, || {
        for bytes in [100, 200] {
            metrics::histogram!("http_request_size_bytes", "method" => "POST", "endpoint" => "/").record(bytes);
        }
    });
    let text = registry.render();
    assert_eq!(value(&text, "http_request_size_bytes_count{method=\"POST\",endpoint=\"/\"}"), Some(2.0));
    assert_eq!(value(&text, "http_request_size_bytes_sum{method=\"POST\",endpoint=\"/\"}"), Some(300.0));
    assert!(!text.contains("http_request_size_bytes_bucket"));
}

#[test]
fn a_kept_handle_and_the_macro_count_into_the_same_series() {
    let registry = Registry::new();
    let handle = registry.counter(catalog::DB_ROWS_AFFECTED, &["select"]);
    handle.increment(3);
    within(&registry, || metrics::counter!("db_rows_affected", "operation" => "select").increment(4));
    assert_eq!(value(&registry.render(), "db_rows_affected{operation=\"select\"}"), Some(7.0));
}
