//! What tokio's runtimes are doing, from the readings that its stable interface has.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::metrics::{Collector, Exposition, Registry};

crate::declare_metrics! {
    /// Tokio runtimes.
    ///
    /// Read at the scrape. `runtime` is `main` (background work, the operator's port) or `http-0`, `http-1` and so on: one
    /// for each acceptor of the API port, or `http` when they share one (`COVET_HTTP__RUNTIME=shared`).
    pub(crate) RUNTIMES;

    /// Worker threads of a runtime.
    gauge WORKERS = "tokio_workers" {runtime};
    /// Tasks of a runtime that have not ended.
    gauge ALIVE_TASKS = "tokio_alive_tasks" {runtime};
    /// Tasks that wait in a runtime's queue to be run.
    ///
    /// Only the queue that all workers share: tasks woken from outside.
    gauge QUEUE_DEPTH = "tokio_global_queue_depth" {runtime};
    /// Time that a worker was busy with tasks, in seconds.
    ///
    /// A rate near 1 is a worker that is always busy; a handler that blocks its thread looks like this too.
    counter BUSY_SECONDS = "tokio_worker_busy_seconds_total" {runtime, worker};
    /// Times that a worker found nothing to do and slept.
    counter PARKS = "tokio_worker_parks_total" {runtime, worker};
}

/// Reads the runtimes it is told of.
#[derive(Debug)]
pub struct RuntimeCollector(Mutex<Vec<(String, Handle)>>);

impl RuntimeCollector {
    /// A collector for `registry`, which knows no runtime yet.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        registry.declare_all(RUNTIMES);
        Self(Mutex::default())
    }

    /// Reads this one too, under this name.
    pub fn add(&self, name: impl Into<String>, runtime: Handle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name.into(), runtime));
    }
}

impl Collector for RuntimeCollector {
    fn name(&self) -> &'static str {
        "runtime"
    }

    fn collect(&self, out: &mut Exposition) {
        for (name, runtime) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let read = runtime.metrics();
            out.gauge(WORKERS, &[name], read.num_workers());
            out.gauge(ALIVE_TASKS, &[name], read.num_alive_tasks());
            out.gauge(QUEUE_DEPTH, &[name], read.global_queue_depth());
            for worker in 0..read.num_workers() {
                let number = worker.to_string();
                let labels = &[name.as_str(), number.as_str()];
                // Processors without atomic numbers of 64 bits cannot count these.
                #[cfg(target_has_atomic = "64")]
                out.counter(BUSY_SECONDS, labels, read.worker_total_busy_duration(worker).as_secs_f64());
                #[cfg(target_has_atomic = "64")]
                out.counter(PARKS, labels, read.worker_park_count(worker));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_runtime_shows_its_workers_tasks_and_work() {
        let registry = Registry::new();
        let collector = Arc::new(RuntimeCollector::new(&registry));
        registry.register(Arc::clone(&collector) as Arc<dyn Collector>);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
        collector.add("main", runtime.handle().clone());
        let waiting = runtime.spawn(std::future::pending::<()>());
        runtime.block_on(runtime.spawn(async { std::hint::black_box(()) })).unwrap();
        // A task that has ended is told of before its worker has put it away.
        let alive = "tokio_alive_tasks{runtime=\"main\"} 1.0\n";
        runtime.block_on(covet_testkit::eventually(alive, async || registry.render().contains(alive)));
        let text = registry.render();
        assert!(text.contains("tokio_workers{runtime=\"main\"} 3.0\n"), "{text}");
        let seconds = text.lines().filter(|line| line.starts_with("tokio_worker_busy_seconds_total{runtime=\"main\""));
        assert_eq!(seconds.count(), 3);
        waiting.abort();
    }
}
