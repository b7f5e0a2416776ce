//! The 10 of the application.

use crate::declare_metrics;

const TASK_SECONDS: [f64; 10] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

declare_metrics! {
    /// Application.
    pub APPLICATION;

    /// The service and the environment it runs in.
    ///
    /// Always 1. `name` is that given to `App::new`, `environment` is `COVET_ENV`.
    info APP_INFO = "app_info" {name, environment};
    /// Time since the service started, in seconds.
    ///
    /// Of several processes, the oldest.
    gauge(largest) APP_UPTIME_SECONDS = "app_uptime_seconds" {};
    /// Requests waiting to be admitted.
    ///
    /// Read at the scrape: those over `COVET_HTTP__MAX_IN_FLIGHT` that wait their turn.
    gauge APP_REQUESTS_QUEUE_DEPTH = "app_requests_queue_depth" {};
    /// Workers by state.
    ///
    /// A gauge, despite its name. Workers are the acceptors of the API port, one a core; `state`: `active` (has open
    /// connections), `idle`.
    gauge APP_WORKERS_TOTAL = "app_workers_total" {state};
    /// Background tasks running now.
    ///
    /// A gauge, despite its name. `task_type` is the name given to `App::periodic`, or that of a job (`Job::NAME`).
    gauge APP_BACKGROUND_TASKS_TOTAL = "app_background_tasks_total" {task_type};
    /// Time of a background task, in seconds.
    ///
    /// Moved when it ends. `status`: `success`, `failure`, `panic`, `cut` (at the shutdown deadline).
    histogram APP_BACKGROUND_TASK_DURATION_SECONDS = "app_background_task_duration_seconds" {task_type, status} TASK_SECONDS;
    /// Requests refused by a rate limit.
    ///
    /// `client_id` is one of 64 classes, `c00` to `c63`, that clients are spread over by a hash: enough to see that one
    /// client is refused all the time, without a series for every client. Who it is tells the security log.
    counter APP_RATE_LIMIT_EXCEEDED = "app_rate_limit_exceeded" {endpoint, client_id};
    /// Attempts to authenticate.
    ///
    /// `method`: `password`, `refresh_token`, `access_token`, `session`, `api_key`; `status`: `success`, `failure`.
    counter APP_AUTH_ATTEMPTS_TOTAL = "app_auth_attempts_total" {method, status};
    /// Attempts to authenticate that failed.
    ///
    /// `reason` is a word from the code, never from the request: `wrong_password`, `unknown_user`, `expired`, `reused` and
    /// so on.
    counter APP_AUTH_FAILURES_TOTAL = "app_auth_failures_total" {method, reason};
    /// The version of the service and of the compiler that built it.
    ///
    /// Always 1. The label that was `python_version` before is `rust_version`.
    info APP_VERSION_INFO = "app_version_info" {version, rust_version};
}
