//! The thread that a service under test runs on: its runtime, its start and its end.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use covet_core::clock::Clock;
use covet_core::lifecycle::Phase;
use covet_core::settings::Loaded;
use covet_http::pipeline::install_panic_hook_beside_others;
use covet_telemetry::settings::{LogSettings, MetricsSettings};
use covet_telemetry::{Captured, Telemetry};
use tokio::sync::oneshot;

use crate::command::with_causes;
use crate::run::{self, Opened, Threads};
use crate::{App, Context};

/// How long the end may take: what hangs then is left behind, as the process ends with the tests.
const END: Duration = Duration::from_secs(2);

/// What a service is started with.
pub(super) struct Parts {
    pub(super) app: App,
    pub(super) loaded: Loaded,
    pub(super) clock: Clock,
}

/// A service that is ready. Dropping it ends it.
pub(super) struct Running {
    pub(super) context: Context,
    pub(super) api: SocketAddr,
    pub(super) operator: SocketAddr,
    pub(super) captured: Captured,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the thread, and returns when the service is ready or cannot be.
    pub(super) async fn start(parts: Parts) -> Result<Self, String> {
        install_panic_hook_beside_others();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("covet-test-app".to_owned())
            .spawn(move || run(parts, tell, stopped))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        let ready = told.await.map_err(|_| "the service panicked while it started".to_owned())??;
        let Ready { context, api, operator, captured } = ready;
        Ok(Self { context, api, operator, captured, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // It has told of a panic by its own telemetry; a test that fails already must not fail twice.
            let _ = thread.join();
        }
    }
}

struct Ready {
    context: Context,
    api: SocketAddr,
    operator: SocketAddr,
    captured: Captured,
}

/// The thread, from its start to its end.
fn run(parts: Parts, tell: oneshot::Sender<Result<Ready, String>>, stopped: oneshot::Receiver<()>) {
    let Parts { app, loaded, clock } = parts;
    let service = run::service(&app, &loaded);
    let (log, metrics) = (loaded.get::<LogSettings>(), loaded.get::<MetricsSettings>());
    let (telemetry, local, captured) = match Telemetry::capture(service, log, metrics, loaded.get(), &clock) {
        Ok(captured) => captured,
        Err(error) => return drop(tell.send(Err(with_causes(&error)))),
    };
    let of_threads = local.clone();
    // Threads for blocking work have the same telemetry; there are no others.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_start(move || of_threads.clone().adopt())
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(tell.send(Err(with_causes(&error)))),
    };
    local.adopt();
    runtime.block_on(serve(app, loaded, clock, telemetry, captured, tell, stopped));
    runtime.shutdown_timeout(END);
}

async fn serve(
    app: App,
    loaded: Loaded,
    clock: Clock,
    telemetry: Telemetry,
    captured: Captured,
    tell: oneshot::Sender<Result<Ready, String>>,
    stopped: oneshot::Receiver<()>,
) {
    let started = match run::connect(&app, loaded, telemetry, clock).await {
        Ok(started) => started,
        Err(error) => return drop(tell.send(Err(with_causes(&error)))),
    };
    let context = started.context.clone();
    let (serving, ready) = match run::open(&app, &started, true, Threads::Callers).await {
        Ok(Opened { serving, api: Some(api), operator }) => {
            (serving, Ok(Ready { context: context.clone(), api, operator, captured }))
        }
        Ok(Opened { api: None, .. }) => (None, Err("no port was opened".to_owned())),
        Err(error) => (None, Err(with_causes(&error))),
    };
    let is_ready = ready.is_ok();
    let _ = tell.send(ready);
    if is_ready {
        let _ = stopped.await;
    }
    context.lifecycle().advance(Phase::Cut);
    if let Some(serving) = serving {
        let _ = tokio::time::timeout(END, serving.stopped()).await;
    }
    started.close(Duration::ZERO).await;
}
