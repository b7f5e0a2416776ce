//! Each of the sixty documented metrics: the event that must move it, the change expected, the change seen.
//!
//! The events are made on real services, `drill-service` and `covet-api`.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use covet_system_tests::account::Account;
use covet_system_tests::documented::DOCUMENTED;
use covet_system_tests::drill;
use covet_system_tests::exposition::Exposition;
use covet_system_tests::raw_http::Connection;
use covet_system_tests::scrape::{scrape, scrape_until};
use covet_testkit::{Database, Redis, Service};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// What a service showed.
struct Scrapes {
    before: Exposition,
    /// While requests, sockets, transactions and tasks were under way.
    during: Exposition,
    after: Exposition,
}

struct Scene {
    drill: Scrapes,
    /// The drill service on PostgreSQL.
    postgres: Scrapes,
    /// The drill service with a Redis that is stopped.
    redis: Scrapes,
    api: Scrapes,
}

#[derive(Clone, Copy)]
enum On {
    Drill,
    Postgres,
    Redis,
    Api,
}

use On::{Api, Drill, Postgres};

type Labels = &'static [(&'static str, &'static str)];

/// What the event must do.
enum Expect {
    /// The sample grows by exactly so much.
    Grows(On, &'static str, Labels, f64),
    /// The sample grows by at least so much.
    GrowsAtLeast(On, &'static str, Labels, f64),
    /// The sample is so much while it is under way, and nothing afterwards.
    Lasts(On, &'static str, Labels, f64),
    /// The sample lies between two values.
    Between(On, &'static str, Labels, f64, f64),
}

use Expect::{Between, Grows, GrowsAtLeast, Lasts};

const HELLO: Labels = &[("method", "GET"), ("endpoint", "/hello")];
const ECHO: Labels = &[("method", "POST"), ("endpoint", "/echo")];
const SOCKET: Labels = &[("endpoint", "/ws/echo")];
const LO: Labels = &[("interface", "lo")];
const REGISTER: Labels = &[("endpoint", "/api/auth/register")];
const LOGIN_FAILED: Labels = &[("method", "password"), ("status", "failure")];
const WRONG_PASSWORD: Labels = &[("method", "password"), ("reason", "wrong_password")];
const TASK: Labels = &[("task_type", "drill")];
const TASK_DONE: Labels = &[("task_type", "drill"), ("status", "success")];

const MEMORY: Labels = &[("cache_type", "memory")];
const TEXTS: Labels = &[("cache_type", "memory"), ("key_prefix", "drill_texts")];
const SET: Labels = &[("operation", "set"), ("cache_type", "memory")];
const UP_TO_5_MINUTES: Labels = &[("cache_type", "memory"), ("le", "300.0")];

const MANY: f64 = 1e15;

/// Metric, event, what it must do.
#[rustfmt::skip]
const TABLE: [(&str, &str, Expect); 60] = [
    ("http_requests_total", "3 requests to /hello", Grows(Drill, "http_requests_total", HELLO, 3.0)),
    ("http_request_duration_seconds", "3 requests to /hello", Grows(Drill, "http_request_duration_seconds_count", HELLO, 3.0)),
    ("http_request_size_bytes", "an upload of 10 000 bytes", Grows(Drill, "http_request_size_bytes_sum", ECHO, 10_000.0)),
    ("http_response_size_bytes", "10 000 bytes sent back", Grows(Drill, "http_response_size_bytes_sum", ECHO, 10_000.0)),
    ("http_requests_in_progress", "2 requests to /slow under way", Lasts(Drill, "http_requests_in_progress", &[("endpoint", "/slow")], 2.0)),
    ("http_exceptions_total", "a handler panics", Grows(Drill, "http_exceptions_total", &[("endpoint", "/panic"), ("exception_type", "panic")], 1.0)),
    ("http_4xx_responses", "4 requests to no route", Grows(Drill, "http_4xx_responses", &[("endpoint", "unmatched"), ("status", "404")], 4.0)),
    ("http_5xx_responses", "a handler fails", Grows(Drill, "http_5xx_responses", &[("endpoint", "/fail"), ("status", "500")], 1.0)),
    ("http_request_duration_summary", "3 requests to /hello", Grows(Drill, "http_request_duration_summary_count", HELLO, 3.0)),
    ("websocket_connections_total", "a WebSocket is open", Lasts(Drill, "websocket_connections_total", &[], 1.0)),
    ("websocket_messages_sent", "4 echoes", Grows(Drill, "websocket_messages_sent", SOCKET, 4.0)),
    ("websocket_messages_received", "4 messages", Grows(Drill, "websocket_messages_received", SOCKET, 4.0)),
    ("http_requests_by_user_agent", "2 requests by curl", Grows(Drill, "http_requests_by_user_agent", &[("user_agent_type", "cli")], 2.0)),
    ("db_queries_total", "a transaction writes a table", Grows(Drill, "db_queries_total", &[("operation", "INSERT"), ("table", "drill"), ("status", "success")], 1.0)),
    ("db_query_duration_seconds", "a transaction writes a table", Grows(Drill, "db_query_duration_seconds_count", &[("operation", "INSERT"), ("table", "drill")], 1.0)),
    ("db_connections_active", "a transaction is open", Lasts(Drill, "db_connections_active", &[], 1.0)),
    ("db_connections_idle", "nothing runs", Between(Drill, "db_connections_idle", &[], 1.0, 20.0)),
    ("db_connection_pool_size", "the service has started", Between(Drill, "db_connection_pool_size", &[], 1.0, 20.0)),
    ("db_connection_pool_overflow", "a second transaction waits", Lasts(Drill, "db_connection_pool_overflow", &[], 1.0)),
    ("db_transaction_duration_seconds", "a transaction is committed", Grows(Drill, "db_transaction_duration_seconds_count", &[("status", "commit")], 1.0)),
    ("db_transactions_total", "a transaction is rolled back", Grows(Drill, "db_transactions_total", &[("status", "rollback")], 1.0)),
    ("db_deadlocks_total", "two transactions lock rows crosswise", Grows(Postgres, "db_deadlocks_total", &[], 1.0)),
    ("db_rows_affected", "3 rows written", Grows(Drill, "db_rows_affected", &[("operation", "INSERT")], 3.0)),
    ("db_cache_hits", "a query is asked three times", Grows(Drill, "db_cache_hits", &[], 2.0)),
    ("db_cache_misses", "a query is asked for the first time", Grows(Drill, "db_cache_misses", &[], 1.0)),
    ("db_connection_errors", "a transaction waits too long for its turn", Grows(Drill, "db_connection_errors", &[("error_type", "timeout")], 1.0)),
    ("db_query_errors", "a statement names no table", Grows(Drill, "db_query_errors", &[("operation", "DELETE"), ("error_type", "statement")], 1.0)),
    ("db_slow_queries_total", "a statement counts to two million", Grows(Drill, "db_slow_queries_total", &[("operation", "SELECT")], 1.0)),
    ("cache_hits_total", "a text is read three times", Grows(Drill, "cache_hits_total", TEXTS, 2.0)),
    ("cache_misses_total", "a text is read for the first time", Grows(Drill, "cache_misses_total", TEXTS, 1.0)),
    ("cache_evictions_total", "more is stored than there is room for", GrowsAtLeast(Drill, "cache_evictions_total", MEMORY, 100.0)),
    ("cache_size_bytes", "the cache is full", Between(Drill, "cache_size_bytes", MEMORY, 700_000.0, 1_048_576.0)),
    ("cache_keys_total", "the cache is full", Between(Drill, "cache_keys_total", MEMORY, 500.0, 1_000.0)),
    ("cache_operation_duration_seconds", "2 000 texts are stored, and one that was loaded", Grows(Drill, "cache_operation_duration_seconds_count", SET, 2_001.0)),
    ("cache_connection_errors", "Redis is stopped", GrowsAtLeast(On::Redis, "cache_connection_errors", &[("cache_type", "redis")], 1.0)),
    ("cache_memory_usage_bytes", "the cache is full", Between(Drill, "cache_memory_usage_bytes", MEMORY, 900_000.0, 1_048_576.0)),
    ("cache_ttl_seconds", "2 001 texts are stored for up to 5 min", Grows(Drill, "cache_ttl_seconds_bucket", UP_TO_5_MINUTES, 2_001.0)),
    ("cache_hit_ratio", "2 of 3 reads find the text", Between(Drill, "cache_hit_ratio", MEMORY, 0.66, 0.67)),
    ("system_cpu_usage_percent", "the machine works", Between(Drill, "system_cpu_usage_percent", &[], 0.1, 100.0)),
    ("system_memory_usage_bytes", "the machine runs", Between(Drill, "system_memory_usage_bytes", &[("type", "used")], 1e6, MANY)),
    ("system_disk_usage_bytes", "the machine has a disk", Between(Drill, "system_disk_usage_bytes", &[("type", "total")], 1e6, MANY)),
    ("system_network_bytes_sent", "20 000 bytes over lo", GrowsAtLeast(Drill, "system_network_bytes_sent", LO, 20_000.0)),
    ("system_network_bytes_received", "20 000 bytes over lo", GrowsAtLeast(Drill, "system_network_bytes_received", LO, 20_000.0)),
    ("process_cpu_usage_percent", "the service works", Between(Drill, "process_cpu_usage_percent", &[], 0.1, 10_000.0)),
    ("process_memory_usage_bytes", "the service runs", Between(Drill, "process_memory_usage_bytes", &[("type", "rss")], 1e6, 1e10)),
    ("process_open_file_descriptors", "connections are open", Between(Drill, "process_open_file_descriptors", &[], 5.0, 1000.0)),
    ("process_threads_total", "the service runs", Between(Drill, "process_threads_total", &[], 4.0, 1000.0)),
    ("process_start_time_seconds", "the service was started", Between(Drill, "process_start_time_seconds", &[], 1.7e9, 1e11)),
    ("system_load_average", "the machine works", Between(Drill, "system_load_average", &[("period", "1m")], 0.0, 1e4)),
    ("garbage_collection_duration_seconds", "connections are looked through", GrowsAtLeast(Drill, "garbage_collection_duration_seconds_count", &[("generation", "connections")], 1.0)),
    ("app_info", "the service has started", Between(Drill, "app_info", &[("environment", "development")], 1.0, 1.0)),
    ("app_uptime_seconds", "time passes", GrowsAtLeast(Drill, "app_uptime_seconds", &[], 1.0)),
    ("app_requests_queue_depth", "one request more than is let in", Lasts(Drill, "app_requests_queue_depth", &[], 1.0)),
    ("app_workers_total", "the service has started", Between(Drill, "app_workers_total", &[], 1.0, 1000.0)),
    ("app_background_tasks_total", "a periodic task works", Lasts(Drill, "app_background_tasks_total", TASK, 1.0)),
    ("app_background_task_duration_seconds", "a periodic task ends", GrowsAtLeast(Drill, "app_background_task_duration_seconds_count", TASK_DONE, 1.0)),
    ("app_rate_limit_exceeded", "one request more than the limit", Grows(Api, "app_rate_limit_exceeded", REGISTER, 1.0)),
    ("app_auth_attempts_total", "a wrong password", Grows(Api, "app_auth_attempts_total", LOGIN_FAILED, 1.0)),
    ("app_auth_failures_total", "a wrong password", Grows(Api, "app_auth_failures_total", WRONG_PASSWORD, 1.0)),
    ("app_version_info", "the service has started", Between(Drill, "app_version_info", &[], 1.0, 1.0)),
];

#[tokio::test]
async fn each_documented_metric_moves_with_its_event() -> Result<()> {
    for ((name, ..), (documented, _)) in TABLE.iter().zip(DOCUMENTED) {
        assert_eq!(*name, documented);
    }
    let scene = Scene {
        drill: drill_scene().await?,
        postgres: postgres_scene().await?,
        redis: redis_scene().await?,
        api: api_scene().await?,
    };
    let (mut wrong, mut report) = (0, String::new());
    for (name, event, expect) in &TABLE {
        let (expected, observed, right) = compare(&scene, expect);
        wrong += usize::from(!right);
        let verdict = if right { "  " } else { "✗ " };
        writeln!(report, "{verdict}{name}: {event}: expected {expected}, saw {observed}")?;
    }
    ensure!(wrong == 0, "{wrong} metrics do not do what they should:\n{report}");
    println!("{report}");
    Ok(())
}

/// What was expected and what was seen, in words, and whether they agree.
fn compare(scene: &Scene, expect: &Expect) -> (String, String, bool) {
    let of = |on: &On| match on {
        Drill => &scene.drill,
        Postgres => &scene.postgres,
        On::Redis => &scene.redis,
        Api => &scene.api,
    };
    let growth = |on: &On, sample: &str, labels: Labels| {
        let Scrapes { before, after, .. } = of(on);
        after.sum(sample, labels) - before.sum(sample, labels)
    };
    match expect {
        Grows(on, sample, labels, by) => {
            let seen = growth(on, sample, labels);
            (format!("+{by}"), format!("+{seen}"), seen == *by)
        }
        GrowsAtLeast(on, sample, labels, by) => {
            let seen = growth(on, sample, labels);
            (format!("at least +{by}"), format!("+{seen}"), seen >= *by)
        }
        Lasts(on, sample, labels, level) => {
            let Scrapes { during, after, .. } = of(on);
            let (seen, later) = (during.sum(sample, labels), after.sum(sample, labels));
            let right = seen == *level && later == 0.0 && after.matching(sample, labels).count() > 0;
            (format!("{level}, then 0"), format!("{seen}, then {later}"), right)
        }
        Between(on, sample, labels, least, most) => {
            let seen = of(on).after.sum(sample, labels);
            (format!("{least} to {most}"), seen.to_string(), (*least..=*most).contains(&seen))
        }
    }
}

async fn drill_scene() -> Result<Scrapes> {
    let service = drill::builder()?
        .env("COVET_HTTP__MAX_IN_FLIGHT", "4")
        .env("COVET_HTTP__QUEUE_TIMEOUT", "60s")
        .env("COVET_DATABASE__ACQUIRE_TIMEOUT", "5s")
        .env("COVET_DATABASE__SLOW_QUERY", "50ms")
        .env("COVET_DRILL__TASK", "300ms")
        .env("COVET_CACHE__MEMORY_SIZE", "1MiB")
        .start()
        .await?;
    let before = scrape(&service).await?;
    let mut connection = Connection::open(service.port()).await?;
    for (path, status, times) in [
        ("/hello", 200, 2),
        ("/nowhere", 404, 2),
        ("/fail", 500, 1),
        ("/panic", 500, 1),
        ("/db/roll-back", 200, 1),
        ("/db/wrong", 500, 1),
        ("/db/slow", 200, 1),
        ("/db/cached", 200, 3),
        ("/cache/read/a", 200, 3),
        ("/cache/fill/2000", 200, 1),
    ] {
        for _ in 0..times {
            connection.send_get(path).await?;
            assert_eq!(connection.response().await?.status, status, "{path}");
        }
    }
    for _ in 0..2 {
        let request = service.client().get(service.url("/nowhere/else")).header("user-agent", "curl/8.0");
        assert_eq!(request.send().await?.status(), 404);
    }
    let upload = service.client().post(service.url("/echo")).body(vec![b'x'; 10_000]);
    assert_eq!(upload.send().await?.bytes().await?.len(), 10_000);

    let during = under_way(&service).await?;
    let after = scrape_until(&service, "everything to be over", |now| {
        let lasting = ["http_requests_in_progress", "app_requests_queue_depth", "websocket_connections_total"];
        lasting.iter().all(|level| now.sum(level, &[]) == 0.0)
            && now.sum("db_connections_active", &[]) == 0.0
            && now.sum("app_background_tasks_total", TASK) == 0.0
    });
    Ok(Scrapes { before, during, after: after.await? })
}

/// Holds everything that can be held, and scrapes.
async fn under_way(service: &Service) -> Result<Exposition> {
    let url = service.url("/ws/echo").replace("http://", "ws://");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    for _ in 0..4 {
        socket.send(Message::text("hello")).await?;
        socket.next().await.context("an echo")??;
    }
    // Four are let in: a transaction, one that waits for it longer than it may, and two slow ones. The fifth waits.
    let mut requests = Vec::new();
    for path in ["/db/hold?ms=7000", "/db/hold?ms=0", "/slow?ms=7000", "/slow?ms=7000", "/hello"] {
        let mut connection = Connection::open(service.port()).await?;
        connection.send_get(path).await?;
        requests.push(connection);
        let held = requests.len() as f64;
        // One after the other: the second transaction waits for the first, the last request for all.
        scrape_until(service, "a request to be held", |now| {
            let waiting = now.sum("app_requests_queue_depth", &[]);
            now.sum("http_requests_in_progress", &[]) + waiting == held
        })
        .await?;
    }
    let all_held = |now: &Exposition| {
        now.sum("app_requests_queue_depth", &[]) == 1.0
            && now.sum("db_connection_pool_overflow", &[]) == 1.0
            && now.sum("app_background_tasks_total", TASK) == 1.0
    };
    let during = scrape_until(service, "everything to be held", all_held).await?;
    let mut statuses = Vec::new();
    for connection in &mut requests {
        statuses.push(connection.response().await?.status);
    }
    assert_eq!(statuses, [200, 503, 200, 200, 200]);
    socket.close(None).await?;
    while socket.next().await.is_some() {}
    Ok(during)
}

async fn postgres_scene() -> Result<Scrapes> {
    let database = Database::create().await?;
    let service = drill::builder()?.env("DATABASE_URL", database.url()).start().await?;
    let before = scrape(&service).await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/db/deadlock").await?;
    let response = connection.response().await?;
    assert_eq!((response.status, response.text()), (200, "1".into()));
    let during = scrape(&service).await?;
    let after = scrape(&service).await?;
    drop(service);
    Ok(Scrapes { before, during, after })
}

async fn redis_scene() -> Result<Scrapes> {
    let mut redis = Redis::start().await?;
    let service = drill::builder()?.env("REDIS_URL", redis.url()).start().await?;
    let before = scrape(&service).await?;
    redis.kill9().await?;
    let mut connection = Connection::open(service.port()).await?;
    connection.send_get("/cache/read/a").await?;
    assert_eq!(connection.response().await?.status, 200);
    let during = scrape(&service).await?;
    let after = scrape(&service).await?;
    Ok(Scrapes { before, during, after })
}

async fn api_scene() -> Result<Scrapes> {
    let service = Service::builder().without_env("COVET_RATE_LIMIT__ENABLED").start().await?;
    let before = scrape(&service).await?;
    let account = Account::register(&service, "ada").await?;
    let wrong = json!({"email": account.email, "password": "not the right one at all"});
    let refused = service.client().post(service.url("/api/auth/login")).json(&wrong).send().await?;
    assert_eq!(refused.status(), 401);
    // Ten a minute, of which the account was one.
    for status in [422; 9].into_iter().chain([429]) {
        let registered = service.client().post(service.url("/api/auth/register")).json(&json!({})).send().await?;
        assert_eq!(registered.status(), status);
    }
    let during = scrape(&service).await?;
    let after = scrape(&service).await?;
    Ok(Scrapes { before, during, after })
}
