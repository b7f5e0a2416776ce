//! What libraries say through the `log` crate (rustls, tungstenite), in the same lines as everything else.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use log::{Log, Metadata, Record};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::event::{Parts, Source};
use super::layer::Shared;
use super::levels::CurrentLevels;

/// Where the records of a process or a thread go.
#[derive(Clone)]
pub(super) struct Bridge {
    pub(super) shared: Arc<Shared>,
    pub(super) levels: CurrentLevels,
}

/// Set once the process's bridge takes records: only then its levels limit what the `log` macros do.
static LIMITED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static OF_THREAD: RefCell<Option<Bridge>> = const { RefCell::new(None) };
}

impl Bridge {
    /// Takes the `log` crate's records of this process. When somebody else takes them already, they stay there.
    pub(super) fn install(self) {
        let most_verbose = self.levels.get().most_verbose();
        if log::set_boxed_logger(Box::new(self)).is_ok() {
            LIMITED.store(true, Relaxed);
            limit_to(most_verbose);
        }
    }

    /// Takes those of this thread, if nobody takes those of the process.
    pub(super) fn install_for_thread(self) {
        OF_THREAD.set(Some(self));
        if log::set_logger(&PerThread).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    }
}

/// Lets the `log` macros skip what no logger wants.
pub(super) fn limit_to(most_verbose: LevelFilter) {
    if !LIMITED.load(Relaxed) {
        return;
    }
    log::set_max_level(most_verbose.into_level().map_or(log::LevelFilter::Off, |level| match level {
        Level::ERROR => log::LevelFilter::Error,
        Level::WARN => log::LevelFilter::Warn,
        Level::INFO => log::LevelFilter::Info,
        Level::DEBUG => log::LevelFilter::Debug,
        Level::TRACE => log::LevelFilter::Trace,
    }));
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.levels.enabled(metadata.target(), level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.shared.log(record);
        }
    }

    fn flush(&self) {}
}

/// Sends each record to the bridge of its thread.
struct PerThread;

impl Log for PerThread {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        OF_THREAD.with_borrow(|bridge| bridge.as_ref().is_some_and(|bridge| bridge.enabled(metadata)))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(bridge) = OF_THREAD.with_borrow(Clone::clone) {
            bridge.log(record);
        }
    }

    fn flush(&self) {}
}

impl Source for Record<'_> {
    fn level(&self) -> Level {
        level(Record::level(self))
    }

    fn target(&self) -> &str {
        Record::target(self)
    }

    fn has(&self, _: &str) -> bool {
        false
    }

    fn give(&self, parts: &mut Parts<'_>) {
        parts.message(*self.args());
    }
}

fn level(level: log::Level) -> Level {
    match level {
        log::Level::Error => Level::ERROR,
        log::Level::Warn => Level::WARN,
        log::Level::Info => Level::INFO,
        log::Level::Debug => Level::DEBUG,
        log::Level::Trace => Level::TRACE,
    }
}
