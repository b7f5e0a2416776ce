//! Doing jobs: [`Worker`].
//!
//! One task takes jobs from the queue and writes down how they ended (`take.rs`, `settle.rs`), each job is a task of its own
//! (`execute.rs`), and beside them loans are extended, lost workers' jobs taken over, schedules looked at (`keeper.rs`) and
//! PostgreSQL's news of added jobs heard (`news.rs`).

mod execute;
mod keeper;
mod news;
mod settle;
mod take;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covet_core::lifecycle::Lifecycle;
use covet_data::Dialect;
use covet_telemetry::metrics::Collector;
use covet_telemetry::metrics::instruments::TaskInstruments;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::enqueue::Jobs;
use crate::handlers::{Handler, Handlers};
use crate::metrics::{APP_JOBS_TAKEN_OVER_TOTAL, ByName, JobCounters, QueueStanding};
use crate::scheduler::Scheduler;
use crate::settings::JobSettings;

use self::execute::Ended;

/// What a worker is made of.
#[derive(Debug)]
pub struct WorkerParts {
    /// Where the jobs are.
    pub jobs: Jobs,
    /// What is done with them.
    pub handlers: Handlers,
    /// What an operator has set.
    pub settings: JobSettings,
    /// When to stop.
    pub lifecycle: Lifecycle,
}

/// Does jobs. Of the processes that do, each has one.
pub struct Worker {
    shared: Arc<Shared>,
    scheduler: Scheduler,
}

struct Shared {
    jobs: Jobs,
    by_name: BTreeMap<&'static str, Known>,
    settings: JobSettings,
    lifecycle: Lifecycle,
    /// In the column `claimed_by`.
    id: Uuid,
    running: Mutex<HashMap<Uuid, Running>>,
    standing: Arc<QueueStanding>,
    taken_over: ByName,
    /// Nothing is left to do.
    over: CancellationToken,
}

/// A type of job that this worker does.
struct Known {
    handler: Handler,
    instruments: TaskInstruments,
    counters: JobCounters,
}

/// A job at work.
struct Running {
    name: &'static str,
    attempt: u32,
    /// None once it was told.
    stop: Option<oneshot::Sender<Stop>>,
}

/// Why a job is to stop that has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The process ends: another begins anew.
    HandBack,
    /// The loan has ended: another may have begun.
    Lost,
}

impl Worker {
    /// A worker that has not begun.
    #[must_use]
    pub fn new(parts: WorkerParts) -> Self {
        let WorkerParts { jobs, handlers, settings, lifecycle } = parts;
        let (clock, registry) = (&jobs.shared().clock, &jobs.shared().registry);
        let known = |(name, handler)| {
            let instruments = TaskInstruments::new(registry, name, clock);
            (name, Known { handler, instruments, counters: JobCounters::new(registry, name) })
        };
        let by_name = handlers.by_name.into_iter().map(known).collect();
        let standing = Arc::new(QueueStanding::new(clock.clone()));
        registry.register(Arc::clone(&standing) as Arc<dyn Collector>);
        let shared = Shared {
            by_name,
            settings,
            lifecycle,
            id: covet_core::ids::new_id(clock),
            running: Mutex::default(),
            standing,
            taken_over: ByName::new(registry, APP_JOBS_TAKEN_OVER_TOTAL),
            over: CancellationToken::new(),
            jobs: jobs.clone(),
        };
        Self { shared: Arc::new(shared), scheduler: Scheduler::new(jobs, handlers.schedules) }
    }

    /// Does jobs until the process stops. Then it takes no more; those at work may finish, for
    /// `COVET_JOBS__HAND_BACK_AFTER`, and the rest are handed back.
    pub async fn run(self) {
        let Self { shared, scheduler } = self;
        let _tracked = shared.lifecycle.track("jobs");
        let dialect = shared.jobs.shared().db.dialect();
        let news = async {
            if dialect == Dialect::Postgres {
                news::hear(&shared).await;
            }
        };
        let work = async {
            tokio::select! {
                () = shared.work() => {}
                () = shared.lifecycle.cut().cancelled() => {}
            }
            shared.over.cancel();
        };
        tokio::join!(work, news, keeper::keep(&shared), keeper::schedule(&shared, &scheduler));
    }
}

impl Shared {
    /// Takes jobs and settles them until the process stops and none is left.
    async fn work(self: &Arc<Self>) {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let stop = self.stop_in_time();
        tokio::pin!(stop);
        let mut unsettled: Vec<Ended> = Vec::new();
        let (mut look, mut stopped) = (true, false);
        let mut trouble = Trouble::default();
        loop {
            while let Ok(one) = ended.try_recv() {
                unsettled.push(one);
            }
            let draining = self.lifecycle.draining().is_cancelled();
            if draining && unsettled.is_empty() && self.running().is_empty() {
                return;
            }
            let taking = async {
                match look && !draining {
                    true => self.take(&sender).await,
                    false => Ok(take::Found::Nothing),
                }
            };
            let (settled, taken) = tokio::join!(self.settle(&mut unsettled), taking);
            let more = match (settled, taken) {
                (Ok(()), Ok(found)) => {
                    trouble.is_over();
                    found == take::Found::MaybeMore
                }
                (Err(error), _) | (_, Err(error)) => {
                    trouble.tell(&error);
                    false
                }
            };
            look = more;
            if more && self.has_room() {
                continue;
            }
            tokio::select! {
                Some(one) = ended.recv() => unsettled.push(one),
                () = self.jobs.shared().added.notified(), if trouble.is_none() && !draining => look = true,
                () = tokio::time::sleep(trouble.pause().unwrap_or(self.settings.poll_interval)) => look = true,
                () = self.lifecycle.draining().cancelled(), if !draining => {}
                () = &mut stop, if !stopped => stopped = true,
            }
        }
    }

    /// Once the process stops and jobs have had their time, tells them to stop.
    async fn stop_in_time(&self) {
        self.lifecycle.draining().cancelled().await;
        tokio::time::sleep(self.settings.hand_back_after).await;
        self.stop_all(Stop::HandBack);
    }

    fn stop_all(&self, why: Stop) {
        for running in self.running().values_mut() {
            if let Some(stop) = running.stop.take() {
                // It may have finished just now.
                let _ = stop.send(why);
            }
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.running().len() < self.settings.at_once
    }
}

/// The database does not answer: how long that is so, and what was said about it.
#[derive(Debug, Default)]
struct Trouble {
    pause: Option<Duration>,
}

impl Trouble {
    const LONGEST: Duration = Duration::from_secs(30);

    fn tell(&mut self, error: &covet_data::Error) {
        let error: &dyn std::error::Error = error;
        match self.pause {
            None => tracing::warn!(error, "the queue of jobs cannot be reached; trying again"),
            Some(_) => tracing::debug!(error, "the queue of jobs still cannot be reached"),
        }
        let next = self.pause.map_or(Duration::from_millis(100), |pause| pause * 2).min(Self::LONGEST);
        self.pause = Some(next);
    }

    fn is_over(&mut self) {
        if self.pause.take().is_some() {
            tracing::info!("the queue of jobs is reached again");
        }
    }

    fn is_none(&self) -> bool {
        self.pause.is_none()
    }

    fn pause(&self) -> Option<Duration> {
        self.pause.map(|pause| pause.mul_f64(0.5 + fastrand::f64() / 2.0))
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("jobs", &self.shared.by_name.keys()).finish_non_exhaustive()
    }
}
