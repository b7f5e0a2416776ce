//! A process from start to exit: `serve` and `worker`.
//!
//! `settings → telemetry → connections → migrations → listeners → ready`, and back down in [`shutdown`]. The order is
//! the design's (ARCHITECTURE.md, "A process's life"); each step is a call in [`serve`].

mod assemble;
mod shutdown;
mod start;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use covet_core::lifecycle::Phase;
use covet_core::settings::Loaded;
use covet_http::listener::tls::Tls;
use covet_http::listener::{Listener, PortSharing, ServeParts, Serving};
use covet_http::metrics::HttpMetrics;
use covet_http::operator::OperatorPort;
use covet_http::pipeline::{Pipeline, PipelineParts};
use covet_http::rate_limit::{RateLimitParts, RateLimitSettings, RateLimits};
use covet_http::settings::{CorsSettings, HttpSettings, OperatorSettings, SecurityHeadersSettings};
use covet_jobs::settings::JobSettings;
use covet_jobs::{Handlers, Worker, WorkerParts};
use covet_telemetry::logging::{audit, vocabulary};
use covet_telemetry::metrics::per_user::WINDOW;

pub(crate) use assemble::{ApiDescription, metrics_only, router_only};

use crate::command::could_not;
use crate::instruments::AppCollector;
use crate::settings::{ReloadSettings, WorkerSettings};
use crate::{App, Context, banner, operator_pages};
use start::{StartError, Started, start};
pub(crate) use start::{connect, service};

/// Serves the API until told to stop.
pub(crate) async fn serve(app: App, loaded: Loaded) -> ExitCode {
    run(app, loaded, true).await
}

/// Runs background work until told to stop.
pub(crate) async fn worker(app: App, loaded: Loaded) -> ExitCode {
    run(app, loaded, false).await
}

async fn run(app: App, loaded: Loaded, api: bool) -> ExitCode {
    // Before anything can fail slowly: a signal during start-up must not be lost.
    let signals = match shutdown::Signals::new() {
        Ok(signals) => signals,
        Err(error) => return could_not("cannot watch for signals", &error),
    };
    let name = app.name;
    banner::show(&app, &loaded, api);
    let started = match start(&app, loaded).await {
        Ok(started) => started,
        Err(error) => return could_not(&format!("{name} cannot start"), &error),
    };
    match open(&app, &started, api, Threads::Own).await {
        Ok(Opened { serving, .. }) => shutdown::when_told(started, serving, signals).await,
        Err(error) => {
            let code = could_not(&format!("{name} cannot start"), &error);
            started.close(Duration::ZERO).await;
            code
        }
    }
}

/// What is open.
pub(crate) struct Opened {
    pub(crate) serving: Option<Serving>,
    pub(crate) api: Option<SocketAddr>,
    pub(crate) operator: SocketAddr,
}

/// Where requests are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// On threads of the listener's own, as `COVET_HTTP__RUNTIME` says.
    Own,
    /// On the runtime of whoever opens the port: tests.
    Callers,
}

/// Opens the ports and begins to work.
pub(crate) async fn open(app: &App, started: &Started, api: bool, threads: Threads) -> Result<Opened, StartError> {
    let context = &started.context;
    let http = context.settings::<HttpSettings>();
    // Files first: a wrong one is told before a port is bound.
    let tls = match (&http.tls_certificate, &http.tls_key) {
        (Some(certificate), Some(key)) if api => Some(Tls::new(certificate, key)?),
        _ => None,
    };
    let sharing = match started.telemetry.membership {
        Some(_) => PortSharing::WithSiblings,
        None => PortSharing::Alone,
    };
    let operator = OperatorPort::bind(context.settings::<OperatorSettings>(), sharing)?;
    let operator_address = operator.address();
    let listener = api.then(|| Listener::bind(http, sharing)).transpose()?;

    let health = assemble::health(context);
    let pages = operator_pages::pages(context.clone(), started.telemetry.logging.levels())
        .merge(health.clone().operator_routes());
    tokio::spawn(operator.serve(pages, context.lifecycle().clone()));

    let api_address = listener.as_ref().map(Listener::address);
    let serving = match listener {
        Some(listener) => Some(serve_api(app, started, listener, health, tls, threads)?),
        None => None,
    };
    if !api || context.settings::<WorkerSettings>().in_process {
        for task in &app.periodic {
            tokio::spawn(task.clone().run(context.clone()));
        }
    }
    if let Some(worker) =
        worker_of_jobs(app, context)?.filter(|_| !api || context.settings::<WorkerSettings>().in_process)
    {
        tokio::spawn(worker.run());
    }
    let reload = context.settings::<ReloadSettings>().clone();
    tokio::spawn(context.reloads().clone().run(reload, context.lifecycle().clone()));
    context.lifecycle().advance(Phase::Ready);
    let started_in = context.clock().monotonic().duration_since(context.started());
    tracing::info!(
        version = context.version(),
        environment = context.environment().as_str(),
        api = api_address.map(|address| address.to_string()),
        operator = %operator_address,
        started_in_ms = u64::try_from(started_in.as_millis()).unwrap_or(u64::MAX),
        "ready"
    );
    audit(vocabulary::STARTED).target("version", context.version()).log("service started");
    Ok(Opened { serving, api: api_address, operator: operator_address })
}

/// Who does the service's jobs, if it has any.
fn worker_of_jobs(app: &App, context: &Context) -> Result<Option<Worker>, StartError> {
    let Some(jobs) = context.jobs_if_any() else { return Ok(None) };
    let mut handlers = Handlers::new();
    for make in &app.jobs {
        handlers = handlers.merge(make(context)?);
    }
    Ok(Some(Worker::new(WorkerParts {
        jobs: jobs.clone(),
        handlers,
        settings: context.settings::<JobSettings>().clone(),
        lifecycle: context.lifecycle().clone(),
    })))
}

fn serve_api(
    app: &App,
    started: &Started,
    listener: Listener,
    health: covet_http::health::Health,
    tls: Option<Tls>,
    threads: Threads,
) -> Result<Serving, StartError> {
    let context = &started.context;
    let http = context.settings::<HttpSettings>();
    let metrics = HttpMetrics::new(context.metrics());
    let routes = assemble::router(app, context).merge(health.routes()).finish(&metrics)?;
    let limits = RateLimits::new(RateLimitParts {
        settings: context.settings::<RateLimitSettings>(),
        clock: context.clock().clone(),
        registry: context.metrics(),
        metrics: &metrics,
        trusts: app.trusts.clone(),
        redis: context.cache().redis().cloned(),
    });
    let pipeline = Pipeline::new(PipelineParts {
        http,
        cors: context.settings::<CorsSettings>(),
        security_headers: context.settings::<SecurityHeadersSettings>(),
        clock: context.clock().clone(),
        lifecycle: context.lifecycle().clone(),
        traces: context.traces().clone(),
        metrics: metrics.clone(),
        limits,
        routes,
        before: app.before.clone(),
    })?;
    if let Some(tls) = &tls {
        context.reloads().add(tls.clone());
    }
    tokio::spawn(tell_calls_per_user(metrics.clone()));
    let parts = ServeParts {
        settings: http.clone(),
        pipeline,
        tls,
        metrics,
        lifecycle: context.lifecycle().clone(),
        clock: context.clock().clone(),
    };
    let serving = match threads {
        Threads::Own => listener.serve(parts).map_err(StartError::Threads)?,
        Threads::Callers => listener.serve_here(parts),
    };
    context.metrics().register(Arc::new(AppCollector(serving.states())));
    for (name, runtime) in serving.runtimes() {
        started.runtimes.add(name, runtime);
    }
    Ok(serving)
}

/// Ends the windows in which calls are counted by user, as long as the process lives.
async fn tell_calls_per_user(metrics: HttpMetrics) {
    let mut windows = tokio::time::interval(WINDOW);
    // The first one begins now.
    windows.tick().await;
    loop {
        windows.tick().await;
        metrics.calls_per_user().end_window();
    }
}
