//! How long a statement may run, and who no longer waits for it.
//!
//! SQLite calls back every [`STEPS`] steps of its virtual machine, and each time it meets another process's lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use covet_core::clock::Clock;

use super::ticket::Ticket;

/// Steps of SQLite's virtual machine between two looks: some 20 to 50 µs of work.
pub(super) const STEPS: std::ffi::c_int = 1_000;

/// Shared by a connection and its callbacks.
#[derive(Debug)]
pub(super) struct Watch {
    state: Mutex<State>,
    clock: Clock,
    busy_timeout: Duration,
}

#[derive(Debug)]
enum State {
    /// Our own statements (BEGIN, pragmas) run without limits.
    Off,
    /// On a thread of the async runtime: not longer than one look to the next, and no waiting at all. SQLite counts
    /// steps over all runs of a statement, so that the first look may come at once.
    Quick { looked: bool },
    /// On a database thread.
    Timed { until: Instant, ticket: Option<Arc<Ticket>> },
}

impl Watch {
    pub(super) fn new(clock: Clock, busy_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Off), clock, busy_timeout })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn quick(&self) -> Watching<'_> {
        *self.state() = State::Quick { looked: false };
        Watching(self)
    }

    /// Until then, and as long as somebody waits.
    pub(super) fn timed(&self, limit: Duration, ticket: Option<&Arc<Ticket>>) -> Watching<'_> {
        *self.state() = State::Timed { until: self.clock.monotonic() + limit, ticket: ticket.cloned() };
        Watching(self)
    }

    /// Gives a timed statement that long from now on.
    pub(super) fn restart(&self, limit: Duration) {
        if let State::Timed { until, .. } = &mut *self.state() {
            *until = self.clock.monotonic() + limit;
        }
    }

    /// True to interrupt the statement.
    pub(super) fn look(&self) -> bool {
        match &mut *self.state() {
            State::Off => false,
            State::Quick { looked } => std::mem::replace(looked, true),
            State::Timed { until, ticket } => {
                ticket.as_ref().is_some_and(|ticket| ticket.is_abandoned()) || self.clock.monotonic() >= *until
            }
        }
    }

    /// Another process holds a lock; `asked` times it was waited for before. True to try again.
    pub(super) fn wait_for_lock(&self, asked: i32) -> bool {
        const DELAYS_MS: [u64; 8] = [1, 2, 5, 10, 15, 20, 25, 50];
        let asked = usize::try_from(asked).unwrap_or(usize::MAX);
        let delay = |n: usize| Duration::from_millis(DELAYS_MS[n.min(DELAYS_MS.len() - 1)]);
        let quick = match &*self.state() {
            State::Quick { .. } => true,
            State::Timed { ticket: Some(ticket), .. } => ticket.is_abandoned(),
            State::Off | State::Timed { ticket: None, .. } => false,
        };
        let waited: Duration = (0..asked.min(DELAYS_MS.len())).map(delay).sum::<Duration>()
            + delay(usize::MAX) * u32::try_from(asked.saturating_sub(DELAYS_MS.len())).unwrap_or(u32::MAX);
        if quick || waited >= self.busy_timeout {
            return false;
        }
        thread::sleep(delay(asked).min(self.busy_timeout - waited));
        true
    }
}

/// Lifts the limits when the statement is done, also by a panic.
pub(super) struct Watching<'a>(&'a Watch);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        *self.0.state() = State::Off;
    }
}
