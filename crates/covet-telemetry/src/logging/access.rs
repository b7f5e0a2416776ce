//! The line of every request: written by hand into a buffer of the thread, as it is the one line that counts.
//!
//! Always at INFO, whatever the status: the status tells how it went, and a handler that fails logs an ERROR of
//! its own. With the logger `covet.api` above INFO (`LOG_LEVEL=info,covet.api=warn`) no line is built.
//!
//! The path is logged without its query string, which may hold personal data and secrets. Very long paths and
//! user agents are cut.
//!
//! | field | meaning |
//! |---|---|
//! | `timestamp`, `level`, `logger`, `service`, `message` | as in every line; `INFO`, `covet.api`, `HTTP request completed` |
//! | `request_id` | as answered in `x-request-id` |
//! | `method`, `path`, `status_code` | what was asked and answered |
//! | `duration_seconds` | from the request's head to the answer's end, to the microsecond |
//! | `route` | the route's template |
//! | `request_bytes`, `response_bytes` | sizes of the bodies |
//! | `ip_address` | of the client, as far as it can be trusted and the policy says |
//! | `user_id` | only when somebody is signed in |
//! | `user_agent`, `protocol` | as the client said |
//! | `trace_id`, `span_id` | only when the request is part of a trace |
//! | `db_count`, `db_duration_seconds` | statements the database ran for it and their time; only when there were any |
//! | `cache_count`, `cache_duration_seconds` | the same of the cache |

mod line;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use self::line::{push_human_line, push_json_line};
use super::layer::{LineFormat, Look, Shared};
use super::timestamp::TimeText;
use crate::request::RequestScope;

/// Lines of a thread are handed over at this size, or by [`flush_thread`].
const HAND_OVER_BYTES: usize = 60 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;

/// A request and its answer.
#[derive(Debug, Clone, Copy)]
pub struct AccessLine<'a> {
    /// When the answer ended, in milliseconds since 1970-01-01 UTC.
    pub unix_millis: u64,
    /// The request: its id, its client, who asked, its trace, and what database and cache did for it.
    pub scope: &'a RequestScope,
    /// The method.
    pub method: &'a str,
    /// The path, without the query string.
    pub path: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// From the request's head to the answer's end.
    pub duration: Duration,
    /// The route's template.
    pub route: &'a str,
    /// Size of the request's body.
    pub request_bytes: u64,
    /// Size of the answer's body.
    pub response_bytes: u64,
    /// The `User-Agent` header.
    pub user_agent: &'a str,
    /// Such as `HTTP/1.1`.
    pub protocol: &'a str,
}

/// Writes the line of a request. Costs the calling thread some 100 ns; the line appears when the thread has
/// 60 KiB of them or calls [`flush_thread`], on a terminal at once.
#[inline]
pub fn write(line: &AccessLine<'_>) {
    // An error means that the thread is ending and its buffer is gone.
    let _ = THREAD.try_with(|thread| thread.borrow_mut().write(line));
}

/// True when [`write()`] would write: ask before collecting what a line needs.
#[must_use]
pub fn enabled() -> bool {
    let of_thread = THREAD.try_with(|thread| thread.borrow().log.as_ref().map(AccessLog::enabled)).ok().flatten();
    of_thread.unwrap_or_else(|| INSTALLED.get().is_some_and(AccessLog::enabled))
}

/// Hands over what this thread has written. Workers call it every quarter of a second and before they end.
pub fn flush_thread() {
    let _ = THREAD.try_with(|thread| thread.borrow_mut().flush());
}

/// Where access lines go. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct AccessLog(Arc<Target>);

#[derive(Debug)]
struct Target {
    shared: Arc<Shared>,
    enabled: AtomicBool,
    /// Whether each line is handed over at once.
    at_once: bool,
    /// What stands between time and request id in every line.
    before_id: Vec<u8>,
}

static INSTALLED: OnceLock<AccessLog> = OnceLock::new();

pub(super) fn install(log: AccessLog) {
    let _ = INSTALLED.set(log);
}

/// Makes this thread's lines go there, whatever is installed for the others.
pub(super) fn install_for_thread(log: AccessLog) {
    let _ = THREAD.try_with(|thread| {
        let mut thread = thread.borrow_mut();
        thread.flush();
        thread.log = Some(log);
    });
}

impl AccessLog {
    pub(super) fn new(shared: Arc<Shared>, at_once: bool) -> Self {
        let mut before_id = b"\",\"level\":\"INFO\",\"logger\":\"covet.api\",\"service\":\"".to_vec();
        before_id.extend_from_slice(&shared.format.service_json);
        before_id.extend_from_slice(b"\",\"message\":\"HTTP request completed\",\"request_id\":\"");
        Self(Arc::new(Target { shared, enabled: AtomicBool::new(true), at_once, before_id }))
    }

    fn enabled(&self) -> bool {
        self.0.enabled.load(Relaxed)
    }

    pub(super) fn set_enabled(&self, enabled: bool) {
        self.0.enabled.store(enabled, Relaxed);
    }
}

thread_local! {
    static THREAD: RefCell<ThreadLines> = const { RefCell::new(ThreadLines::new(None)) };
}

/// The lines of one thread.
struct ThreadLines {
    /// Found at the first line.
    log: Option<AccessLog>,
    text: Vec<u8>,
    count: u64,
    time: TimeText,
}

impl ThreadLines {
    const fn new(log: Option<AccessLog>) -> Self {
        Self { log, text: Vec::new(), count: 0, time: TimeText::new() }
    }

    #[inline]
    fn write(&mut self, line: &AccessLine<'_>) {
        if self.log.is_none() {
            self.log = INSTALLED.get().cloned();
        }
        let Self { log: Some(log), text, count, time } = self else { return };
        if !log.enabled() {
            return;
        }
        if text.capacity() == 0 {
            *text = log.0.shared.writer.buffer();
            text.reserve(BUFFER_BYTES);
        }
        let LineFormat { look, policy, .. } = &*log.0.shared.format;
        match *look {
            Look::Json => push_json_line(text, time, &log.0.before_id, &policy.personal, line),
            Look::Human(palette) => push_human_line(text, time, palette, &policy.personal, line),
        }
        *count += 1;
        if text.len() >= HAND_OVER_BYTES || log.0.at_once {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(log) = &self.log
            && !self.text.is_empty()
        {
            log.0.shared.writer.send(std::mem::take(&mut self.text), std::mem::take(&mut self.count));
        }
    }
}

impl Drop for ThreadLines {
    fn drop(&mut self) {
        self.flush();
    }
}
