//! A bounded queue in front of threads.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Error;

/// What may stand in a [`Queue`].
pub(super) trait Queued: Send {
    /// True if nobody waits for it.
    fn is_abandoned(&self) -> bool;

    /// Tells its caller that it cannot be done.
    fn refuse(self, error: Error);
}

#[derive(Debug)]
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    arrived: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    /// Threads that wait for a job.
    idle: usize,
    closed: bool,
}

/// What became of a job that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// A thread is free to take it.
    Taken,
    /// All threads are busy.
    Waits,
}

pub(super) enum Popped<J> {
    Job(J),
    /// None came in time.
    Nothing,
    /// None will come any more.
    Closed,
}

impl<J: Queued> Queue<J> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { jobs: VecDeque::new(), idle: 0, closed: false };
        Self { state: Mutex::new(state), arrived: Condvar::new(), limit }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job.
    pub(super) fn push(&self, job: J) -> Result<Placed, Error> {
        let mut state = self.state();
        if state.closed {
            return Err(Error::Closed);
        }
        if state.jobs.len() >= self.limit {
            state.jobs.retain(|job| !job.is_abandoned());
            if state.jobs.len() >= self.limit {
                return Err(Error::Overloaded { limit: self.limit });
            }
        }
        state.jobs.push_back(job);
        let placed = if state.jobs.len() <= state.idle { Placed::Taken } else { Placed::Waits };
        let wake = state.idle > 0;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(placed)
    }

    /// Takes the oldest job, waiting for one.
    pub(super) fn pop(&self, wait: Duration) -> Popped<J> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Popped::Job(job);
            }
            if state.closed {
                return Popped::Closed;
            }
            state.idle += 1;
            let (after, timeout) = self.arrived.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() && !state.closed {
                return Popped::Nothing;
            }
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().jobs.iter().filter(|job| !job.is_abandoned()).count()
    }

    /// Takes no more jobs; those in it are still done.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    /// Takes no more jobs and refuses those in it: nobody is left to do them.
    pub(super) fn abort(&self, reason: impl Fn() -> Error) {
        let mut state = self.state();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.arrived.notify_all();
        jobs.into_iter().for_each(|job| job.refuse(reason()));
    }
}
