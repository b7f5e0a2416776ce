//! What telemetry costs a worker thread, in nanoseconds an operation:
//! `cargo run --release -p covet-telemetry --example telemetry_cost`.
//!
//! Each figure is that of the fastest of several rounds, as others on the machine only ever add to it. Lines go
//! through the writer's thread into a pipe that another thread empties.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the person at the terminal")]

use std::hint::black_box;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::environment::Environment;
use covet_core::ids::RequestId;
use covet_core::settings::{Section, Sources};
use covet_telemetry::logging::access::{self, AccessLine};
use covet_telemetry::metrics::shard::{self, Cells};
use covet_telemetry::metrics::{Registry, catalog, histogram::Durations};
use covet_telemetry::request::RequestScope;
use covet_telemetry::settings::{LogSettings, MetricsSettings, TraceSettings};
use covet_telemetry::{Service, Telemetry};

const ROUNDS: usize = 9;

fn main() {
    let (mut read_end, write_end) = io::pipe().unwrap();
    thread::spawn(move || io::copy(&mut read_end, &mut io::sink()));
    let file = format!("/proc/self/fd/{}", write_end.as_raw_fd());
    let log = [("LOG_FILE", file.as_str()), ("LOG_FORMAT", "json"), ("COVET_LOG__STDOUT", "false")];
    let log = LogSettings::load(Sources::of(log)).unwrap();
    let traces = TraceSettings::defaults(Environment::Production);
    let clock = Clock::system();
    let service = Service { name: "covet", version: "1.0.0", environment: Environment::Production };
    let telemetry = Telemetry::start(service, &log, &MetricsSettings::default(), &traces, &clock).unwrap();

    let scope = RequestScope::new(RequestId::generate(&clock), Ipv4Addr::new(192, 0, 2, 10).into());
    scope.set_user("0199cdd2-7a5b-7cc0-8000-000000000002");
    let line = AccessLine {
        unix_millis: 1_760_097_784_123,
        scope: &scope,
        method: "GET",
        path: "/api/users/123456",
        status: 200,
        duration: Duration::from_micros(23_456),
        route: "/api/users/{id}",
        request_bytes: 0,
        response_bytes: 512,
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        protocol: "HTTP/1.1",
    };
    measure(&clock, "access line", 10_000, || access::write(black_box(&line)));

    let layout = Durations::of(catalog::HTTP_REQUEST_DURATION_SECONDS);
    let cells = Cells::new(4 + layout.cells());
    let macro_counter = || metrics::counter!("db_rows_affected", "operation" => "select").increment(1);
    let handle = telemetry.registry.counter(catalog::DB_ROWS_AFFECTED, &["select"]);
    for shard in ["shared", "claimed"] {
        if shard == "claimed" {
            shard::claim();
        }
        let name = |what: &str| format!("{what}, {shard} shard");
        measure(&clock, &name("Cells::add"), 5_000_000, || black_box(&cells).add(black_box(1), 1));
        let lane_of_three = || {
            let lane = black_box(&cells).lane();
            lane.add(black_box(1), 1);
            lane.add(black_box(2), 1);
            lane.add(black_box(3), 1);
        };
        measure(&clock, &name("a lane and three adds"), 5_000_000, lane_of_three);
        let duration = Duration::from_micros(23_456);
        let record = || _ = layout.record(cells.lane(), 4, black_box(duration));
        measure(&clock, &name("Durations::record"), 5_000_000, record);
        measure(&clock, &name("facade, kept handle"), 5_000_000, || handle.increment(black_box(1)));
        measure(&clock, &name("facade, macro with a label"), 500_000, macro_counter);
    }
    measure(&clock, "tracing event with two fields", 50_000, || tracing::info!(rows = 3, table = "users", "read"));
    measure(&clock, "tracing event, level off", 5_000_000, || tracing::debug!(rows = 3, "read"));
    measure(&clock, "scrape", 50, || _ = black_box(telemetry.registry.render()));
    let many = Registry::with_settings(&MetricsSettings { max_label_sets: 100_000, processes_dir: None });
    for table in 0..100_000 {
        many.counter(catalog::DB_QUERIES_TOTAL, &["select", &table.to_string(), "ok"]).increment(1);
    }
    measure(&clock, "scrape of 100 000 series", 3, || _ = black_box(many.render()));
}

fn measure(clock: &Clock, what: &str, times: u32, mut operation: impl FnMut()) {
    let rounds = (0..ROUNDS).map(|_| {
        let start = clock.monotonic();
        for _ in 0..times {
            operation();
        }
        clock.monotonic().duration_since(start).as_nanos() as f64 / f64::from(times)
    });
    println!("{:>10.1} ns  {what}", rounds.fold(f64::INFINITY, f64::min));
}
