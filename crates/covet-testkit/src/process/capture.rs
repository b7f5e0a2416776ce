//! The output of a process, read by one thread a stream so that the process never blocks on a full pipe.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The oldest lines go when there are more.
const KEPT_LINES: usize = 100_000;

/// Which stream a line came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

#[derive(Default)]
pub(super) struct Capture {
    lines: Mutex<VecDeque<(Source, String)>>,
    open_streams: AtomicUsize,
}

impl Capture {
    /// Reads `stream` to its end on a thread of its own.
    pub(super) fn read_from(self: &Arc<Self>, source: Source, stream: impl Read + Send + 'static) {
        self.open_streams.fetch_add(1, Ordering::SeqCst);
        let capture = Arc::clone(self);
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                let mut lines = capture.locked();
                if lines.len() == KEPT_LINES {
                    lines.pop_front();
                }
                lines.push_back((source, text));
                drop(lines);
                line.clear();
            }
            capture.open_streams.fetch_sub(1, Ordering::SeqCst);
        });
    }

    /// Whether every stream was read to its end.
    pub(super) fn ended(&self) -> bool {
        self.open_streams.load(Ordering::SeqCst) == 0
    }

    /// The kept lines, of one stream or of both.
    pub(super) fn lines(&self, of: Option<Source>) -> Vec<String> {
        let lines = self.locked();
        lines.iter().filter(|(source, _)| of.is_none_or(|of| of == *source)).map(|(_, line)| line.clone()).collect()
    }

    /// The first kept line that `matches`.
    pub(super) fn find(&self, matches: impl Fn(&str) -> bool) -> Option<String> {
        self.locked().iter().map(|(_, line)| line).find(|line| matches(line)).cloned()
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<(Source, String)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
