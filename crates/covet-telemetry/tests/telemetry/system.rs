//! Readings against what `/proc` and the kernel say.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::thread;

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_telemetry::metrics::Registry;
use covet_telemetry::system::readings::{CpuTimes, Memory, Process, Space};
use covet_telemetry::system::{AboutCollector, SystemCollector};

use crate::value;

fn registry() -> Registry {
    let registry = Registry::new();
    registry.register(Arc::new(SystemCollector::new(&registry)));
    registry
}

#[track_caller]
fn assert_near(value: f64, expected: f64, share: f64) {
    assert!((value - expected).abs() <= expected.abs() * share, "{value} is not near {expected}");
}

fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_process_is_as_proc_says() {
    let _held: Vec<_> = (0..5).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
    let text = registry().render();
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count() - 1;
    assert_eq!(value(&text, "process_open_file_descriptors"), Some(descriptors as f64));
    assert_eq!(value(&text, "process_threads_total"), Some(status("Threads")));
    assert_near(value(&text, "process_memory_usage_bytes{type=\"rss\"}").unwrap(), status("VmRSS") * 1024.0, 0.3);
    assert_near(value(&text, "process_memory_usage_bytes{type=\"vms\"}").unwrap(), status("VmSize") * 1024.0, 0.1);
    let now = Clock::system().unix_millis() as f64 / 1000.0;
    let age = now - value(&text, "process_start_time_seconds").unwrap();
    assert!((-2.0..600.0).contains(&age), "started {age} s ago");
}

#[test]
fn the_machine_is_as_the_kernel_says() {
    let text = registry().render();
    let memory = |kind: &str| value(&text, &format!("system_memory_usage_bytes{{type=\"{kind}\"}}")).unwrap();
    assert_eq!(memory("used") + memory("available"), memory("total"));
    assert_eq!(memory("total"), Memory::read().unwrap().total_bytes as f64);
    let cpu = value(&text, "system_cpu_usage_percent").unwrap();
    assert!((0.0..=100.0).contains(&cpu), "{cpu}");
    for period in ["1m", "5m", "15m"] {
        assert!(value(&text, &format!("system_load_average{{period=\"{period}\"}}")).unwrap() >= 0.0);
    }
    assert!(CpuTimes::read().unwrap().processors >= 1);
    assert_eq!(value(&text, "metrics_collector_failures_total{collector=\"system\"}"), Some(0.0));
}

#[test]
fn disk_space_is_what_df_says() {
    let output = process::Command::new("df").args(["-B1", "--output=size,used,avail", "/"]).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = output.lines().nth(1).unwrap().split_whitespace().map(|n| n.parse().unwrap()).collect();
    let space = Space::at("/".as_ref()).unwrap();
    assert_eq!(space.total_bytes as f64, numbers[0]);
    // Others may write at the same time.
    assert_near(space.used_bytes as f64, numbers[1], 0.1);
    assert_near(space.available_bytes as f64, numbers[2], 0.1);
}

#[test]
fn network_counters_follow_the_traffic() {
    const BYTES: usize = 10_000_000;
    let registry = registry();
    let counters = || {
        let text = registry.render();
        ["sent", "received"]
            .map(|way| value(&text, &format!("system_network_bytes_{way}{{interface=\"lo\"}}")).unwrap())
    };
    let before = counters();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sender = thread::spawn(move || TcpStream::connect(address).unwrap().write_all(&vec![0; BYTES]).unwrap());
    let mut received = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    for (before, after) in before.into_iter().zip(counters()) {
        assert!(after - before >= BYTES as f64, "{before} {after}");
    }
}

#[test]
fn work_shows_as_processor_time_of_the_process() {
    let registry = registry();
    let first = registry.render();
    assert!(value(&first, "process_cpu_usage_percent").is_some());
    let start = Process::read().unwrap().cpu_seconds;
    // Until the kernel has counted half a second, so also long enough for a new share.
    let mut number = 1_u64;
    while Process::read().unwrap().cpu_seconds - start < 0.5 {
        for _ in 0..1_000_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    let busy = value(&registry.render(), "process_cpu_usage_percent").unwrap();
    assert!(busy > 5.0, "{busy}");
}

#[test]
fn the_service_says_who_it_is_and_for_how_long_it_runs() {
    let (clock, hand) = Clock::manual("2025-10-10T12:00:00Z".parse().unwrap());
    let registry = Registry::new();
    registry.register(Arc::new(AboutCollector::new("covet", "1.0.0", Environment::Staging, clock)));
    hand.advance(std::time::Duration::from_millis(90_500));
    let text = registry.render();
    assert_eq!(value(&text, "app_info{name=\"covet\",environment=\"staging\"}"), Some(1.0));
    assert_eq!(value(&text, "app_uptime_seconds"), Some(90.5));
    let version = text.lines().find(|line| line.starts_with("app_version_info{version=\"1.0.0\",rust_version=\"1."));
    assert!(version.is_some(), "{text}");
}
