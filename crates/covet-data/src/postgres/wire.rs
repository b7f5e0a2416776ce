//! What passes over a connection's wire: how many requests the server has not answered, and since when.
//!
//! The callers of statements cannot tell that: on a busy machine a task looks at its answer long after it came. So the
//! stream under the driver counts itself. Every request ends with `Sync` or is a `Query`, and every answer ends with
//! `ReadyForQuery` (the manual's chapter 55, "Frontend/Backend Protocol"); all messages but the first of a connection are
//! a tag and a length.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

const SYNC: u8 = b'S';
const QUERY: u8 = b'Q';
const READY_FOR_QUERY: u8 = b'Z';
/// Tag and length.
const HEADER: usize = 5;

/// The count of a connection.
#[derive(Debug)]
pub(super) struct Wire {
    unanswered: AtomicUsize,
    /// When the server could begin with the first of them.
    head_since: AtomicU64,
    /// When it was last seen that nothing more had come.
    looked_at: AtomicU64,
    answered_at: AtomicU64,
    clock: Clock,
    epoch: Instant,
}

impl Wire {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        let epoch = clock.monotonic();
        let zero = || AtomicU64::new(0);
        let (head_since, looked_at, answered_at) = (zero(), zero(), zero());
        Arc::new(Self { unanswered: AtomicUsize::new(0), head_since, looked_at, answered_at, clock, epoch })
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        self.micros(self.clock.monotonic())
    }

    /// How long the server has certainly not answered: from when it could begin to when we last looked. Not longer,
    /// whatever keeps us from looking.
    pub(super) fn silent_for(&self) -> Duration {
        if self.unanswered.load(Ordering::Acquire) == 0 {
            return Duration::ZERO;
        }
        let looked_at = self.looked_at.load(Ordering::Acquire);
        Duration::from_micros(looked_at.saturating_sub(self.head_since.load(Ordering::Acquire)))
    }

    /// How long ago the last answer was read.
    pub(super) fn answered_ago(&self, now: Instant) -> Duration {
        Duration::from_micros(self.micros(now).saturating_sub(self.answered_at.load(Ordering::Acquire)))
    }

    /// True if an answer was read not longer ago than this.
    pub(super) fn has_answered_within(&self, period: Duration, now: Instant) -> bool {
        self.answered_at.load(Ordering::Acquire) > 0 && self.answered_ago(now) < period
    }

    /// How long there has been no answer.
    pub(super) fn unanswered_for(&self, now: Instant) -> Duration {
        if self.unanswered.load(Ordering::Acquire) == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(self.micros(now).saturating_sub(self.head_since.load(Ordering::Acquire)))
    }

    fn sent(&self, requests: usize) {
        if requests > 0 && self.unanswered.fetch_add(requests, Ordering::AcqRel) == 0 {
            self.head_since.store(self.now(), Ordering::Release);
        }
    }

    fn answered(&self, requests: usize) {
        if requests > 0 {
            let left = |unanswered: usize| Some(unanswered.saturating_sub(requests));
            let _ = self.unanswered.fetch_update(Ordering::AcqRel, Ordering::Acquire, left);
            let now = self.now();
            self.head_since.store(now, Ordering::Release);
            self.answered_at.store(now, Ordering::Release);
        }
    }

    fn nothing_came(&self) {
        if self.unanswered.load(Ordering::Acquire) > 0 {
            self.looked_at.store(self.now(), Ordering::Release);
        }
    }
}

/// Finds the messages in what passes by.
#[derive(Debug, Default)]
struct Messages {
    header: [u8; HEADER],
    /// Bytes of the header that have passed.
    have: usize,
    /// Bytes that are left of a message, or of what comes before the first.
    skip: usize,
}

impl Messages {
    /// Counts the messages with one of these tags whose header passes.
    fn count(&mut self, mut bytes: &[u8], tags: &[u8]) -> usize {
        let mut count = 0;
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                let [tag, length @ ..] = self.header;
                count += usize::from(tags.contains(&tag));
                // The length counts itself, but not the tag.
                self.skip = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX).saturating_sub(4);
                self.have = 0;
            }
        }
        count
    }
}

/// A stream whose messages are counted.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    wire: Arc<Wire>,
    incoming: Messages,
    outgoing: Messages,
    /// What is sent while the connection is set up has no tags, and is no request.
    set_up: bool,
}

impl<S> Watched<S> {
    /// `asks_for_tls`: the server's first byte answers that, before its first message.
    pub(super) fn new(inner: S, wire: Arc<Wire>, asks_for_tls: bool) -> Self {
        let incoming = Messages { skip: usize::from(asks_for_tls), ..Messages::default() };
        Self { inner, wire, incoming, outgoing: Messages::default(), set_up: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = out.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(context, out);
        match &polled {
            Poll::Pending => this.wire.nothing_came(),
            Poll::Ready(_) => {
                let answered = this.incoming.count(&out.filled()[before..], &[READY_FOR_QUERY]);
                // The first says that the connection is set up.
                let answered =
                    if answered > 0 && !std::mem::replace(&mut this.set_up, true) { answered - 1 } else { answered };
                this.wire.answered(answered);
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_write(context, bytes);
        if let (Poll::Ready(Ok(written)), true) = (&polled, this.set_up) {
            this.wire.sent(this.outgoing.count(&bytes[..*written], &[SYNC, QUERY]));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// TLS over a watched stream: what is watched then is inside of it.
pub(super) struct WatchedTls<T>(pub(super) T);

impl<S, T> TlsConnect<Watched<S>> for WatchedTls<T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Future: Send + 'static,
{
    type Stream = Watched<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: Watched<S>) -> Self::Future {
        let Watched { inner, wire, .. } = stream;
        let connecting = self.0.connect(inner);
        Box::pin(async move { Ok(Watched::new(connecting.await?, wire, false)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let stream =
            [message(b'Z', b"I"), message(b'D', b"ZZZZZZZZZZ"), message(b'C', b""), message(b'Z', b"I")].concat();
        for size in 1..=stream.len() {
            let mut messages = Messages::default();
            let count: usize = stream.chunks(size).map(|chunk| messages.count(chunk, b"Z")).sum();
            assert_eq!(count, 2, "cut to {size} bytes");
        }
        let mut messages = Messages { skip: 1, ..Messages::default() };
        assert_eq!(messages.count(&[b"N".to_vec(), stream].concat(), b"Z"), 2);
    }

    #[test]
    fn silence_is_counted_only_while_somebody_looks() {
        let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
        let wire = Wire::new(clock.clone());
        wire.nothing_came();
        assert_eq!(wire.silent_for(), Duration::ZERO);
        wire.sent(2);
        hand.advance(Duration::from_millis(3));
        assert_eq!(wire.silent_for(), Duration::ZERO, "nobody has looked since");
        wire.nothing_came();
        assert_eq!(wire.silent_for(), Duration::from_millis(3));
        assert_eq!(wire.unanswered_for(clock.monotonic()), Duration::from_millis(3));
        wire.answered(1);
        assert_eq!(wire.silent_for(), Duration::ZERO);
        hand.advance(Duration::from_millis(1));
        wire.nothing_came();
        assert_eq!(wire.silent_for(), Duration::from_millis(1));
        wire.answered(5);
        assert_eq!(wire.unanswered_for(clock.monotonic()), Duration::ZERO);
    }
}
