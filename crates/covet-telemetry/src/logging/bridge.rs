//! What libraries say through the `log` crate (rustls, tungstenite), in the same lines as everything else.

use std::sync::Arc;

use log::{Log, Metadata, Record};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::event::{Parts, Source};
use super::layer::Shared;
use super::levels::CurrentLevels;

struct Bridge {
    shared: Arc<Shared>,
    levels: CurrentLevels,
}

/// Takes the `log` crate's records of this process. When somebody else takes them already, they stay there.
pub(super) fn install(shared: Arc<Shared>, levels: CurrentLevels) {
    let _ = log::set_boxed_logger(Box::new(Bridge { shared, levels }));
}

/// Lets the `log` macros skip what no logger wants.
pub(super) fn limit_to(most_verbose: LevelFilter) {
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
