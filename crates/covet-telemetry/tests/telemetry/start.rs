//! Telemetry of a whole process. One test, as a process has it once.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, Sources};
use covet_telemetry::logging::access::{self, AccessLine};
use covet_telemetry::request::RequestScope;
use covet_telemetry::settings::{LogSettings, MetricsSettings, TraceSettings};
use covet_telemetry::{Service, Telemetry};
use serde_json::Value;

use crate::value;

const LONG: Duration = Duration::from_secs(60);

static SCOPE: LazyLock<RequestScope> =
    LazyLock::new(|| RequestScope::new(RequestId::parse(b"r1").unwrap(), Ipv4Addr::LOCALHOST.into()));

fn line(path: &str) -> AccessLine<'_> {
    AccessLine {
        unix_millis: 1_760_097_784_123,
        scope: &SCOPE,
        method: "GET",
        path,
        status: 200,
        duration: Duration::from_micros(150),
        route: "/{id}",
        request_bytes: 0,
        response_bytes: 2,
        user_agent: "test",
        protocol: "HTTP/1.1",
    }
}

/// Logs while it is being logged.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tracing::info!("while being logged");
        f.write_str("chatty")
    }
}

#[test]
fn metrics_events_and_access_lines_of_a_process_end_where_they_should() {
    const THREADS: usize = 4;
    const EACH: usize = 5_000;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("logs/covet.log");
    let settings = LogSettings::load(Sources::of([
        ("LOG_FILE", file.to_str().unwrap()),
        ("LOG_FORMAT", "json"),
        ("COVET_LOG__STDOUT", "false"),
        ("COVET_LOG__BUFFER", "64MiB"),
    ]));
    let service = Service { name: "covet", version: "1.0.0", environment: Environment::Staging };
    let traces = TraceSettings::defaults(Environment::Staging);
    let (metrics, clock) = (MetricsSettings::default(), Clock::system());
    let start = || Telemetry::start(service, settings.as_ref().unwrap(), &metrics, &traces, &clock);
    assert!(!access::enabled());
    let telemetry = start().unwrap();
    assert!(access::enabled());

    metrics::counter!("db_deadlocks_total").increment(1);
    tracing::info!(value = ?Chatty, "started");
    log::warn!(target: "rustls::server", "a {} of another crate", "record");
    log::debug!(target: "rustls::server", "not at this level");
    let work = |thread| {
        move || {
            for number in 0..EACH {
                access::write(&line(&format!("/{thread}/{number}")));
            }
            if thread == 0 {
                access::flush_thread();
                access::write(&line("/after/flush"));
            }
            // The rest is handed over when the thread ends. A scope would not wait for that, `join` does.
        }
    };
    let threads: Vec<_> = (0..THREADS).map(|thread| thread::spawn(work(thread))).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(telemetry.logging.flush(LONG));

    telemetry.logging.levels().set("info,covet.api=warn".parse().unwrap());
    assert!(!access::enabled());
    access::write(&line("/not-logged"));
    telemetry.logging.levels().set("info".parse().unwrap());
    access::write(&line("/last"));
    assert!(telemetry.logging.flush(LONG), "flush takes this thread's lines along");

    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<_> = lines.iter().filter(|line| line["logger"] == "covet.api").collect();
    assert_eq!(access.len(), THREADS * EACH + 2);
    assert_eq!(access.last().unwrap()["path"], "/last");
    assert!(access.iter().all(|line| line["message"] == "HTTP request completed" && line["service"] == "covet"));
    let started: Vec<_> = lines.iter().filter(|line| line["message"] == "started").collect();
    assert!(started.len() == 1 && started[0]["value"] == "chatty", "{started:?}");
    let record = lines.iter().find(|line| line["logger"] == "rustls.server").unwrap();
    assert_eq!((&record["level"], &record["message"]), (&"WARN".into(), &"a record of another crate".into()));
    assert!(!text.contains("not at this level"));

    let metrics = telemetry.registry.render();
    assert_eq!(value(&metrics, "db_deadlocks_total"), Some(1.0));
    assert_eq!(value(&metrics, "log_lines_written_total"), Some(lines.len() as f64));
    assert!(metrics.contains("app_info{name=\"covet\",environment=\"staging\"} 1.0"));

    let second = start().unwrap_err().to_string();
    assert!(second.contains("once"), "{second}");
    drop(telemetry);
    access::write(&line("/after-the-end"));
    access::flush_thread();
    tracing::info!("after the end");
    log::warn!("after the end");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}
