//! The end: from the signal to the exit code.
//!
//! `not ready → keep serving for the delay → stop accepting → WebSockets 1001 → in-flight work until the deadline →
//! close the pools → send the last spans → flush the log → exit`. A second signal, or the deadline, ends it at once with code 1 and says what
//! was still running.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use covet_core::lifecycle::Phase;
use covet_http::listener::Serving;
use covet_telemetry::logging::{audit, vocabulary};
use covet_telemetry::settings::TraceSettings;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::start::{LOG_FLUSH, Started};
use crate::reload::Reloads;
use crate::settings::ShutdownSettings;

/// After the deadline: time for what was cut to say so in the log.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The signals that end the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Whether a hang-up is that of the terminal, which ends the process.
    at_terminal: bool,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            at_terminal: std::io::stdin().is_terminal(),
        })
    }

    /// The next signal that ends the process. SIGHUP does not, outside of a terminal: certificates and keys are read again.
    async fn next(&mut self, reloads: &Reloads) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {
                    if self.at_terminal {
                        return "SIGHUP";
                    }
                    reloads.all_now();
                }
            }
        }
    }
}

/// Waits for a signal and takes the process down.
pub(super) async fn when_told(started: Started, serving: Option<Serving>, mut signals: Signals) -> ExitCode {
    let reloads = started.context.reloads().clone();
    let signal = signals.next(&reloads).await;
    let lifecycle = started.context.lifecycle().clone();
    let metrics = serving.as_ref().map(Serving::metrics);
    let settings = started.context.settings::<ShutdownSettings>().clone();
    tracing::info!(
        signal,
        readiness_delay_seconds = settings.readiness_delay.as_secs_f64(),
        deadline_seconds = settings.deadline.as_secs_f64(),
        "shutting down"
    );
    audit(vocabulary::STOPPED).log("service stopping");
    lifecycle.advance(Phase::Draining);
    let drained = async {
        tokio::time::sleep(settings.readiness_delay).await;
        lifecycle.advance(Phase::Stopping);
        let clock = started.context.clock();
        let began = clock.monotonic();
        let finished = async {
            if let Some(serving) = serving {
                serving.stopped().await;
            }
            lifecycle.finished().await;
        };
        let in_time = tokio::time::timeout(settings.deadline, finished).await.is_ok();
        in_time.then(|| settings.deadline.saturating_sub(clock.monotonic().duration_since(began)))
    };
    let left = tokio::select! {
        left = drained => left.ok_or("the shutdown deadline has passed"),
        second = signals.next(&reloads) => {
            tracing::warn!(signal = second, "second signal");
            Err("a second signal came")
        }
    };
    match left {
        Ok(left) => {
            tracing::info!("stopped");
            let traces = started.context.settings::<TraceSettings>();
            let spans_within = traces.flush_timeout.min(left);
            started.close(spans_within).await;
            ExitCode::SUCCESS
        }
        Err(why) => {
            let requests = metrics.map(|metrics| metrics.in_progress()).unwrap_or_default();
            cut(started, requests, why).await
        }
    }
}

/// Ends what is still running.
async fn cut(started: Started, requests: Vec<String>, why: &'static str) -> ExitCode {
    let lifecycle = started.context.lifecycle();
    let mut still_running = requests;
    still_running.extend(lifecycle.still_running());
    lifecycle.advance(Phase::Cut);
    tracing::error!(still_running = still_running.join(", "), "stopped before everything had finished: {why}");
    tokio::join!(tokio::time::sleep(LAST_WORDS), started.send_spans(LAST_WORDS));
    started.telemetry.logging.shutdown(LOG_FLUSH);
    exit_now()
}

#[expect(clippy::disallowed_methods, reason = "returning would wait for threads that may never end")]
fn exit_now() -> ExitCode {
    std::process::exit(1)
}
