//! How long a statement may run, and who no longer waits for it.
//!
//! SQLite calls back every [`STEPS`] steps of its virtual machine, and each time it meets another process's lock.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use covet_core::clock::Clock;

use super::ticket::Ticket;

/// Steps of SQLite's virtual machine between two looks: some 20 to 50 µs of work.
pub(super) const STEPS: std::ffi::c_int = 1_000;

/// Shared by a connection and its callbacks. One thread at a time uses a connection, so the order of memory operations
/// does not matter.
#[derive(Debug)]
pub(super) struct Watch {
    mode: AtomicU8,
    limits: Mutex<Limits>,
    clock: Clock,
    busy_timeout: Duration,
}

/// Our own statements (BEGIN, pragmas) run without limits.
const OFF: u8 = 0;
/// On a thread of the async runtime: from one look to the next at most, and no waiting at all. SQLite counts steps over
/// all runs of a statement, so the first look may come at once.
const QUICK: u8 = 1;
const QUICK_LOOKED: u8 = 2;
/// On a database thread, within [`Limits`].
const TIMED: u8 = 3;

#[derive(Debug, Default)]
struct Limits {
    until: Option<Instant>,
    ticket: Option<Arc<Ticket>>,
}

impl Watch {
    pub(super) fn new(clock: Clock, busy_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { mode: AtomicU8::new(OFF), limits: Mutex::default(), clock, busy_timeout })
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn quick(&self) -> Watching<'_> {
        self.mode.store(QUICK, Relaxed);
        Watching(self)
    }

    /// Until then, and as long as somebody waits.
    pub(super) fn timed(&self, limit: Duration, ticket: Option<&Arc<Ticket>>) -> Watching<'_> {
        *self.limits() = Limits { until: Some(self.clock.monotonic() + limit), ticket: ticket.cloned() };
        self.mode.store(TIMED, Relaxed);
        Watching(self)
    }

    /// Gives a timed statement that long from now on.
    pub(super) fn restart(&self, limit: Duration) {
        self.limits().until = Some(self.clock.monotonic() + limit);
    }

    /// True to interrupt the statement.
    pub(super) fn look(&self) -> bool {
        match self.mode.load(Relaxed) {
            QUICK => {
                self.mode.store(QUICK_LOOKED, Relaxed);
                false
            }
            QUICK_LOOKED => true,
            TIMED => {
                let limits = self.limits();
                limits.ticket.as_ref().is_some_and(|ticket| ticket.is_abandoned())
                    || limits.until.is_some_and(|until| self.clock.monotonic() >= until)
            }
            _ => false,
        }
    }

    /// Another process holds a lock; `asked` times it was waited for before. True to try again.
    pub(super) fn wait_for_lock(&self, asked: i32) -> bool {
        const DELAYS_MS: [u64; 8] = [1, 2, 5, 10, 15, 20, 25, 50];
        let asked = usize::try_from(asked).unwrap_or(usize::MAX);
        let delay = |n: usize| Duration::from_millis(DELAYS_MS[n.min(DELAYS_MS.len() - 1)]);
        let give_up = match self.mode.load(Relaxed) {
            QUICK | QUICK_LOOKED => true,
            TIMED => self.limits().ticket.as_ref().is_some_and(|ticket| ticket.is_abandoned()),
            _ => false,
        };
        let waited: Duration = (0..asked.min(DELAYS_MS.len())).map(delay).sum::<Duration>()
            + delay(usize::MAX) * u32::try_from(asked.saturating_sub(DELAYS_MS.len())).unwrap_or(u32::MAX);
        if give_up || waited >= self.busy_timeout {
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
        if self.0.mode.swap(OFF, Relaxed) == TIMED {
            *self.0.limits() = Limits::default();
        }
    }
}
