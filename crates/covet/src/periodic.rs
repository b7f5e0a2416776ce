//! Work that repeats: sweeps and the like, small enough to live in every process.
//!
//! Every replica runs it, so it must be harmless to run twice at once. A run is never overlapped by the next one of the
//! same process, is waited for at shutdown, and counts in `app_background_tasks_total` and
//! `app_background_task_duration_seconds`.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use covet_telemetry::metrics::instruments::{TaskInstruments, TaskStatus};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{Context, Error};

type Work = Arc<dyn Fn(Context) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> + Send + Sync>;

/// A piece of work and how often it runs.
#[derive(Clone)]
pub struct PeriodicTask {
    pub(crate) name: &'static str,
    pub(crate) every: Duration,
    work: Work,
}

impl PeriodicTask {
    pub(crate) fn new<F, Fut>(name: &'static str, every: Duration, work: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self { name, every, work: Arc::new(move |context| Box::pin(work(context))) }
    }

    /// Runs it for ever; ends when the process stops. The first run is one random part of the period after the start,
    /// so that replicas started together do not work in step.
    pub(crate) async fn run(self, context: Context) {
        let stopping = context.lifecycle().stopping().clone();
        let instruments = TaskInstruments::new(context.metrics(), self.name, context.clock());
        let mut pause = self.every.mul_f64(f64::from(fastrand::f32()));
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = self.every;
            self.run_once(&context, &instruments).await;
        }
    }

    async fn run_once(&self, context: &Context, instruments: &TaskInstruments) {
        let _tracked = context.lifecycle().track(format!("periodic task {}", self.name));
        let running = instruments.start();
        let span = tracing::info_span!("periodic task", otel.name = self.name);
        let run = AssertUnwindSafe((self.work)(context.clone())).catch_unwind().instrument(span.clone());
        let status = tokio::select! {
            outcome = run => match outcome {
                Ok(Ok(())) => TaskStatus::Success,
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    span.in_scope(|| tracing::error!(task = self.name, error, "periodic task failed"));
                    TaskStatus::Failure
                }
                // The panic hook has logged it.
                Err(_) => TaskStatus::Panic,
            },
            () = context.lifecycle().cut().cancelled() => TaskStatus::Cut,
        };
        running.end(status);
    }
}

impl fmt::Debug for PeriodicTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeriodicTask").field("name", &self.name).field("every", &self.every).finish_non_exhaustive()
    }
}
