//! Where log lines end up.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::settings::{Section, Sources};
use covet_telemetry::logging::{Logging, audit, security, vocabulary};
use covet_telemetry::metrics::Registry;
use covet_telemetry::settings::LogSettings;
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use crate::value;

const LONG: Duration = Duration::from_secs(60);

fn settings(file: &Path, more: &[(&'static str, &str)]) -> LogSettings {
    let mut pairs = vec![("LOG_FORMAT", "json"), ("COVET_LOG__STDOUT", "false"), ("LOG_FILE", file.to_str().unwrap())];
    pairs.extend_from_slice(more);
    LogSettings::load(Sources::of(pairs)).unwrap()
}

fn start(settings: &LogSettings) -> Logging {
    Logging::start(settings, "covet", Clock::system()).unwrap()
}

#[test]
fn rotation_under_many_writers_loses_and_splits_no_line() {
    const THREADS: usize = 8;
    const EACH: usize = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("covet.log");
    let logging = start(&settings(&file, &[("COVET_LOG__FILE_MAX_SIZE", "64KiB"), ("COVET_LOG__FILES_KEPT", "1000")]));
    let registry = Registry::new();
    logging.register_metrics(&registry);
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(logging.layer()));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (dispatch, logging) = (&dispatch, &logging);
            scope.spawn(move || {
                tracing::dispatcher::with_default(dispatch, || {
                    for number in 0..EACH {
                        tracing::info!(thread, number, padding = "x".repeat(number % 300), "line");
                        if number % 500 == 499 {
                            // Lest the buffer fills up: what it drops is not this test's matter.
                            assert!(logging.flush(LONG));
                        }
                    }
                });
            });
        }
    });
    assert!(logging.shutdown(LONG));

    let files: Vec<PathBuf> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 10, "{}", files.len());
    let mut seen = HashSet::new();
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.len() <= 64 * 1024 && text.ends_with('\n'), "{}", path.display());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(seen.insert((line["thread"].as_u64().unwrap(), line["number"].as_u64().unwrap())), "{line}");
        }
    }
    assert_eq!(seen.len(), THREADS * EACH);
    let text = registry.render();
    assert_eq!(value(&text, "log_lines_written_total"), Some((THREADS * EACH) as f64));
    assert_eq!(value(&text, "log_lines_dropped_total{reason=\"buffer_full\"}"), Some(0.0));
}

#[test]
fn security_and_audit_have_files_of_their_own_beside_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let [all, own_security, own_audit] =
        ["covet.log", "security.log", "audit.log"].map(|name| directory.path().join(name));
    let files = [
        ("COVET_LOG__SECURITY_FILE", own_security.to_str().unwrap()),
        ("COVET_LOG__AUDIT_FILE", own_audit.to_str().unwrap()),
    ];
    let logging = start(&settings(&all, &files));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logging.layer()), || {
        tracing::info!("started");
        security(vocabulary::LOGIN_FAILED).failure("unknown_user").log("login failed");
        audit(vocabulary::USER_CREATED).target("user", 1).log("user registered");
    });
    assert!(logging.shutdown(LONG));
    let messages = |path: &Path| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let line = |line| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        text.lines().map(line).collect()
    };
    assert_eq!(messages(&all), ["started", "login failed", "user registered"]);
    assert_eq!(messages(&own_security), ["login failed"]);
    assert_eq!(messages(&own_audit), ["user registered"]);
}

#[test]
fn lines_that_a_full_disk_costs_are_counted_and_the_log_goes_on_when_there_is_room() {
    // A disk of its own, which only root of a user namespace may make: see the system tests. Here the device that is
    // always full.
    let settings = settings(Path::new("/dev/full"), &[]);
    let logging = start(&settings);
    let registry = Registry::new();
    logging.register_metrics(&registry);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logging.layer()), || {
        for _ in 0..3 {
            tracing::info!("line");
            assert!(logging.flush(LONG));
        }
    });
    let text = registry.render();
    assert_eq!(value(&text, "log_lines_dropped_total{reason=\"write_failed\"}"), Some(3.0));
    assert_eq!(value(&text, "log_lines_written_total"), Some(0.0));
}

#[test]
fn logging_after_the_end_does_no_harm_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("covet.log");
    let logging = start(&settings(&file, &[]));
    let registry = Registry::new();
    logging.register_metrics(&registry);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logging.layer()), || {
        tracing::info!("before");
        assert!(logging.shutdown(LONG));
        tracing::info!("after");
        drop(logging);
        tracing::info!("long after");
    });
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(value(&registry.render(), "log_lines_dropped_total{reason=\"closed\"}"), Some(2.0));
}

#[test]
fn a_log_file_that_cannot_be_written_is_told_at_the_start_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    let settings = settings(&in_the_way.join("covet.log"), &[]);
    let error = Logging::start(&settings, "covet", Clock::system()).unwrap_err().to_string();
    for part in ["cannot write the log file", "file/covet.log", "LOG_FILE"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn logging_to_nowhere_is_refused() {
    let settings = LogSettings::load(Sources::of([("COVET_LOG__STDOUT", "false")])).unwrap();
    let error = Logging::start(&settings, "covet", Clock::system()).unwrap_err().to_string();
    assert!(error.contains("COVET_LOG__STDOUT=true"), "{error}");
}
