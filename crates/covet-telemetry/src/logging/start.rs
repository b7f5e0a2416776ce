//! Beginning and ending to log.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use covet_core::clock::Clock;
use tracing::{Dispatch, Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry as Spans};

use super::access::{self, AccessLog};
use super::bridge::{self, Bridge};
use super::capture::{CapturedLines, Memory};
use super::escape::push_json;
use super::event::{FieldValue, Parts, Source};
use super::file::{LogFile, Rotation};
use super::human::{Palette, without_colours};
use super::layer::{LineFormat, LogLayer, Look, Shared};
use super::levels::{CurrentLevels, Levels};
use super::personal::Personal;
use super::policy::Policy;
use super::stdout::Stdout;
use super::writer::{self, NotWritten, Sink, Sinks, TellOfGap, Writer};
use crate::metrics::Registry;
use crate::settings::{LogFormat, LogSettings};
use crate::traces::{SpanLayer, Tracer};

/// How long dropping [`Logging`] may take.
const DROP_LIMIT: Duration = Duration::from_secs(2);

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be written.
    #[error(
        "cannot write the log file {}: {source}. Give this user write access to its directory, or change LOG_FILE, \
         COVET_LOG__SECURITY_FILE or COVET_LOG__AUDIT_FILE; without LOG_FILE only standard output is logged to",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is nowhere to log to.
    #[error("nothing would be logged anywhere: set LOG_FILE, or COVET_LOG__STDOUT=true")]
    Nowhere,
    /// The thread that writes the log cannot be started.
    #[error("cannot start the thread that writes the log: {0}. The limit of processes may be reached (ulimit -u)")]
    Thread(io::Error),
    /// Somebody else logs already.
    #[error("this process already has a tracing subscriber: begin logging once, before anybody else does")]
    AlreadyInstalled,
}

/// Logging of a process, from its start to its end. Dropping it ends it.
#[derive(Debug)]
pub struct Logging {
    shared: Arc<Shared>,
    levels: LogLevels,
}

/// The levels in effect; changes take effect at once. Clones share them.
#[derive(Debug, Clone)]
pub struct LogLevels {
    current: CurrentLevels,
    access: AccessLog,
}

/// Starts logging and makes it that of the process: `tracing` events, records of the `log` crate and [`access`] lines.
///
/// # Errors
/// When the log file cannot be written, or something else in the process logs already.
pub fn init(settings: &LogSettings, service: &str, clock: Clock) -> Result<Logging, LogError> {
    init_with_spans(settings, service, clock, None)
}

/// [`init`], and spans of these levels are recorded.
pub(crate) fn init_with_spans(
    settings: &LogSettings,
    service: &str,
    clock: Clock,
    spans: Option<(Tracer, Levels)>,
) -> Result<Logging, LogError> {
    let logging = Logging::start(settings, service, clock)?;
    tracing::dispatcher::set_global_default(logging.dispatch(spans)).map_err(|_| LogError::AlreadyInstalled)?;
    logging.install_access_log();
    logging.bridge().install();
    Ok(logging)
}

impl Logging {
    /// Starts logging without making it that of the process: for a test, or where other layers join.
    ///
    /// # Errors
    /// When the log file cannot be written.
    pub fn start(settings: &LogSettings, service: &str, clock: Clock) -> Result<Self, LogError> {
        let terminal = settings.stdout && io::stdout().is_terminal();
        let no_colour = settings.no_color.as_deref().is_some_and(|value| !value.is_empty());
        let look = match settings.format {
            LogFormat::Json => Look::Json,
            LogFormat::Human => Look::Human(Palette::new(terminal && !no_colour)),
        };
        let sinks = sinks(settings, &clock)?;
        Self::start_with(settings, service, clock, look, sinks, terminal)
    }

    /// Starts logging as JSON into memory and nowhere else: for a test that looks at the lines.
    ///
    /// # Errors
    /// When the thread that writes the log cannot be started.
    pub fn capture(settings: &LogSettings, service: &str, clock: Clock) -> Result<(Self, CapturedLines), LogError> {
        let memory = Memory::default();
        let sinks = Sinks { log: vec![Box::new(memory.clone())], ..Sinks::default() };
        let logging = Self::start_with(settings, service, clock, Look::Json, sinks, true)?;
        let lines = CapturedLines::new(memory, logging.shared.writer.clone());
        Ok((logging, lines))
    }

    /// `at_once`: whether access lines are handed over one by one.
    fn start_with(
        settings: &LogSettings,
        service: &str,
        clock: Clock,
        look: Look,
        sinks: Sinks,
        at_once: bool,
    ) -> Result<Self, LogError> {
        let mut service_json = Vec::new();
        push_json(&mut service_json, service);
        let format = Arc::new(LineFormat { clock, look, service_json, policy: Policy::new(settings) });
        let writer =
            Writer::start(sinks, settings.buffer.as_usize(), tell_of_gaps(&format)).map_err(LogError::Thread)?;
        let shared = Arc::new(Shared { writer, format });
        let current = CurrentLevels::new(settings.level.clone());
        let access = AccessLog::new(Arc::clone(&shared), at_once);
        let levels = LogLevels { current, access };
        levels.tell_others(&settings.level);
        Ok(Self { shared, levels })
    }

    /// How much is told of a person.
    pub(crate) fn personal(&self) -> Arc<Personal> {
        Arc::clone(&self.shared.format.policy.personal)
    }

    /// What takes events, and spans of these levels if they are recorded.
    pub(crate) fn dispatch(&self, spans: Option<(Tracer, Levels)>) -> Dispatch {
        let Some((tracer, levels)) = spans else { return Dispatch::new(Spans::default().with(self.layer())) };
        let redaction = Arc::clone(&self.shared.format.policy.redaction);
        let (events, filter) = (self.log_layer(), self.levels.current.clone());
        Dispatch::new(Spans::default().with(SpanLayer::new(tracer, levels, redaction, events, filter)))
    }

    /// What does not come through `tracing`, for single threads.
    pub(crate) fn thread_log(&self) -> ThreadLog {
        ThreadLog { access: self.levels.access.clone(), bridge: self.bridge() }
    }

    fn bridge(&self) -> Bridge {
        Bridge { shared: Arc::clone(&self.shared), levels: self.levels.current.clone() }
    }

    /// The layer that logs events at the levels in effect.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        self.log_layer().with_filter(self.levels.current.clone())
    }

    fn log_layer(&self) -> LogLayer {
        LogLayer { shared: Arc::clone(&self.shared) }
    }

    /// Makes [`access::write`] write here, unless it already writes elsewhere.
    pub fn install_access_log(&self) {
        access::install(self.levels.access.clone());
    }

    /// The levels in effect, to show or change.
    #[must_use]
    pub fn levels(&self) -> LogLevels {
        self.levels.clone()
    }

    /// Adds the counts of lines written and lost to the metrics.
    pub fn register_metrics(&self, registry: &Registry) {
        registry.declare_all(writer::ALL);
        registry.register(Arc::new(self.shared.writer.clone()));
    }

    /// Waits until everything logged so far is written. False when that took longer than `within`. Access lines
    /// of other threads count once they called [`access::flush_thread`].
    pub fn flush(&self, within: Duration) -> bool {
        access::flush_thread();
        self.shared.writer.flush(within)
    }

    /// Ends logging once everything logged so far is written. False when that took longer than `within`; then
    /// the rest is lost. What is logged afterwards is counted as lost; nothing else happens to it.
    pub fn shutdown(&self, within: Duration) -> bool {
        access::flush_thread();
        self.shared.writer.stop(within)
    }
}

/// Access lines and records of the `log` crate, for single threads.
#[derive(Clone)]
pub(crate) struct ThreadLog {
    access: AccessLog,
    bridge: Bridge,
}

impl ThreadLog {
    /// Takes those of the calling thread.
    pub(crate) fn adopt(&self) {
        access::install_for_thread(self.access.clone());
        self.bridge.clone().install_for_thread();
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.shutdown(DROP_LIMIT);
    }
}

impl LogLevels {
    /// The levels in effect.
    #[must_use]
    pub fn get(&self) -> Levels {
        self.current.get()
    }

    /// Changes them.
    pub fn set(&self, levels: Levels) {
        self.tell_others(&levels);
        self.current.set(levels);
    }

    /// Tells those that do not ask for each line.
    fn tell_others(&self, levels: &Levels) {
        bridge::limit_to(levels.most_verbose());
        self.access.set_enabled(levels.enabled(super::API, Level::INFO));
    }
}

fn sinks(settings: &LogSettings, clock: &Clock) -> Result<Sinks, LogError> {
    let rotation =
        Rotation { max_size: settings.file_max_size.bytes(), every: settings.rotate_every, kept: settings.files_kept };
    let file = |path: &Option<PathBuf>| -> Result<Option<Box<dyn Sink>>, LogError> {
        let Some(path) = path else { return Ok(None) };
        let file = LogFile::open(path, rotation, clock.clone())
            .map_err(|source| LogError::File { path: path.clone(), source })?;
        Ok(Some(match settings.format {
            LogFormat::Json => Box::new(file),
            LogFormat::Human => Box::new(Uncoloured(file)),
        }))
    };
    let mut log: Vec<Box<dyn Sink>> = Vec::new();
    if settings.stdout {
        log.push(Box::new(Stdout));
    }
    log.extend(file(&settings.file)?);
    if log.is_empty() {
        return Err(LogError::Nowhere);
    }
    Ok(Sinks { log, security: file(&settings.security_file)?, audit: file(&settings.audit_file)? })
}

/// A file beside a coloured terminal.
struct Uncoloured(LogFile);

impl Sink for Uncoloured {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
        self.0.write_lines(&without_colours(lines))
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

fn tell_of_gaps(format: &Arc<LineFormat>) -> TellOfGap {
    let format = Arc::clone(format);
    Box::new(move |reason, lines| format.line(&Gap { reason, lines }))
}

/// Lines that are not in the log, as an event.
struct Gap {
    reason: &'static str,
    lines: u64,
}

impl Source for Gap {
    fn level(&self) -> Level {
        Level::WARN
    }

    fn target(&self) -> &str {
        "covet_telemetry::logging"
    }

    fn has(&self, _: &str) -> bool {
        false
    }

    fn give(&self, parts: &mut Parts<'_>) {
        parts.message(format_args!("log lines were lost here"));
        parts.style.field("reason", FieldValue::Text(self.reason));
        parts.style.field("lines", FieldValue::Unsigned(self.lines));
    }
}
