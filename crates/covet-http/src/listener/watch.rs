//! The timers of connections, without a timer each.
//!
//! A connection notes what it is doing and since when, in the coarse time of its worker. Four times a second the
//! worker looks at all of its connections and gives a verdict where a limit has passed. Arming hyper's own
//! header timer for every request costs several times more than all of this.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use covet_core::lifecycle::{Lifecycle, Phase};
use futures_util::task::AtomicWaker;

/// How often a worker looks at its connections.
pub(super) const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// How long a connection of HTTP/1.1 is idle before it puts its buffers away (see `connection.rs`). A client that comes back
/// sooner finds them.
const REST_AFTER: Duration = Duration::from_secs(5);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Doing {
    /// Between requests, or before the first byte of the first one.
    Idle = 0,
    /// The head of a request is arriving.
    Head = 1,
    /// A request is being answered.
    Request = 2,
}

/// What a connection is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verdict {
    /// Finish the request at hand, then close.
    Finish = 1,
    /// The head took too long.
    HeadTooSlow = 2,
    /// Close now.
    Abort = 3,
}

/// One connection's notes. Written by the connection, read by the sweep of its worker.
#[derive(Debug)]
pub(super) struct ConnectionWatch {
    now: Arc<CoarseTime>,
    lifecycle: Lifecycle,
    opened_ms: u64,
    /// Own limit of age, with its random part; 0 for none.
    age_limit_ms: u64,
    doing: AtomicU8,
    since_ms: AtomicU64,
    /// When the client stopped taking in bytes; 0 while it takes them.
    blocked_since_ms: AtomicU64,
    requests: AtomicU32,
    has_heads: AtomicBool,
    close_after_response: AtomicBool,
    /// Asked to put its buffers away.
    rest: AtomicBool,
    verdict: AtomicU8,
    task: AtomicWaker,
}

/// A worker's time in milliseconds since it started, exact to one sweep.
#[derive(Debug, Default)]
pub(super) struct CoarseTime(AtomicU64);

impl CoarseTime {
    pub(super) fn set(&self, elapsed: Duration) {
        // 0 means "not blocked", so time begins at 1.
        self.0.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl ConnectionWatch {
    pub(super) fn new(now: Arc<CoarseTime>, lifecycle: Lifecycle, max_age: Duration) -> Self {
        let age = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let opened_ms = now.get();
        Self {
            now,
            lifecycle,
            opened_ms,
            // Connections opened together must not come back together.
            age_limit_ms: age - fastrand::u64(0..=age / 10),
            doing: AtomicU8::new(Doing::Idle as u8),
            since_ms: AtomicU64::new(opened_ms),
            blocked_since_ms: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            has_heads: AtomicBool::new(true),
            close_after_response: AtomicBool::new(false),
            rest: AtomicBool::new(false),
            verdict: AtomicU8::new(0),
            task: AtomicWaker::new(),
        }
    }

    /// A request's head is complete.
    pub(super) fn request_started(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.note(Doing::Request);
    }

    /// A response is out.
    pub(super) fn request_finished(&self) {
        // HTTP/2 has several at once.
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            self.note(Doing::Idle);
        }
    }

    /// Whether the connection should end with this response.
    pub(super) fn should_close(&self) -> bool {
        self.close_after_response.load(Relaxed) || self.lifecycle.phase() >= Phase::Draining
    }

    /// Whether a response can say that it is the last, and a head can be too slow.
    pub(super) fn is_http1(&self) -> bool {
        self.has_heads.load(Relaxed)
    }

    /// Whether the connection should put its buffers away: it was asked to, and nothing has come since.
    pub(super) fn should_rest(&self) -> bool {
        self.rest.load(Relaxed) && self.doing.load(Relaxed) == Doing::Idle as u8
    }

    /// The connection has its buffers again, or never put them away.
    pub(super) fn rested(&self) {
        self.rest.store(false, Relaxed);
    }

    /// HTTP/2: bytes between requests are frames that keep the connection, not the beginning of a head.
    pub(super) fn has_no_heads(&self) {
        self.has_heads.store(false, Relaxed);
    }

    /// Bytes came in.
    pub(super) fn received(&self) {
        if self.doing.load(Relaxed) == Doing::Idle as u8 && self.has_heads.load(Relaxed) {
            self.note(Doing::Head);
        }
    }

    /// Bytes went out, or could not.
    pub(super) fn sent(&self, blocked: bool) {
        if blocked {
            if self.blocked_since_ms.load(Relaxed) == 0 {
                self.blocked_since_ms.store(self.now.get(), Relaxed);
            }
        } else if self.blocked_since_ms.load(Relaxed) != 0 {
            self.blocked_since_ms.store(0, Relaxed);
        }
    }

    fn note(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
        self.since_ms.store(self.now.get(), Relaxed);
    }

    /// Registers the task to wake, and says what it has been told.
    pub(super) fn verdict(&self, waker: &Waker) -> Option<Verdict> {
        self.task.register(waker);
        match self.verdict.load(Relaxed) {
            1 => Some(Verdict::Finish),
            2 => Some(Verdict::HeadTooSlow),
            3 => Some(Verdict::Abort),
            _ => None,
        }
    }

    fn ask_to_rest(&self) {
        if self.has_heads.load(Relaxed) && !self.rest.swap(true, Relaxed) {
            self.task.wake();
        }
    }

    fn tell(&self, verdict: Verdict) {
        self.close_after_response.store(true, Relaxed);
        if self.verdict.fetch_max(verdict as u8, Relaxed) < verdict as u8 {
            self.task.wake();
        }
    }
}

/// Limits that the sweep keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
}

/// Which timer ended how many connections in one sweep.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swept {
    pub(super) head: u64,
    pub(super) idle: u64,
    pub(super) age: u64,
}

/// All connections of one worker.
#[derive(Debug, Default)]
pub(super) struct Watched {
    connections: Mutex<HashMap<u64, Arc<ConnectionWatch>>>,
}

impl Watched {
    pub(super) fn add(&self, id: u64, watch: Arc<ConnectionWatch>) {
        self.lock().insert(id, watch);
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Looks at every connection once.
    pub(super) fn sweep(&self, now: &CoarseTime, limits: Limits) -> Swept {
        let now = now.get();
        let passed = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) >= limit.as_millis();
        let mut swept = Swept::default();
        for watch in self.lock().values() {
            if watch.verdict.load(Relaxed) >= Verdict::HeadTooSlow as u8 {
                continue;
            }
            let told = watch.verdict.load(Relaxed) != 0;
            let since = watch.since_ms.load(Relaxed);
            let blocked = watch.blocked_since_ms.load(Relaxed);
            if blocked != 0 && passed(blocked, limits.idle) {
                swept.idle += 1;
                watch.tell(Verdict::Abort);
                continue;
            }
            match watch.doing.load(Relaxed) {
                doing if doing == Doing::Head as u8 && passed(since, limits.head) => {
                    swept.head += 1;
                    watch.tell(Verdict::HeadTooSlow);
                }
                doing if doing == Doing::Idle as u8 && !told && blocked == 0 && passed(since, limits.idle) => {
                    swept.idle += 1;
                    watch.tell(Verdict::Finish);
                }
                doing if doing == Doing::Idle as u8 && blocked == 0 && passed(since, REST_AFTER) => watch.ask_to_rest(),
                _ => {}
            }
            let old = watch.age_limit_ms != 0 && now.saturating_sub(watch.opened_ms) >= watch.age_limit_ms;
            if old && watch.verdict.load(Relaxed) == 0 {
                swept.age += 1;
                watch.tell(Verdict::Finish);
            }
        }
        swept
    }

    /// The service stops: no connection outlives its next response. HTTP/2 can say so at once; an idle connection of
    /// HTTP/1.1 cannot, and a request may be on its way to it: it is given a moment before [`Self::finish_all`].
    pub(super) fn last_call(&self) {
        for watch in self.lock().values() {
            watch.close_after_response.store(true, Relaxed);
            if !watch.has_heads.load(Relaxed) {
                watch.tell(Verdict::Finish);
            }
        }
    }

    /// Tells every connection to finish.
    pub(super) fn finish_all(&self) {
        self.lock().values().for_each(|watch| watch.tell(Verdict::Finish));
    }

    /// Tells every connection to close now.
    pub(super) fn abort_all(&self) {
        self.lock().values().for_each(|watch| watch.tell(Verdict::Abort));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<ConnectionWatch>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { head: Duration::from_secs(10), idle: Duration::from_secs(75) };

    fn connection(max_age: Duration) -> (Arc<CoarseTime>, Watched, Arc<ConnectionWatch>) {
        let now = Arc::<CoarseTime>::default();
        now.set(Duration::ZERO);
        let watch = Arc::new(ConnectionWatch::new(Arc::clone(&now), Lifecycle::new(), max_age));
        let watched = Watched::default();
        watched.add(1, Arc::clone(&watch));
        (now, watched, watch)
    }

    fn verdict(watch: &ConnectionWatch) -> Option<Verdict> {
        watch.verdict(Waker::noop())
    }

    #[test]
    fn a_head_that_trickles_is_cut_at_its_limit_whatever_still_arrives() {
        let (now, watched, watch) = connection(Duration::ZERO);
        watch.received();
        for second in 1..10 {
            now.set(Duration::from_secs(second));
            watch.received();
            assert_eq!(watched.sweep(&now, LIMITS), Swept::default());
        }
        now.set(Duration::from_secs(11));
        assert_eq!(watched.sweep(&now, LIMITS).head, 1);
        assert_eq!(verdict(&watch), Some(Verdict::HeadTooSlow));
        assert_eq!(watched.sweep(&now, LIMITS), Swept::default(), "told once");
    }

    #[test]
    fn frames_of_http2_between_requests_are_no_slow_head() {
        let (now, watched, watch) = connection(Duration::ZERO);
        watch.has_no_heads();
        watch.received();
        now.set(Duration::from_secs(30));
        watch.received();
        assert_eq!(watched.sweep(&now, LIMITS), Swept::default());
        now.set(Duration::from_secs(76));
        assert_eq!(watched.sweep(&now, LIMITS).idle, 1);
    }

    #[test]
    fn an_idle_connection_rests_until_its_next_request() {
        let (now, watched, watch) = connection(Duration::ZERO);
        watch.request_started();
        now.set(Duration::from_secs(6));
        watched.sweep(&now, LIMITS);
        assert!(!watch.should_rest(), "a request is in progress");
        watch.request_finished();
        watched.sweep(&now, LIMITS);
        assert!(!watch.should_rest(), "idle since just now");
        now.set(Duration::from_secs(12));
        watched.sweep(&now, LIMITS);
        assert!(watch.should_rest());
        watch.received();
        assert!(!watch.should_rest(), "bytes came first");
        watch.rested();
        watch.request_started();
        watch.request_finished();
        watch.sent(true);
        now.set(Duration::from_secs(20));
        watched.sweep(&now, LIMITS);
        assert!(!watch.should_rest(), "the client has not taken in its answer");
    }

    #[test]
    fn a_request_in_progress_is_never_idle() {
        let (now, watched, watch) = connection(Duration::ZERO);
        watch.received();
        watch.request_started();
        now.set(Duration::from_secs(1_000));
        assert_eq!(watched.sweep(&now, LIMITS), Swept::default());
        watch.request_finished();
        now.set(Duration::from_secs(1_076));
        assert_eq!(watched.sweep(&now, LIMITS).idle, 1);
        assert_eq!(verdict(&watch), Some(Verdict::Finish));
    }

    #[test]
    fn a_client_that_takes_nothing_in_is_aborted_and_one_that_does_is_not() {
        let (now, watched, watch) = connection(Duration::ZERO);
        watch.request_started();
        watch.sent(true);
        now.set(Duration::from_secs(50));
        watch.sent(false);
        watch.sent(true);
        now.set(Duration::from_secs(100));
        assert_eq!(watched.sweep(&now, LIMITS), Swept::default());
        now.set(Duration::from_secs(126));
        assert_eq!(watched.sweep(&now, LIMITS).idle, 1);
        assert_eq!(verdict(&watch), Some(Verdict::Abort));
    }

    #[test]
    fn an_old_connection_closes_after_its_response() {
        let (now, watched, watch) = connection(Duration::from_secs(3_600));
        watch.request_started();
        now.set(Duration::from_secs(3_601));
        assert_eq!(watched.sweep(&now, LIMITS).age, 1);
        assert_eq!(verdict(&watch), Some(Verdict::Finish));
        assert!(watch.should_close());
    }
}
