//! The life of a process in one type: which phase it is in, who must stop, who is still at work.
//!
//! ```text
//! starting → ready → draining → stopping → (terminated)
//!            │       │          └ no new connections; in-flight work finishes; deadline → hard stop
//!            │       └ not ready any more, still serving: load balancers take the instance out
//!            └ the startup probe passes
//! ```
//!
//! The signals and the order of steps are in the `covet` crate; this is what every room can hold and watch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Where the process is in its life. Only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connecting, migrating; not ready.
    Starting = 0,
    /// Serving.
    Ready = 1,
    /// Told to stop: not ready, still serving everybody who comes.
    Draining = 2,
    /// Accepts nothing new; what is in flight may finish.
    Stopping = 3,
    /// Out of time: what is still running is cut.
    Cut = 4,
}

/// The life of this process. Cheap to clone; all clones are the same life.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    draining: CancellationToken,
    stopping: CancellationToken,
    cut: CancellationToken,
    next_id: AtomicU64,
    running: Mutex<BTreeMap<u64, String>>,
    finished: Notify,
}

impl Lifecycle {
    /// A life that begins in [`Phase::Starting`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The phase now. One relaxed load: fit for every request.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.shared.phase.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            2 => Phase::Draining,
            3 => Phase::Stopping,
            _ => Phase::Cut,
        }
    }

    /// Moves forward to `phase`; moving back is ignored, so a late "ready" cannot undo a shutdown.
    pub fn advance(&self, phase: Phase) {
        self.shared.phase.fetch_max(phase as u8, Ordering::SeqCst);
        if phase >= Phase::Draining {
            self.shared.draining.cancel();
        }
        if phase >= Phase::Stopping {
            self.shared.stopping.cancel();
        }
        if phase >= Phase::Cut {
            self.shared.cut.cancel();
        }
    }

    /// Cancelled when the process was told to stop.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.shared.draining
    }

    /// Cancelled when nothing new is accepted: finish what you have.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.shared.stopping
    }

    /// Cancelled when the deadline has passed: drop what you have.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        &self.shared.cut
    }

    /// Counts work that shutdown waits for, until the guard is dropped. The name appears in the log when the
    /// deadline cuts it.
    #[must_use]
    pub fn track(&self, name: impl Into<String>) -> Running {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        self.running().insert(id, name.into());
        Running { id, shared: Arc::clone(&self.shared) }
    }

    /// Names of the work that has not finished.
    #[must_use]
    pub fn still_running(&self) -> Vec<String> {
        self.running().values().cloned().collect()
    }

    /// Waits until all tracked work has finished.
    pub async fn finished(&self) {
        loop {
            let notified = self.shared.finished.notified();
            if self.running().is_empty() {
                return;
            }
            notified.await;
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, String>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work in progress; finished when dropped.
#[derive(Debug)]
pub struct Running {
    id: u64,
    shared: Arc<Shared>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.shared.finished.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_never_goes_back() {
        let life = Lifecycle::new();
        life.advance(Phase::Draining);
        life.advance(Phase::Ready);
        assert_eq!(life.phase(), Phase::Draining);
        assert!(life.draining().is_cancelled());
        assert!(!life.stopping().is_cancelled());
    }

    #[test]
    fn cutting_cancels_everything() {
        let life = Lifecycle::new();
        life.advance(Phase::Cut);
        assert!(life.draining().is_cancelled() && life.stopping().is_cancelled() && life.cut().is_cancelled());
    }

    #[tokio::test]
    async fn finished_waits_for_all_and_names_who_is_left() {
        let life = Lifecycle::new();
        let (a, b) = (life.track("GET /slow"), life.track("purge"));
        assert_eq!(life.still_running(), ["GET /slow", "purge"]);
        drop(a);
        let waiting = tokio::spawn({
            let life = life.clone();
            async move { life.finished().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(b);
        waiting.await.unwrap();
    }
}
