//! The 60 documented metrics against the documents: names, types, labels, buckets.

use covet_telemetry::metrics::catalog;
use covet_telemetry::metrics::{Kind, Metric, Registry};

const DOCUMENTED: &str = "\
http_requests_total counter {method,endpoint,status}\n\
http_request_duration_seconds histogram {method,endpoint} [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]\n\
http_request_size_bytes summary {method,endpoint}\n\
http_response_size_bytes summary {method,endpoint}\n\
http_requests_in_progress gauge {method,endpoint}\n\
http_exceptions_total counter {method,endpoint,exception_type}\n\
http_4xx_responses counter {method,endpoint,status}\n\
http_5xx_responses counter {method,endpoint,status}\n\
http_request_duration_summary summary {method,endpoint}\n\
websocket_connections_total gauge {}\n\
websocket_messages_sent counter {endpoint}\n\
websocket_messages_received counter {endpoint}\n\
http_requests_by_user_agent counter {user_agent_type}\n\
db_queries_total counter {operation,table,status}\n\
db_query_duration_seconds histogram {operation,table} [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0]\n\
db_connections_active gauge {}\n\
db_connections_idle gauge {}\n\
db_connection_pool_size gauge {}\n\
db_connection_pool_overflow gauge {}\n\
db_transaction_duration_seconds histogram {status} [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]\n\
db_transactions_total counter {status}\n\
db_deadlocks_total counter {}\n\
db_rows_affected counter {operation}\n\
db_cache_hits counter {}\n\
db_cache_misses counter {}\n\
db_connection_errors counter {error_type}\n\
db_query_errors counter {error_type,operation}\n\
db_slow_queries_total counter {operation,table}\n\
cache_hits_total counter {cache_type,key_prefix}\n\
cache_misses_total counter {cache_type,key_prefix}\n\
cache_evictions_total counter {cache_type}\n\
cache_size_bytes gauge {cache_type}\n\
cache_keys_total gauge {cache_type}\n\
cache_operation_duration_seconds histogram {operation,cache_type} [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1]\n\
cache_connection_errors counter {cache_type,error_type}\n\
cache_memory_usage_bytes gauge {cache_type}\n\
cache_ttl_seconds histogram {cache_type} [60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0]\n\
cache_hit_ratio gauge {cache_type}\n\
system_cpu_usage_percent gauge {}\n\
system_memory_usage_bytes gauge {type}\n\
system_disk_usage_bytes gauge {mountpoint,type}\n\
system_network_bytes_sent counter {interface}\n\
system_network_bytes_received counter {interface}\n\
process_cpu_usage_percent gauge {}\n\
process_memory_usage_bytes gauge {type}\n\
process_open_file_descriptors gauge {}\n\
process_threads_total gauge {}\n\
process_start_time_seconds gauge {}\n\
system_load_average gauge {period}\n\
garbage_collection_duration_seconds histogram {generation} [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]\n\
app_info info {name,environment}\n\
app_uptime_seconds gauge {}\n\
app_requests_queue_depth gauge {}\n\
app_workers_total gauge {state}\n\
app_background_tasks_total gauge {task_type}\n\
app_background_task_duration_seconds histogram {task_type,status} [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0]\n\
app_rate_limit_exceeded counter {endpoint,client_id}\n\
app_auth_attempts_total counter {method,status}\n\
app_auth_failures_total counter {method,reason}\n\
app_version_info info {version,rust_version}\n\
";

fn line(metric: &Metric) -> String {
    let line = format!("{} {} {{{}}}", metric.name, metric.kind, metric.labels.join(","));
    match metric.kind {
        Kind::Histogram(buckets) => format!("{line} {buckets:?}"),
        _ => line,
    }
}

#[test]
fn the_60_are_as_documented() {
    assert_eq!(catalog::all().count(), 60);
    for (metric, documented) in catalog::all().zip(DOCUMENTED.lines()) {
        assert_eq!(line(metric), documented);
    }
}

#[test]
fn each_shows_its_help_and_type_before_any_traffic() {
    let text = Registry::new().render();
    for metric in catalog::all() {
        let (name, help) = (metric.name, metric.help());
        let head = format!("# HELP {name} {help}\n# TYPE {name} {}\n", metric.kind.type_name());
        assert_eq!(text.matches(&head).count(), 1, "{head}");
        assert!(help.ends_with('.') && !help.contains("  "), "{help}");
    }
}

#[test]
fn a_counter_without_labels_shows_its_zero_and_a_gauge_nothing_untrue() {
    let text = Registry::new().render();
    assert_eq!(crate::value(&text, "db_deadlocks_total"), Some(0.0));
    assert_eq!(crate::value(&text, "process_start_time_seconds"), None);
}
