//! Which levels are logged, as a whole and for single loggers: `LOG_LEVEL`.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use covet_core::settings::Value;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, callsite};
use tracing_subscriber::layer::{Context, Filter};

use super::stream::{AUDIT, SECURITY, Stream};

/// `info,covet_data=debug`: a level for everything, and others for single loggers and what is below them. The
/// most specific one counts, wherever it stands.
///
/// Loggers may be named as modules (`covet_http::listener`) or as in the log lines (`covet.http.listener`).
///
/// The streams `covet.security` and `covet.audit` are at least at INFO, whatever the level for everything; only their
/// own names switch them off: `covet.security=off`.
///
/// ```
/// use covet_telemetry::logging::Levels;
/// use tracing::Level;
///
/// let levels: Levels = "warn,covet.data=debug,covet_data::pool=off".parse().unwrap();
/// assert!(levels.enabled("covet_data::query", Level::DEBUG));
/// assert!(!levels.enabled("covet_data::pool", Level::ERROR));
/// assert!(!levels.enabled("hyper::proto", Level::INFO));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    default: LevelFilter,
    /// Longest name first, so that the first match is the most specific.
    loggers: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// True when an event of `level` is logged for `target`.
    #[must_use]
    pub fn enabled(&self, target: &str, level: Level) -> bool {
        level <= self.level_of(target)
    }

    fn level_of(&self, target: &str) -> LevelFilter {
        let found = self.loggers.iter().find(|(name, _)| is_within(target, name));
        let level = found.map_or(self.default, |(_, level)| *level);
        match Stream::of(target).logger() {
            Some(stream) if !found.is_some_and(|(name, _)| is_within(name, stream)) => level.max(LevelFilter::INFO),
            _ => level,
        }
    }

    /// The most verbose level that any logger has.
    pub(crate) fn most_verbose(&self) -> LevelFilter {
        let streams = [SECURITY, AUDIT].map(|target| self.level_of(target));
        self.loggers.iter().map(|(_, level)| *level).chain(streams).fold(self.default, LevelFilter::max)
    }
}

/// The name of a target's logger: `covet_http::listener` is `covet.http.listener`.
pub(super) fn logger(target: &str) -> String {
    target.replace("::", ".").replace('_', ".")
}

fn is_within(target: &str, name: &str) -> bool {
    logger(target).strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl FromStr for Levels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut levels = Self { default: LevelFilter::INFO, loggers: Vec::new() };
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            match directive.split_once('=') {
                None => levels.default = level(directive)?,
                Some((target, text)) => {
                    let name = logger(target.trim());
                    let valid = |char: char| char.is_alphanumeric() || char == '.' || char == '-';
                    if name.is_empty() || !name.chars().all(valid) {
                        return Err(format!(
                            "expected the name of a logger before \"=\", such as covet_data, got {target:?}"
                        ));
                    }
                    levels.loggers.retain(|(earlier, _)| *earlier != name);
                    levels.loggers.push((name, level(text.trim())?));
                }
            }
        }
        levels.loggers.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
        Ok(levels)
    }
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let known = levels.iter().any(|level| level.eq_ignore_ascii_case(text));
    let parsed = known.then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| format!("expected off, error, warn, info, debug or trace, got {text:?}"))
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.loggers.iter().try_for_each(|(logger, level)| write!(f, ",{logger}={level}"))
    }
}

impl Value for Levels {
    fn type_name() -> String {
        "log levels".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("info,covet_data=debug".to_owned())
    }
}

/// The levels in effect. Clones share them, so that they can be changed while the service runs.
#[derive(Debug, Clone)]
pub(super) struct CurrentLevels(Arc<RwLock<Levels>>);

impl CurrentLevels {
    pub(super) fn new(levels: Levels) -> Self {
        Self(Arc::new(RwLock::new(levels)))
    }

    pub(super) fn get(&self) -> Levels {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, levels: Levels) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = levels;
        callsite::rebuild_interest_cache();
    }

    pub(super) fn enabled(&self, target: &str, level: Level) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).enabled(target, level)
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        // Spans are the tracing layer's; this one writes events.
        metadata.is_event() && self.enabled(metadata.target(), *metadata.level())
    }
}

impl<S> Filter<S> for CurrentLevels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    /// Decided once a callsite, until the levels change.
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).most_verbose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Levels {
        text.parse().unwrap()
    }

    #[test]
    fn the_most_specific_logger_decides_wherever_it_stands() {
        let levels = levels("covet_data::pool=trace, ERROR ,covet=warn,covet_data=info");
        for (target, level) in [
            ("hyper", Level::ERROR),
            ("covet_http::listener", Level::WARN),
            ("covet_data", Level::INFO),
            ("covet_data::query", Level::INFO),
            ("covet_data::pool", Level::TRACE),
            ("covet_data::pool::idle", Level::TRACE),
        ] {
            assert!(levels.enabled(target, level), "{target} {level}");
            let more_verbose = [Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            for higher in more_verbose.into_iter().filter(|other| *other > level) {
                assert!(!levels.enabled(target, higher), "{target} {higher}");
            }
        }
    }

    #[test]
    fn a_name_matches_whole_parts_only_and_in_both_spellings() {
        assert!(!levels("off,covet_data=info").enabled("covet_database", Level::ERROR));
        assert!(levels("off,covet.data=info").enabled("covet_data", Level::INFO));
        assert!(levels("off,covet::api=info").enabled("covet::api", Level::INFO));
    }

    #[test]
    fn security_and_audit_are_on_until_they_are_switched_off_by_their_own_names() {
        for text in ["off", "error", "warn,covet=off"] {
            for target in [SECURITY, AUDIT, "covet.audit"] {
                assert!(levels(text).enabled(target, Level::INFO), "{text} {target}");
                assert!(!levels(text).enabled(target, Level::DEBUG), "{text} {target}");
            }
            assert_eq!(levels(text).most_verbose(), LevelFilter::INFO);
        }
        let levels = levels("debug,covet_security=off,covet.audit=warn");
        assert!(!levels.enabled(SECURITY, Level::ERROR));
        assert!(levels.enabled(AUDIT, Level::WARN) && !levels.enabled(AUDIT, Level::INFO));
        assert!("off,covet.security=off,covet.audit=off".parse::<Levels>().unwrap().most_verbose() == LevelFilter::OFF);
    }

    #[test]
    fn without_a_default_it_is_info() {
        assert_eq!(levels("covet_data=debug").to_string(), "info,covet.data=debug");
        assert_eq!(levels("").to_string(), "info");
    }

    #[test]
    fn mistakes_are_told() {
        let expected = "expected off, error, warn, info, debug or trace, got ";
        assert_eq!("verbose".parse::<Levels>().unwrap_err(), format!("{expected}\"verbose\""));
        assert_eq!("info,covet_data=3".parse::<Levels>().unwrap_err(), format!("{expected}\"3\""));
        assert!("=info".parse::<Levels>().unwrap_err().starts_with("expected the name of a logger"));
        assert!("a b=info".parse::<Levels>().is_err());
    }

    #[test]
    fn what_is_shown_reads_back() {
        let levels = levels("warn,covet_data::pool=debug,hyper=off");
        assert_eq!(levels.show().parse::<Levels>(), Ok(levels));
    }
}
