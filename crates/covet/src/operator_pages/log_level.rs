//! `/log-level`: which levels are logged, changed while the service runs.
//!
//! ```sh
//! curl localhost:9090/log-level
//! curl -X PUT 'localhost:9090/log-level?for=15m' --data 'info,covet_data=debug'
//! curl -X DELETE localhost:9090/log-level        # as the service was started
//! ```
//!
//! A change for a while goes back by itself to the last one that was not. Every change is told to the audit stream, with
//! the operator's address.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Form;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Redirect, Response};
use covet_core::clock::Clock;
use covet_core::settings::Value as _;
use covet_http::axum;
use covet_telemetry::logging::{AUDIT, Actor, Levels, LogLevels, audit, vocabulary};
use http::header;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::index;
use crate::{Context, Error, Query, Result};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The levels, and what they go back to. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct LevelControl {
    levels: LogLevels,
    clock: Clock,
    /// As the service was started.
    configured: Levels,
    state: Arc<Mutex<Changes>>,
}

#[derive(Debug)]
struct Changes {
    /// What a change for a while goes back to.
    lasting: Levels,
    /// When the levels in effect go back; `None` when they last.
    until: Option<Timestamp>,
    /// How many there have been: the end of a change counts only when there has been none since.
    count: u64,
}

/// What is in effect.
#[derive(Debug, Serialize)]
pub(super) struct InEffect {
    /// The levels, as `LOG_LEVEL` writes them.
    pub(super) level: String,
    /// As the service was started.
    pub(super) configured: String,
    /// When they go back by themselves, to the second; absent when they last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<Timestamp>,
}

impl LevelControl {
    pub(super) fn new(levels: LogLevels, clock: Clock) -> Self {
        let configured = levels.get();
        let state = Changes { lasting: configured.clone(), until: None, count: 0 };
        Self { levels, clock, configured, state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn in_effect(&self) -> InEffect {
        let until = self.lock().until;
        InEffect { level: self.levels.get().to_string(), configured: self.configured.to_string(), until }
    }

    /// Changes the levels, for a while or until the next change.
    fn change(&self, levels: Levels, time: Option<Duration>, by: Who) {
        let mut state = self.lock();
        state.count += 1;
        let end = |time| Timestamp::from_second(self.clock.now().checked_add(time).ok()?.as_second()).ok();
        state.until = time.and_then(end);
        self.apply(&levels, state.until, by);
        if time.is_none() {
            state.lasting = levels;
        }
        if let Some(time) = time {
            let (control, count) = (self.clone(), state.count);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                control.go_back(count);
            });
        }
    }

    /// Ends the change with this number, unless there has been another since.
    fn go_back(&self, count: u64) {
        let mut state = self.lock();
        if state.count == count {
            state.until = None;
            self.apply(&state.lasting, None, Who::Service);
        }
    }

    /// Sets the levels and tells the audit stream: before or after, whichever lets the line through.
    fn apply(&self, levels: &Levels, until: Option<Timestamp>, by: Who) {
        let from = self.levels.get();
        let told_before = from.enabled(AUDIT, tracing::Level::INFO);
        let tell = |to: &Levels| {
            let to = until.map_or_else(|| to.to_string(), |until| format!("{to} until {until}"));
            let record = audit(vocabulary::LOG_LEVEL_CHANGED).changed(&from, to);
            match by {
                Who::Operator(address) => {
                    record.actor(Actor::Operator).ip_address(address).log("log levels changed");
                }
                Who::Service => record.actor(Actor::Service).log("log levels gone back after their time"),
            }
        };
        if told_before {
            tell(levels);
        }
        self.levels.set(levels.clone());
        if !told_before {
            tell(levels);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy)]
enum Who {
    Operator(IpAddr),
    Service,
}

type Peer = ConnectInfo<SocketAddr>;

/// For how long, as in `?for=15m`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct While {
    #[serde(rename = "for")]
    time: Option<String>,
}

/// What the page's form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    level: String,
    #[serde(rename = "for", default)]
    time: String,
}

/// As JSON on a line of its own: it is mostly read in a terminal.
impl IntoResponse for InEffect {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self) {
            Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

pub(super) async fn show(State(control): State<LevelControl>) -> InEffect {
    control.in_effect()
}

pub(super) async fn put(
    State(control): State<LevelControl>,
    ConnectInfo(peer): Peer,
    Query(While { time }): Query<While>,
    body: String,
) -> Result<InEffect> {
    const EXAMPLE: &str = "curl -X PUT 'localhost:9090/log-level?for=15m' --data 'info,covet_data=debug'";
    let refused = |reason| Error::bad_request(format!("{reason}. For example: {EXAMPLE}"));
    let (levels, time) = read(&body, time.as_deref()).map_err(refused)?;
    control.change(levels, time, Who::Operator(peer.ip()));
    Ok(control.in_effect())
}

pub(super) async fn reset(State(control): State<LevelControl>, ConnectInfo(peer): Peer) -> InEffect {
    control.change(control.configured.clone(), None, Who::Operator(peer.ip()));
    control.in_effect()
}

/// From the page's form; back to the page.
pub(super) async fn from_form(
    State(context): State<Context>,
    State(control): State<LevelControl>,
    ConnectInfo(peer): Peer,
    Form(Change { level, time }): Form<Change>,
) -> Response {
    let time = Some(time.trim()).filter(|time| !time.is_empty());
    match read(&level, time) {
        Ok((levels, time)) => {
            control.change(levels, time, Who::Operator(peer.ip()));
            Redirect::to("/#log-levels").into_response()
        }
        Err(reason) => {
            let page = index::with_problem(&context, &control, &level, &reason).await;
            (http::StatusCode::BAD_REQUEST, page).into_response()
        }
    }
}

/// Levels and time, or what is wrong with them.
fn read(level: &str, time: Option<&str>) -> Result<(Levels, Option<Duration>), String> {
    let level = level.trim();
    if level.is_empty() {
        return Err("No level: expected what LOG_LEVEL takes, such as info,covet_data=debug".to_owned());
    }
    let levels = level.parse().map_err(|reason| format!("Wrong level: {reason}"))?;
    let Some(time) = time else { return Ok((levels, None)) };
    let parsed = Duration::parse(time).map_err(|reason| format!("Wrong time: {reason}"))?;
    if !(SHORTEST..=LONGEST).contains(&parsed) {
        return Err(format!("Wrong time: expected 1s to 24h, or none for a change that lasts, got {time:?}"));
    }
    Ok((levels, Some(parsed)))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use covet_core::settings::{Section as _, Sources};
    use covet_telemetry::logging::Logging;
    use covet_telemetry::settings::LogSettings;

    use super::*;

    const OPERATOR: Who = Who::Operator(IpAddr::V4(Ipv4Addr::LOCALHOST));
    const A_WHILE: Option<Duration> = Some(Duration::from_secs(60));

    fn control() -> (Logging, LevelControl) {
        let settings = LogSettings::load(Sources::of([("LOG_FILE", "/dev/null"), ("COVET_LOG__STDOUT", "false")]));
        let logging = Logging::start(&settings.unwrap(), "covet", Clock::system()).unwrap();
        let control = LevelControl::new(logging.levels(), Clock::system());
        (logging, control)
    }

    fn levels(text: &str) -> Levels {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_for_a_while_goes_back_by_itself() {
        let (_logging, control) = control();
        control.change(levels("debug"), A_WHILE, OPERATOR);
        let in_effect = control.in_effect();
        assert_eq!((in_effect.level.as_str(), in_effect.configured.as_str()), ("debug", "info"));
        assert!(in_effect.until.is_some());
        tokio::time::sleep(Duration::from_secs(61)).await;
        let in_effect = control.in_effect();
        assert_eq!((in_effect.level.as_str(), in_effect.until), ("info", None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_change_undoes_no_later_one() {
        let (_logging, control) = control();
        control.change(levels("debug"), A_WHILE, OPERATOR);
        control.change(levels("warn"), None, OPERATOR);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(control.in_effect().level, "warn", "a change that lasts, lasts");
        control.change(levels("trace"), A_WHILE, OPERATOR);
        tokio::time::sleep(Duration::from_secs(30)).await;
        control.change(levels("debug"), A_WHILE, OPERATOR);
        tokio::time::sleep(Duration::from_secs(45)).await;
        assert_eq!(control.in_effect().level, "debug", "the second has its own time");
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(control.in_effect().level, "warn", "and goes back to what lasted");
    }

    #[test]
    fn mistakes_are_told() {
        for (level, time, part) in [
            ("loud", None, "expected off, error, warn, info, debug or trace, got \"loud\""),
            (" \n", None, "No level"),
            ("info", Some("15"), "such as 15s or 15m"),
            ("info", Some("0s"), "1s to 24h"),
            ("info", Some("2d"), "1s to 24h"),
        ] {
            let reason = read(level, time).unwrap_err();
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!(read("info,covet_data=debug\n", Some("15m")).unwrap().1, Some(Duration::from_secs(900)));
    }
}
