//! One job at work, in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use covet_core::lifecycle::Running as Tracked;
use covet_telemetry::metrics::instruments::TaskStatus;
use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{Running, Shared, Stop};
use crate::job::{Failure, Then};
use crate::run::AtWork;
use crate::store::Claimed;

/// A job that is not at work any more.
pub(super) struct Ended {
    pub(super) job: Claimed,
    pub(super) outcome: Outcome,
    /// Shutdown waits until it is settled.
    _tracked: Tracked,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Its work is done; its row is still there.
    Done,
    /// Its work is done and its row gone.
    Committed,
    /// Its work is not done.
    Failed(Failure),
    /// It was stopped and goes back.
    HandedBack,
    /// Somebody else may have it.
    Lost,
}

impl Shared {
    /// Begins with the job. How it ends is sent to `ended`.
    pub(super) fn execute(self: &Arc<Self>, job: Claimed, ended: UnboundedSender<Ended>) {
        let Some((name, known)) = self.by_name.get_key_value(job.name.as_str()) else { return };
        let tracked = self.lifecycle.track(format!("job {name} {}", job.id));
        let (stop, stopped) = oneshot::channel();
        let before = self.running().insert(job.id, Running { name, attempt: job.attempt, stop: Some(stop) });
        if let Some(stop) = before.and_then(|before| before.stop) {
            // Our own loan of it had ended unseen, and we have taken it again.
            let _ = stop.send(Stop::Lost);
        }
        let options = known.handler.options;
        if job.attempt > options.attempts {
            let error = Failure::give_up(format!("its worker was lost at each of {} attempts", options.attempts));
            let _ = ended.send(Ended { job, outcome: Outcome::Failed(error), _tracked: tracked });
            return;
        }
        let queue = self.jobs.shared();
        let at_work = Arc::new(AtWork::new(&queue.db, &queue.clock, self.id, &job, options.attempts));
        let work = known.handler.run(job.payload.clone(), Arc::clone(&at_work));
        let measured = known.instruments.start();
        let span = tracing::info_span!(
            "job",
            otel.name = *name,
            job.id = %job.id,
            job.attempt = job.attempt,
            request_id = job.request_id.as_deref(),
        );
        let task = async move {
            let work = AssertUnwindSafe(tokio::time::timeout(options.time_limit, work)).catch_unwind();
            let (outcome, status) = tokio::select! {
                biased;
                finished = work => match finished {
                    // What it has done is done, whatever it says after that.
                    _ if at_work.is_committed() => (Outcome::Committed, TaskStatus::Success),
                    Ok(Ok(Ok(()))) => (Outcome::Done, TaskStatus::Success),
                    Ok(Ok(Err(Failure { then: Then::Nothing, .. }))) => (Outcome::Lost, TaskStatus::Cut),
                    Ok(Ok(Err(failure))) => (Outcome::Failed(failure), TaskStatus::Failure),
                    Ok(Err(_)) => {
                        let error = format!("took longer than its limit of {:?}", options.time_limit);
                        (Outcome::Failed(error.into()), TaskStatus::Failure)
                    }
                    // The panic hook has logged it.
                    Err(_) => (Outcome::Failed("panicked".into()), TaskStatus::Panic),
                },
                why = stopped => match why {
                    Ok(Stop::HandBack) => (Outcome::HandedBack, TaskStatus::Cut),
                    Ok(Stop::Lost) | Err(_) => (Outcome::Lost, TaskStatus::Cut),
                },
            };
            measured.end(status);
            // The worker ends only after its jobs.
            let _ = ended.send(Ended { job, outcome, _tracked: tracked });
        };
        tokio::spawn(task.instrument(span));
    }
}
