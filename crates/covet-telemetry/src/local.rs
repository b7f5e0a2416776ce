//! Telemetry of some threads only: their events, access lines, metrics and spans go elsewhere than those of the process.
//!
//! For tests, many of which share a process: each service under test has threads of its own, and with them its own log,
//! metrics and spans. A thread that such a thread starts takes them along when it says so: [`inherit`]. In a service none of
//! this is used, and asking costs next to nothing.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use tracing::Dispatch;

use crate::logging::{Levels, Logging, ThreadLog};
use crate::metrics::{Recorder, Registry};
use crate::traces::Tracer;

/// Where the events, access lines, metrics and spans of some threads go. Clones share it.
#[derive(Clone)]
pub struct Local(Arc<Inner>);

struct Inner {
    dispatch: Dispatch,
    log: ThreadLog,
    /// For ever, as a thread can be given a recorder only so. There is one a service under test.
    recorder: &'static Recorder,
}

thread_local! {
    static CURRENT: RefCell<Option<Local>> = const { RefCell::new(None) };
}

impl Local {
    /// What logs to `logging`, counts in `registry` and records spans of these levels.
    #[must_use]
    pub fn new(logging: &Logging, registry: &Registry, spans: Option<(Tracer, Levels)>) -> Self {
        let dispatch = logging.dispatch(spans);
        let recorder = Box::leak(Box::new(registry.recorder()));
        Self(Arc::new(Inner { dispatch, log: logging.thread_log(), recorder }))
    }

    /// Makes this the telemetry of the calling thread, until the thread ends.
    pub fn adopt(self) {
        // The guards would end it at once; a thread's end does as well.
        std::mem::forget(tracing::dispatcher::set_default(&self.0.dispatch));
        std::mem::forget(metrics::set_default_local_recorder(self.0.recorder));
        self.0.log.adopt();
        CURRENT.set(Some(self));
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// Whether the calling thread has telemetry of its own.
#[must_use]
pub fn is_local() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Takes the calling thread's telemetry along into a thread that it starts: what is returned is called there first.
///
/// ```
/// let adopt = covet_telemetry::local::inherit();
/// std::thread::spawn(move || {
///     adopt();
///     tracing::info!("logged where the starting thread logs");
/// });
/// ```
pub fn inherit() -> impl FnOnce() + Send + 'static {
    let local = CURRENT.with_borrow(Clone::clone);
    move || {
        if let Some(local) = local {
            local.adopt();
        }
    }
}
