//! The 60 documented metrics: 13 HTTP, 15 database, 10 cache, 12 system, 10 application.
//!
//! Names are a promise to dashboards and alerts. They stay exactly as they are, also where a counter has no
//! `_total` or a gauge has one; `promtool` lints that, and it is accepted. Each name appears with HELP and TYPE
//! before anything has been counted. Metrics beside the 60 are declared where they are fed.
//!
//! Who feeds what: HTTP and WebSocket `covet-http`; `db_*` `covet-data`; `system_*`, `process_*`, `app_info`,
//! `app_version_info`, `app_uptime_seconds` [`crate::system`]; sweeps whoever sweeps, by
//! [`Sweep`](super::sweep::Sweep).

use crate::declare_metrics;

/// Buckets of request durations, and the usual ones where nothing better is known (seconds).
pub const DEFAULT_SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const QUERY_SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const TRANSACTION_SECONDS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const CACHE_SECONDS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1];
const TTL_SECONDS: [f64; 9] = [60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0];
/// The default buckets of the Python client, which this metric was first defined with.
const SWEEP_SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const TASK_SECONDS: [f64; 10] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

declare_metrics! {
    /// All 60, in the order of the reference.
    pub ALL;

    // HTTP

    /// HTTP requests answered.
    counter HTTP_REQUESTS_TOTAL = "http_requests_total" {method, endpoint, status};
    /// Time from the request's head to its answer, in seconds; to its end where its length is not known.
    histogram HTTP_REQUEST_DURATION_SECONDS = "http_request_duration_seconds" {method, endpoint} DEFAULT_SECONDS;
    /// Size of request bodies, in bytes.
    summary HTTP_REQUEST_SIZE_BYTES = "http_request_size_bytes" {method, endpoint};
    /// Size of response bodies, in bytes.
    summary HTTP_RESPONSE_SIZE_BYTES = "http_response_size_bytes" {method, endpoint};
    /// HTTP requests being served now.
    gauge HTTP_REQUESTS_IN_PROGRESS = "http_requests_in_progress" {method, endpoint};
    /// Requests that ended in a panic or an unhandled error, by its type.
    counter HTTP_EXCEPTIONS_TOTAL = "http_exceptions_total" {method, endpoint, exception_type};
    /// Answers with a 4xx status.
    counter HTTP_4XX_RESPONSES = "http_4xx_responses" {method, endpoint, status};
    /// Answers with a 5xx status.
    counter HTTP_5XX_RESPONSES = "http_5xx_responses" {method, endpoint, status};
    /// Time from the request's head to its answer, as count and sum of seconds; to its end where its length is not known.
    summary HTTP_REQUEST_DURATION_SUMMARY = "http_request_duration_summary" {method, endpoint};
    /// WebSocket connections open now.
    gauge WEBSOCKET_CONNECTIONS_TOTAL = "websocket_connections_total" {};
    /// WebSocket messages sent.
    counter WEBSOCKET_MESSAGES_SENT = "websocket_messages_sent" {endpoint};
    /// WebSocket messages received.
    counter WEBSOCKET_MESSAGES_RECEIVED = "websocket_messages_received" {endpoint};
    /// HTTP requests by class of client.
    counter HTTP_REQUESTS_BY_USER_AGENT = "http_requests_by_user_agent" {user_agent_type};

    // Database

    /// Statements run.
    counter DB_QUERIES_TOTAL = "db_queries_total" {operation, table, status};
    /// Time a statement took to run, without its wait for a connection, in seconds.
    histogram DB_QUERY_DURATION_SECONDS = "db_query_duration_seconds" {operation, table} QUERY_SECONDS;
    /// Database connections in use.
    gauge DB_CONNECTIONS_ACTIVE = "db_connections_active" {};
    /// Database connections open and unused.
    gauge DB_CONNECTIONS_IDLE = "db_connections_idle" {};
    /// Database connections open.
    gauge DB_CONNECTION_POOL_SIZE = "db_connection_pool_size" {};
    /// Callers waiting because all database connections are in use.
    gauge DB_CONNECTION_POOL_OVERFLOW = "db_connection_pool_overflow" {};
    /// Time of a transaction from begin to its end, in seconds.
    histogram DB_TRANSACTION_DURATION_SECONDS = "db_transaction_duration_seconds" {status} TRANSACTION_SECONDS;
    /// Transactions ended.
    counter DB_TRANSACTIONS_TOTAL = "db_transactions_total" {status};
    /// Deadlocks that the database resolved by ending one of our transactions.
    counter DB_DEADLOCKS_TOTAL = "db_deadlocks_total" {};
    /// Rows read or changed.
    counter DB_ROWS_AFFECTED = "db_rows_affected" {operation};
    /// Queries answered from the query cache.
    counter DB_CACHE_HITS = "db_cache_hits" {};
    /// Queries that the query cache could not answer.
    counter DB_CACHE_MISSES = "db_cache_misses" {};
    /// Database connections that failed.
    counter DB_CONNECTION_ERRORS = "db_connection_errors" {error_type};
    /// Statements that failed.
    counter DB_QUERY_ERRORS = "db_query_errors" {error_type, operation};
    /// Statements that took longer than the slow-query threshold.
    counter DB_SLOW_QUERIES_TOTAL = "db_slow_queries_total" {operation, table};

    // Cache

    /// Cache reads that found a value.
    counter CACHE_HITS_TOTAL = "cache_hits_total" {cache_type, key_prefix};
    /// Cache reads that found nothing.
    counter CACHE_MISSES_TOTAL = "cache_misses_total" {cache_type, key_prefix};
    /// Entries that the cache gave up to make room.
    counter CACHE_EVICTIONS_TOTAL = "cache_evictions_total" {cache_type};
    /// Size of what is cached, in bytes.
    gauge CACHE_SIZE_BYTES = "cache_size_bytes" {cache_type};
    /// Keys in the cache.
    gauge CACHE_KEYS_TOTAL = "cache_keys_total" {cache_type};
    /// Time of a cache operation, in seconds.
    histogram CACHE_OPERATION_DURATION_SECONDS = "cache_operation_duration_seconds" {operation, cache_type} CACHE_SECONDS;
    /// Failures to reach the cache.
    counter CACHE_CONNECTION_ERRORS = "cache_connection_errors" {cache_type, error_type};
    /// Memory the cache takes, in bytes.
    gauge CACHE_MEMORY_USAGE_BYTES = "cache_memory_usage_bytes" {cache_type};
    /// Time to live given to entries, in seconds.
    histogram CACHE_TTL_SECONDS = "cache_ttl_seconds" {cache_type} TTL_SECONDS;
    /// Share of cache reads that found a value, 0 to 1.
    gauge CACHE_HIT_RATIO = "cache_hit_ratio" {cache_type};

    // System

    /// Share of all processors' time in use since the last scrape, 0 to 100.
    gauge SYSTEM_CPU_USAGE_PERCENT = "system_cpu_usage_percent" {};
    /// Memory of the machine, or of the container where it has a limit, in bytes.
    gauge SYSTEM_MEMORY_USAGE_BYTES = "system_memory_usage_bytes" {type};
    /// Space on local file systems, in bytes.
    gauge SYSTEM_DISK_USAGE_BYTES = "system_disk_usage_bytes" {mountpoint, type};
    /// Bytes sent by a network interface.
    counter SYSTEM_NETWORK_BYTES_SENT = "system_network_bytes_sent" {interface};
    /// Bytes received by a network interface.
    counter SYSTEM_NETWORK_BYTES_RECEIVED = "system_network_bytes_received" {interface};
    /// Processor time this process used since the last scrape; 100 is one processor.
    gauge PROCESS_CPU_USAGE_PERCENT = "process_cpu_usage_percent" {};
    /// Memory of this process, in bytes.
    gauge PROCESS_MEMORY_USAGE_BYTES = "process_memory_usage_bytes" {type};
    /// File descriptors this process has open.
    gauge PROCESS_OPEN_FILE_DESCRIPTORS = "process_open_file_descriptors" {};
    /// Threads of this process.
    gauge PROCESS_THREADS_TOTAL = "process_threads_total" {};
    /// When this process started, in seconds since 1970-01-01 UTC.
    gauge PROCESS_START_TIME_SECONDS = "process_start_time_seconds" {};
    /// Load average of the machine.
    gauge SYSTEM_LOAD_AVERAGE = "system_load_average" {period};
    /// Time of a sweep that frees what is no longer needed, in seconds. Rust has no garbage collector; generation
    /// names what is swept, for example connections.
    histogram GARBAGE_COLLECTION_DURATION_SECONDS = "garbage_collection_duration_seconds" {generation} SWEEP_SECONDS;

    // Application

    /// The service and the environment it runs in.
    info APP_INFO = "app_info" {name, environment};
    /// Time since the service started, in seconds.
    gauge APP_UPTIME_SECONDS = "app_uptime_seconds" {};
    /// Requests waiting to be admitted.
    gauge APP_REQUESTS_QUEUE_DEPTH = "app_requests_queue_depth" {};
    /// Workers by state.
    gauge APP_WORKERS_TOTAL = "app_workers_total" {state};
    /// Background tasks running now.
    gauge APP_BACKGROUND_TASKS_TOTAL = "app_background_tasks_total" {task_type};
    /// Time of a background task, in seconds.
    histogram APP_BACKGROUND_TASK_DURATION_SECONDS = "app_background_task_duration_seconds" {task_type, status} TASK_SECONDS;
    /// Requests refused by a rate limit.
    counter APP_RATE_LIMIT_EXCEEDED = "app_rate_limit_exceeded" {endpoint, client_id};
    /// Attempts to authenticate.
    counter APP_AUTH_ATTEMPTS_TOTAL = "app_auth_attempts_total" {method, status};
    /// Attempts to authenticate that failed.
    counter APP_AUTH_FAILURES_TOTAL = "app_auth_failures_total" {method, reason};
    /// The version of the service and of the compiler that built it.
    info APP_VERSION_INFO = "app_version_info" {version, rust_version};
}
