//! Which jobs a process does: [`Handlers`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::job::{Failure, Job, JobOptions};
use crate::run::{AtWork, Run};
use crate::schedule::Schedule;

type Work = Box<dyn Fn(Value, Arc<AtWork>) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync>;

/// The jobs that a process does, with the state of each, and its schedules.
///
/// A worker takes only what it has a handler for. So while a release is rolled out that brings another type of job, the processes of the
/// release before leave those alone.
#[derive(Default)]
pub struct Handlers {
    pub(crate) by_name: BTreeMap<&'static str, Handler>,
    pub(crate) schedules: Vec<Schedule>,
}

/// What is done with jobs of one name.
pub(crate) struct Handler {
    pub(crate) options: JobOptions,
    work: Work,
}

impl Handler {
    pub(crate) fn run(&self, payload: Value, at_work: Arc<AtWork>) -> BoxFuture<'static, Result<(), Failure>> {
        (self.work)(payload, at_work)
    }
}

impl Handlers {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does jobs of this type, with this state.
    ///
    /// # Panics
    /// When there is another job of this name.
    #[must_use]
    pub fn job<J: Job>(mut self, state: J::State) -> Self {
        let work: Work = Box::new(move |payload, at_work| {
            let run = Run::new(state.clone(), at_work);
            match serde_json::from_value::<J>(payload) {
                Ok(job) => Box::pin(job.run(run)),
                // Perhaps of a newer release, perhaps a mistake: a person must look.
                Err(error) => Box::pin(async move { Err(Failure::give_up(format!("cannot be read: {error}"))) }),
            }
        });
        let before = self.by_name.insert(J::NAME, Handler { options: J::options(), work });
        assert!(before.is_none(), "two jobs are named {}", J::NAME);
        self
    }

    /// Adds jobs by the clock.
    ///
    /// # Panics
    /// When there is another schedule of this name.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        let name = schedule.name();
        assert!(self.schedules.iter().all(|other| other.name() != name), "two schedules are named {name}");
        self.schedules.push(schedule);
        self
    }

    /// Those of both.
    ///
    /// # Panics
    /// When a name is in both.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (name, handler) in other.by_name {
            assert!(self.by_name.insert(name, handler).is_none(), "two jobs are named {name}");
        }
        other.schedules.into_iter().fold(self, Self::schedule)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.schedules.is_empty()
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("jobs", &self.by_name.keys()).field("schedules", &self.schedules).finish()
    }
}
