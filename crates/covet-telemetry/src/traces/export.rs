//! The thread that sends spans. Nobody else waits for the receiver, however slow it is.
//!
//! What is sent and how is the business of OpenTelemetry's exporter ([`otlp`]); here is when, what becomes of what
//! cannot be sent, and the end.

mod convert;
mod otlp;
mod resource;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use opentelemetry_sdk::trace::SpanExporter;
use tokio::sync::oneshot;

use super::layer;
use super::queue::{self, Loss, Queue, Waiting};
use super::tracer::Tracer;
use crate::metrics::Registry;
use crate::settings::{Milliseconds, Target, TraceSettings};
use crate::telemetry::Service;

/// While nothing can be sent, the log says so at most this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Why traces could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The exporter could not be made.
    #[error("traces: {0}")]
    Exporter(String),
    /// The thread that sends spans cannot be started.
    #[error("cannot start the thread that sends traces: {0}. The limit of processes may be reached (ulimit -u)")]
    Thread(io::Error),
}

/// Sends spans until it is told to stop.
#[derive(Debug)]
pub struct Export {
    queue: Arc<Queue>,
    target: Target,
    stop: Mutex<Option<oneshot::Sender<Stop>>>,
}

/// Whom to tell that everything is sent.
type Stop = oneshot::Sender<()>;

impl Export {
    /// Starts the thread, and the tracer of which it sends the spans. `None` when traces are off.
    ///
    /// # Errors
    /// When the receiver's address or certificate cannot be used, or no thread can be started. A receiver that does not
    /// answer is no error.
    pub fn start(
        settings: &TraceSettings,
        service: Service<'_>,
        clock: &Clock,
    ) -> Result<Option<(Self, Tracer)>, TraceError> {
        let Some(target) = settings.target() else { return Ok(None) };
        let resource = resource::of(settings, service, clock);
        let (queue, waiting) = queue::queue(settings.queue_size.unwrap_or(2048), settings.batch_size.unwrap_or(512));
        let tracer = Tracer::new(settings, clock, Arc::clone(&queue) as _);
        let (stop, stopped) = oneshot::channel();
        let (ready, made) = crossbeam_channel::bounded(1);
        let schedule = Schedule {
            delay: settings.schedule_delay.map_or(Duration::from_secs(5), Milliseconds::duration),
            limit: settings.export_limit(),
        };
        let (thread_tracer, thread_target) = (tracer.clone(), target.clone());
        let (settings, clock) = (settings.clone(), clock.clone());
        let work = move || {
            layer::silence_thread();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(TraceError::Thread(error)))),
            };
            runtime.block_on(async {
                // Made here, as it opens its connections on this thread's runtime.
                match otlp::exporter(&settings, &thread_target, &resource) {
                    Ok((exporter, last_error)) => {
                        let _ = ready.send(Ok(()));
                        let health = Health::new(thread_target.url.to_string(), clock);
                        let sending = Sending { waiting, exporter, last_error, schedule, health };
                        sending.work(&thread_tracer, stopped).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        };
        thread::Builder::new().name("covet-traces".to_owned()).spawn(work).map_err(TraceError::Thread)?;
        let ended = || Err(TraceError::Exporter("the thread that sends traces has ended".to_owned()));
        made.recv().unwrap_or_else(|_| ended())?;
        Ok(Some((Self { queue, target, stop: Mutex::new(Some(stop)) }, tracer)))
    }

    /// Where spans are sent.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Adds the counts of spans sent and lost to the metrics.
    pub fn register_metrics(&self, registry: &Registry) {
        registry.declare_all(queue::ALL);
        registry.register(Arc::clone(&self.queue) as _);
    }

    /// Takes no more spans, and waits until those that wait are sent, at most for `within`. False when that took longer;
    /// what was not sent by then is lost.
    pub async fn shutdown(&self, within: Duration) -> bool {
        self.queue.close();
        let Some(stop) = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take() else { return true };
        let (done, sent) = oneshot::channel();
        // The thread has ended if nobody takes this.
        stop.send(done).is_err() || tokio::time::timeout(within, sent).await.is_ok()
    }
}

/// When spans are sent, and how long that may take.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    delay: Duration,
    limit: Duration,
}

/// What the last call of the receiver failed with, in more words than OpenTelemetry's exporter has for it.
#[derive(Debug, Clone, Default)]
struct LastError(Arc<Mutex<Option<String>>>);

impl LastError {
    fn set(&self, text: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The thread's work.
struct Sending<E> {
    waiting: Waiting,
    exporter: E,
    last_error: LastError,
    schedule: Schedule,
    health: Health,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// There was none.
    Nothing,
    All,
    Lost,
}

impl<E: SpanExporter> Sending<E> {
    async fn work(mut self, tracer: &Tracer, mut stopped: oneshot::Receiver<Stop>) {
        let done = loop {
            let due = tokio::select! {
                done = &mut stopped => break done.ok(),
                () = self.waiting.shared.batch_is_full.notified() => false,
                () = tokio::time::sleep(self.schedule.delay) => true,
            };
            tracer.set_time();
            while self.waiting.has_batch() && !self.waiting.shared.is_closed() {
                self.send().await;
            }
            if due && !self.waiting.shared.is_closed() {
                self.send().await;
            }
        };
        // At the end there is no time to wait for a receiver that is not well.
        while self.send().await == Sent::All {}
        let left = self.waiting.drop_all();
        self.waiting.shared.lost(Loss::Closed, left);
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Sends the next batch.
    async fn send(&mut self) -> Sent {
        let batch = self.waiting.batch();
        if batch.is_empty() {
            return Sent::Nothing;
        }
        let count = batch.len() as u64;
        let spans = batch.into_iter().map(convert::span_data).collect();
        let sent = tokio::time::timeout(self.schedule.limit, self.exporter.export(spans)).await;
        let error = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(self.last_error.take().unwrap_or_else(|| error.to_string())),
            Err(_) => Some(format!("it took longer than {:?}", self.schedule.limit)),
        };
        match error {
            None => {
                self.waiting.shared.exported(count);
                self.health.sent();
                Sent::All
            }
            Some(error) => {
                self.waiting.shared.lost(Loss::SendFailed, count);
                self.health.failed(&error, self.waiting.shared.dropped());
                Sent::Lost
            }
        }
    }
}

/// What the log was told about the receiver.
struct Health {
    endpoint: String,
    clock: Clock,
    /// When the log was last told that spans cannot be sent; `None` while they can.
    said: Option<Instant>,
}

impl Health {
    fn new(endpoint: String, clock: Clock) -> Self {
        Self { endpoint, clock, said: None }
    }

    fn sent(&mut self) {
        if self.said.take().is_some() {
            tracing::info!(endpoint = self.endpoint, "traces are sent again");
        }
    }

    fn failed(&mut self, error: &str, lost: u64) {
        let now = self.clock.monotonic();
        if self.said.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN) {
            self.said = Some(now);
            tracing::warn!(
                endpoint = self.endpoint,
                error,
                lost_spans = lost,
                "traces cannot be sent; the service goes on without them"
            );
        }
    }
}
