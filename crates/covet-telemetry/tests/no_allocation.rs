//! Counting takes no memory once a series is known: every way to count that stands on the request path.
#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers with it")]

use std::hint::black_box;
use std::time::Duration;

use covet_telemetry::metrics::exemplar::{Exemplar, Exemplars};
use covet_telemetry::metrics::histogram::Durations;
use covet_telemetry::metrics::instruments::{
    CacheInstruments, CacheOperation, QueryCacheInstruments, RateLimitInstruments,
};
use covet_telemetry::metrics::per_user::CallsPerUser;
use covet_telemetry::metrics::shard::{self, Cells};
use covet_telemetry::metrics::sweep::Sweep;
use covet_telemetry::metrics::typed::{Family, Text};
use covet_telemetry::metrics::{Counter, Registry, catalog};
use covet_telemetry::traces::TraceId;
use metrics::with_local_recorder;
use tikv_jemalloc_ctl::thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes that this thread allocates while it works a thousand times, after having worked once.
fn allocated(mut work: impl FnMut()) -> u64 {
    work();
    let allocated = thread::allocatedp::read().unwrap();
    let before = allocated.get();
    for _ in 0..1000 {
        work();
    }
    allocated.get() - before
}

fn each_way_to_count(registry: &Registry) -> Vec<(&'static str, u64)> {
    let counter = registry.counter(catalog::DB_ROWS_AFFECTED, &["SELECT"]);
    let gauge = registry.gauge(catalog::DB_CONNECTIONS_ACTIVE, &[]);
    let histogram = registry.histogram(catalog::DB_QUERY_DURATION_SECONDS, &["SELECT", "users"]);
    let by_text = Family::<Counter, (Text<5>,)>::new(registry, catalog::DB_CONNECTION_ERRORS);
    let plain = Family::<Counter, ()>::new(registry, catalog::DB_DEADLOCKS_TOTAL);
    let layout = Durations::of(catalog::HTTP_REQUEST_DURATION_SECONDS);
    let cells = Cells::new(layout.cells());
    let (exemplars, trace) = (Exemplars::default(), TraceId::new([7; 16]).unwrap());
    let calls = CallsPerUser::new(registry);
    let cache = CacheInstruments::new(registry, "memory");
    let users = cache.of_prefix("user");
    let queries = QueryCacheInstruments::new(registry);
    let limit = RateLimitInstruments::new(registry, "/api/users");
    let sweep = Sweep::new(registry, "connections");
    let took = Duration::from_micros(700);
    let mut now = 0;
    vec![
        ("a kept counter", allocated(|| counter.increment(black_box(1)))),
        ("a kept gauge", allocated(|| gauge.set(black_box(1.0)))),
        ("a kept histogram", allocated(|| histogram.record(black_box(took)))),
        ("a facade macro", allocated(|| metrics::counter!("db_rows_affected", "operation" => "SELECT").increment(1))),
        ("a metric with a text label", allocated(|| by_text.with((black_box("timeout"),)).increment(1))),
        ("a metric without labels", allocated(|| plain.with(()).increment(1))),
        ("cells", allocated(|| _ = layout.record(cells.lane(), 0, black_box(took)))),
        (
            "an exemplar",
            allocated(|| {
                now += 600;
                exemplars.offer(layout.buckets(), 3, Exemplar { trace, value: 0.1, unix_millis: now });
            }),
        ),
        ("a call of a user", allocated(|| calls.count(black_box("ada")))),
        ("a cache hit", allocated(|| black_box(&users).hit())),
        ("a cache operation", allocated(|| cache.took(CacheOperation::Get, took))),
        ("a query from the cache", allocated(|| queries.hit())),
        ("a refused request", allocated(|| limit.exceeded(black_box(&"192.0.2.7")))),
        ("a sweep", allocated(|| sweep.took(took))),
    ]
}

#[test]
fn counting_allocates_nothing() {
    let registry = Registry::new();
    for claimed in [false, true] {
        if claimed {
            shard::claim();
        }
        let counted = with_local_recorder(&registry.recorder(), || each_way_to_count(&registry));
        let allocating: Vec<_> = counted.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
        assert_eq!(allocating, [], "claimed: {claimed}");
    }
    assert!(allocated(|| drop(black_box(vec![1_u8; 100]))) >= 100_000, "the allocator is not measured");
}
