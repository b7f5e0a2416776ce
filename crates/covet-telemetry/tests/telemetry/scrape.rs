//! What a scrape sees when collectors behave, and when they do not.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use covet_telemetry::metrics::{Collector, Exposition, Registry, catalog};
use covet_telemetry::settings::MetricsSettings;
use metrics::with_local_recorder;

use crate::value;

struct By<F>(&'static str, F);

impl<F: Fn(&mut Exposition) + Send + Sync> Collector for By<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn collect(&self, out: &mut Exposition) {
        (self.1)(out);
    }
}

fn collector(name: &'static str, collect: impl Fn(&mut Exposition) + Send + Sync + 'static) -> Arc<dyn Collector> {
    Arc::new(By(name, collect))
}

#[test]
fn a_collector_and_the_facade_share_a_family() {
    let registry = Registry::new();
    registry.register(collector("cache", |out| {
        out.counter(catalog::CACHE_HITS_TOTAL, &["memory", "user"], 3_u64);
        out.gauge(catalog::CACHE_KEYS_TOTAL, &["memory"], 7_u64);
    }));
    with_local_recorder(&registry.recorder(), || {
        metrics::counter!("cache_hits_total", "cache_type" => "redis", "key_prefix" => "user").increment(2);
        metrics::counter!("cache_hits_total", "cache_type" => "memory", "key_prefix" => "user").increment(1);
    });
    let text = registry.render();
    let family: Vec<_> = text.lines().skip_while(|line| !line.starts_with("# HELP cache_hits_total")).take(4).collect();
    insta::assert_snapshot!(family.join("\n"), @r#"
    # HELP cache_hits_total Cache reads that found a value.
    # TYPE cache_hits_total counter
    cache_hits_total{cache_type="memory",key_prefix="user"} 4.0
    cache_hits_total{cache_type="redis",key_prefix="user"} 2.0
    "#);
    assert_eq!(value(&text, "cache_keys_total{cache_type=\"memory\"}"), Some(7.0));
}

#[test]
fn a_panicking_or_failing_collector_costs_its_own_values_only() {
    let registry = Registry::new();
    registry.register(collector("panics", |out| {
        out.gauge(catalog::DB_CONNECTIONS_ACTIVE, &[], 1_u64);
        // Another number of labels than declared.
        out.gauge(catalog::CACHE_KEYS_TOTAL, &[], 1_u64);
    }));
    registry.register(collector("fails", |out| {
        out.failure("the mount is gone");
        out.gauge(catalog::DB_CONNECTIONS_IDLE, &[], 2_u64);
    }));
    registry.register(collector("works", |out| out.gauge(catalog::APP_REQUESTS_QUEUE_DEPTH, &[], 3_u64)));
    for scrape in 1..=2 {
        let text = registry.render();
        assert_eq!(value(&text, "db_connections_active"), Some(1.0));
        assert_eq!(value(&text, "db_connections_idle"), Some(2.0));
        assert_eq!(value(&text, "app_requests_queue_depth"), Some(3.0));
        let failures =
            |collector| value(&text, &format!("metrics_collector_failures_total{{collector=\"{collector}\"}}"));
        let expected = Some(f64::from(scrape));
        assert_eq!([failures("panics"), failures("fails"), failures("works")], [expected, expected, Some(0.0)]);
    }
}

covet_telemetry::declare_metrics! {
    /// Metrics of these tests.
    ALL;
    /// Jobs waiting.
    gauge JOBS = "jobs" {};
    /// Jobs waiting, as somebody else thinks.
    histogram OTHER_JOBS = "jobs" {} [1.0];
}

#[test]
fn a_second_opinion_on_what_a_metric_is_does_not_spoil_the_text() {
    let registry = Registry::new();
    registry.declare_all(ALL);
    registry.register(collector("other", |out| out.histogram(OTHER_JOBS, &[], &[1, 2], 3.0)));
    registry.register(collector("jobs", |out| out.gauge(JOBS, &[], 4_u64)));
    let text = registry.render();
    assert!(text.contains("# HELP jobs Jobs waiting.\n# TYPE jobs gauge\njobs 4.0\n#"), "{text}");
    assert_eq!(value(&text, "metrics_collector_failures_total{collector=\"other\"}"), Some(1.0));
}

#[test]
fn a_metric_declared_after_it_was_described_is_as_declared() {
    let registry = Registry::new();
    with_local_recorder(&registry.recorder(), || metrics::describe_counter!("jobs", "Jobs."));
    assert!(registry.render().contains("# TYPE jobs counter\n"));
    registry.declare(JOBS);
    assert!(registry.render().contains("# HELP jobs Jobs waiting.\n# TYPE jobs gauge\n"));
}

#[test]
fn a_value_that_is_gone_is_not_shown_again() {
    let registry = Registry::new();
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    registry.register(collector("once", move |out| {
        if let Ok(value) = told.lock().unwrap().try_recv() {
            out.gauge(catalog::DB_CONNECTION_POOL_SIZE, &[], value);
        }
    }));
    tell.send(5_u64).unwrap();
    assert_eq!(value(&registry.render(), "db_connection_pool_size"), Some(5.0));
    assert_eq!(value(&registry.render(), "db_connection_pool_size"), None);
}

#[test]
fn scrapes_at_the_same_time_as_each_other_and_as_counting_are_whole() {
    let registry = Registry::new();
    let lines = registry.render().lines().count();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    registry.counter(catalog::DB_ROWS_AFFECTED, &["select"]).increment(1);
                    let text = registry.render();
                    assert_eq!(text.lines().count(), lines + 1);
                    assert!(text.ends_with('\n'));
                }
            });
        }
    });
    assert_eq!(value(&registry.render(), "db_rows_affected{operation=\"select\"}"), Some(200.0));
}

#[test]
fn counting_goes_on_while_a_scrape_hangs() {
    let registry = Registry::new();
    let (asked, is_asked) = mpsc::channel();
    let (release, held_up) = mpsc::channel::<()>();
    let held_up = Mutex::new(held_up);
    registry.register(collector("hangs", move |_| {
        asked.send(()).unwrap();
        let _ = held_up.lock().unwrap().recv();
    }));
    let scrape = thread::spawn({
        let registry = registry.clone();
        move || registry.render()
    });
    is_asked.recv().unwrap();
    let (counted, is_counted) = mpsc::channel();
    thread::spawn({
        let registry = registry.clone();
        move || {
            with_local_recorder(&registry.recorder(), || {
                for table in 0..100 {
                    // Known ones and new ones.
                    for _ in 0..3 {
                        metrics::counter!("db_slow_queries_total", "operation" => "SELECT", "table" => table.to_string())
                            .increment(1);
                    }
                }
            });
            counted.send(()).unwrap();
        }
    });
    is_counted.recv_timeout(Duration::from_secs(30)).expect("counting waits for a scrape");
    drop(release);
    scrape.join().unwrap();
    let text = registry.render();
    assert_eq!(
        text.lines().filter(|line| line.starts_with("db_slow_queries_total{") && line.ends_with(" 3.0")).count(),
        100
    );
}

#[test]
fn a_large_metric_is_read_whole_in_parts() {
    const SERIES: usize = 5_000;
    let registry = Registry::with_settings(&MetricsSettings { max_label_sets: SERIES, ..MetricsSettings::default() });
    for table in 0..SERIES {
        registry.counter(catalog::DB_SLOW_QUERIES_TOTAL, &["SELECT", &table.to_string()]).increment(table as u64);
    }
    let text = registry.render();
    for table in 0..SERIES {
        let sample = format!("db_slow_queries_total{{operation=\"SELECT\",table=\"{table}\"}} {table}.0\n");
        assert!(text.contains(&sample), "{sample}");
    }
}

#[test]
fn the_text_is_the_same_for_the_same_values() {
    let texts: Vec<_> = [["a", "b", "c"], ["c", "a", "b"]]
        .map(|order| {
            let registry = Registry::new();
            for operation in order {
                registry.counter(catalog::DB_ROWS_AFFECTED, &[operation]).increment(1);
            }
            registry.render()
        })
        .into();
    assert_eq!(texts[0], texts[1]);
}
