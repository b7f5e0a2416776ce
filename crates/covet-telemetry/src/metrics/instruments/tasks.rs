//! Background work: how much runs, how long it takes, how it ends.

use std::time::Instant;

use covet_core::clock::Clock;
use metrics::{Gauge, Histogram};

use crate::metrics::Registry;
use crate::metrics::catalog::{APP_BACKGROUND_TASK_DURATION_SECONDS, APP_BACKGROUND_TASKS_TOTAL};

/// The metrics of one type of task.
///
/// ```
/// use covet_core::clock::Clock;
/// use covet_telemetry::metrics::Registry;
/// use covet_telemetry::metrics::instruments::{TaskInstruments, TaskStatus};
///
/// let registry = Registry::new();
/// let mails = TaskInstruments::new(&registry, "send_mail", &Clock::system());
/// let running = mails.start();
/// // … send a mail …
/// running.end(TaskStatus::Success);
///
/// assert!(registry.render().contains("app_background_tasks_total{task_type=\"send_mail\"} 0.0\n"));
/// ```
#[derive(Debug, Clone)]
pub struct TaskInstruments {
    running: Gauge,
    durations: [Histogram; TaskStatus::ALL.len()],
    clock: Clock,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStatus {
    /// It did its work.
    Success,
    /// It returned an error.
    Failure,
    /// It panicked.
    Panic,
    /// It was cut off: the shutdown deadline passed, or its future was dropped.
    Cut,
}

/// A task that runs. Dropped without a word, it counts as [`TaskStatus::Cut`].
#[derive(Debug)]
#[must_use]
pub struct RunningTask {
    instruments: TaskInstruments,
    started: Instant,
    status: TaskStatus,
}

impl TaskStatus {
    const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Panic, Self::Cut];

    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Panic => "panic",
            Self::Cut => "cut",
        }
    }
}

impl TaskInstruments {
    /// The metrics of tasks of `task_type`: a fixed name, such as that of a job's type.
    #[must_use]
    pub fn new(registry: &Registry, task_type: &str, clock: &Clock) -> Self {
        let duration =
            |status: TaskStatus| registry.histogram(APP_BACKGROUND_TASK_DURATION_SECONDS, &[task_type, status.label()]);
        let running = registry.gauge(APP_BACKGROUND_TASKS_TOTAL, &[task_type]);
        Self { running, durations: TaskStatus::ALL.map(duration), clock: clock.clone() }
    }

    /// A task begins.
    pub fn start(&self) -> RunningTask {
        self.running.increment(1.0);
        RunningTask { instruments: self.clone(), started: self.clock.monotonic(), status: TaskStatus::Cut }
    }
}

impl RunningTask {
    /// It ends.
    pub fn end(mut self, status: TaskStatus) {
        self.status = status;
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        let TaskInstruments { running, durations, clock } = &self.instruments;
        running.decrement(1.0);
        durations[self.status as usize].record(clock.monotonic().saturating_duration_since(self.started));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_task_counts_while_it_runs_and_a_dropped_one_was_cut() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let registry = Registry::new();
        let tasks = TaskInstruments::new(&registry, "mail", &clock);
        let (first, second) = (tasks.start(), tasks.start());
        assert!(registry.render().contains("app_background_tasks_total{task_type=\"mail\"} 2.0\n"));
        hand.advance(Duration::from_secs(2));
        first.end(TaskStatus::Failure);
        drop(second);
        let text = registry.render();
        for line in [
            "app_background_tasks_total{task_type=\"mail\"} 0.0\n",
            "app_background_task_duration_seconds_sum{task_type=\"mail\",status=\"failure\"} 2.0\n",
            "app_background_task_duration_seconds_count{task_type=\"mail\",status=\"cut\"} 1.0\n",
            "app_background_task_duration_seconds_count{task_type=\"mail\",status=\"success\"} 0.0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
