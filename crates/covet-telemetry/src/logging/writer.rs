//! The thread that writes lines, so that nobody else waits for a disk or a terminal.
//!
//! Whoever has lines hands them over without waiting. What waits to be written is bounded in bytes; when the
//! bound is reached, further lines are dropped and counted. Lines are handed over whole and written whole. A gap in the
//! log says so itself: as soon as lines can be written again, one tells how many were lost, and why.
//!
//! Lines of the security and audit streams have a reserve beyond the bound, so that nobody can push them out by filling
//! the log.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::stream::Stream;
use crate::metrics::{Collector, Exposition};

crate::declare_metrics! {
    /// Log.
    pub(crate) ALL;

    /// Log lines written.
    counter LINES_WRITTEN_TOTAL = "log_lines_written_total" {};
    /// Log lines that did not get everywhere they should, by reason: the buffer was full, writing failed, the log was
    /// already closed.
    counter LINES_DROPPED_TOTAL = "log_lines_dropped_total" {reason};
}

/// How much is put together for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Buffers of at least this capacity are used again.
const POOLED_BYTES: usize = 32 * 1024;
const POOLED: usize = 16;

/// Of the bound, what lines of the security and audit streams may take beyond it.
const RESERVE: usize = 4;

/// Where lines end up.
pub(super) trait Sink: Send {
    /// Writes whole lines.
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten>;
    /// Its name for an error message.
    fn name(&self) -> String;
}

/// A sink could not write all it was given.
#[derive(Debug)]
pub(super) struct NotWritten {
    /// How many of the lines are lost.
    pub(super) lines: u64,
    pub(super) error: io::Error,
}

impl NotWritten {
    /// None of `rest`, or not all of its first line, was written.
    pub(super) fn of(rest: &[u8], error: io::Error) -> Self {
        let lines = rest.iter().filter(|byte| **byte == b'\n').count();
        Self { lines: lines as u64, error }
    }
}

/// The places that lines go to.
#[derive(Default)]
pub(super) struct Sinks {
    /// Those that every line goes to.
    pub(super) log: Vec<Box<dyn Sink>>,
    /// Where lines of the security stream go too.
    pub(super) security: Option<Box<dyn Sink>>,
    /// Where lines of the audit stream go too.
    pub(super) audit: Option<Box<dyn Sink>>,
}

/// Makes the line that tells of lost ones: why, and how many.
pub(super) type TellOfGap = Box<dyn Fn(&'static str, u64) -> Vec<u8> + Send>;

/// Hands lines over to the thread. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: Sender<Message>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes handed over and not yet written.
    queued_bytes: AtomicUsize,
    limit_bytes: usize,
    closed: AtomicBool,
    written: AtomicU64,
    dropped: [AtomicU64; 3],
    /// Empty buffers.
    pool: Mutex<Vec<Vec<u8>>>,
}

#[derive(Debug, Clone, Copy)]
enum Loss {
    BufferFull,
    WriteFailed,
    Closed,
}

const LOSSES: [(Loss, &str); 3] =
    [(Loss::BufferFull, "buffer_full"), (Loss::WriteFailed, "write_failed"), (Loss::Closed, "closed")];

impl Loss {
    fn reason(self) -> &'static str {
        LOSSES[self as usize].1
    }
}

enum Message {
    Lines { stream: Stream, text: Vec<u8>, count: u64 },
    Flush { done: Sender<()> },
    Stop { done: Sender<()> },
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(sinks: Sinks, limit_bytes: usize, tell: TellOfGap) -> io::Result<Self> {
        let (writer, thread) = Self::new(sinks, limit_bytes, tell);
        thread::Builder::new().name("covet-log".to_owned()).spawn(|| thread.run())?;
        Ok(writer)
    }

    fn new(sinks: Sinks, limit_bytes: usize, tell: TellOfGap) -> (Self, WriterThread) {
        let (queue, messages) = unbounded();
        let state = Arc::new(State {
            queued_bytes: AtomicUsize::new(0),
            limit_bytes,
            closed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped: Default::default(),
            pool: Mutex::default(),
        });
        let thread = WriterThread::new(messages, sinks, Arc::clone(&state), tell);
        (Self { queue, state }, thread)
    }

    /// Hands `count` whole lines of the log over. Never waits.
    pub(super) fn send(&self, text: Vec<u8>, count: u64) {
        self.send_to(Stream::Log, text, count);
    }

    /// Hands `count` whole lines of a stream over. Never waits.
    pub(super) fn send_to(&self, stream: Stream, text: Vec<u8>, count: u64) {
        let bytes = text.len();
        let limit = match stream {
            Stream::Log => self.state.limit_bytes,
            Stream::Security | Stream::Audit => self.state.limit_bytes + self.state.limit_bytes / RESERVE,
        };
        if self.state.closed.load(Relaxed) {
            self.state.lost(Loss::Closed, count);
        } else if self.state.queued_bytes.fetch_add(bytes, Relaxed) + bytes > limit {
            self.state.queued_bytes.fetch_sub(bytes, Relaxed);
            self.state.lost(Loss::BufferFull, count);
            self.state.give_back(text);
        } else if self.queue.send(Message::Lines { stream, text, count }).is_err() {
            self.state.lost(Loss::Closed, count);
        }
    }

    /// An empty buffer, if possible one that has been used before.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.state.pool().pop().unwrap_or_default()
    }

    /// Waits until what has been handed over so far is written. False when that took longer than `within`.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let (done, wait) = bounded(1);
        self.queue.send(Message::Flush { done }).is_ok() && wait.recv_timeout(within).is_ok()
    }

    /// Takes no more lines, and waits until those handed over are written. False when that took longer than
    /// `within`; true also when it was stopped before.
    pub(super) fn stop(&self, within: Duration) -> bool {
        if self.state.closed.swap(true, Relaxed) {
            return true;
        }
        let (done, wait) = bounded(1);
        self.queue.send(Message::Stop { done }).is_ok() && wait.recv_timeout(within).is_ok()
    }
}

impl State {
    fn lost(&self, loss: Loss, count: u64) {
        self.dropped[loss as usize].fetch_add(count, Relaxed);
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut pool = self.pool();
        if buffer.capacity() >= POOLED_BYTES && pool.len() < POOLED {
            buffer.clear();
            pool.push(buffer);
        }
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Writer {
    fn name(&self) -> &'static str {
        "log"
    }

    fn collect(&self, out: &mut Exposition) {
        out.counter(LINES_WRITTEN_TOTAL, &[], self.state.written.load(Relaxed));
        for (loss, reason) in LOSSES {
            out.counter(LINES_DROPPED_TOTAL, &[reason], self.state.dropped[loss as usize].load(Relaxed));
        }
    }
}

struct WriterThread {
    messages: Receiver<Message>,
    log: Vec<Destination>,
    security: Option<Destination>,
    audit: Option<Destination>,
    state: Arc<State>,
    tell: TellOfGap,
    /// How many of the lines lost to a full buffer have been told of.
    told_lost: u64,
    /// Lines put together for one write.
    text: Vec<u8>,
    lines: u64,
    /// Who waits for the end, once it has been asked for.
    stopped: Option<Sender<()>>,
}

impl WriterThread {
    fn new(messages: Receiver<Message>, sinks: Sinks, state: Arc<State>, tell: TellOfGap) -> Self {
        Self {
            messages,
            log: sinks.log.into_iter().map(Destination::new).collect(),
            security: sinks.security.map(Destination::new),
            audit: sinks.audit.map(Destination::new),
            state,
            tell,
            told_lost: 0,
            text: Vec::new(),
            lines: 0,
            stopped: None,
        }
    }

    fn run(mut self) {
        while let Ok(message) = self.messages.recv() {
            self.handle(message);
            // What else is there by now goes out with it; after a stop, what was on its way when it came.
            self.catch_up();
            if let Some(done) = self.stopped {
                let _ = done.send(());
                return;
            }
        }
    }

    /// Writes what has been handed over.
    fn catch_up(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.handle(message);
        }
        self.write();
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Lines { stream, text, count } => self.take(stream, text, count),
            Message::Flush { done } => {
                self.write();
                let _ = done.send(());
            }
            Message::Stop { done } => self.stopped = Some(done),
        }
    }

    fn take(&mut self, stream: Stream, mut text: Vec<u8>, count: u64) {
        let own = match stream {
            Stream::Log => None,
            Stream::Security => self.security.as_mut(),
            Stream::Audit => self.audit.as_mut(),
        };
        if let Some(own) = own {
            own.waiting.extend_from_slice(&text);
        }
        if self.text.is_empty() {
            std::mem::swap(&mut self.text, &mut text);
        } else {
            self.text.extend_from_slice(&text);
        }
        self.state.give_back(text);
        self.lines += count;
        if self.text.len() >= WRITE_BYTES {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let queued = self.text.len();
        let lost = self.state.dropped[Loss::BufferFull as usize].load(Relaxed);
        if lost > self.told_lost {
            self.text.extend_from_slice(&(self.tell)(Loss::BufferFull.reason(), lost - self.told_lost));
            self.lines += 1;
            self.told_lost = lost;
        }
        let mut lost = 0;
        for destination in &mut self.log {
            lost = destination.write(&self.text, &self.tell).max(lost);
        }
        for own in [&mut self.security, &mut self.audit].into_iter().flatten() {
            let waiting = std::mem::take(&mut own.waiting);
            lost = own.write(&waiting, &self.tell).max(lost);
            own.waiting = waiting;
            own.waiting.clear();
        }
        self.state.lost(Loss::WriteFailed, lost);
        self.state.written.fetch_add(self.lines.saturating_sub(lost), Relaxed);
        self.state.queued_bytes.fetch_sub(queued, Relaxed);
        self.text.clear();
        self.lines = 0;
    }
}

/// A sink and how it fares.
struct Destination {
    sink: Box<dyn Sink>,
    /// Lines of its own stream, put together for one write.
    waiting: Vec<u8>,
    /// Lines lost and not yet told of.
    lost: u64,
    /// Whether its last write failed.
    failed: bool,
}

impl Destination {
    fn new(sink: Box<dyn Sink>) -> Self {
        Self { sink, waiting: Vec::new(), lost: 0, failed: false }
    }

    /// Writes whole lines and returns how many of them are lost.
    fn write(&mut self, lines: &[u8], tell: &TellOfGap) -> u64 {
        if lines.is_empty() {
            return 0;
        }
        let told = match self.lost {
            0 => Ok(()),
            lost => self.sink.write_lines(&tell(Loss::WriteFailed.reason(), lost)),
        };
        let written = match told {
            Ok(()) => {
                self.lost = 0;
                self.sink.write_lines(lines)
            }
            // Still not.
            Err(NotWritten { error, .. }) => Err(NotWritten::of(lines, error)),
        };
        let Err(NotWritten { lines: lost, error }) = written else {
            self.failed = false;
            return 0;
        };
        if !std::mem::replace(&mut self.failed, true) {
            // There is no log to say it in. Once, until it works again.
            let _ = writeln!(io::stderr(), "covet: cannot log to {}: {error}", self.sink.name());
        }
        self.lost += lost;
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Sink for Memory {
        fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
            self.0.lock().unwrap().extend_from_slice(lines);
            Ok(())
        }

        fn name(&self) -> String {
            "memory".to_owned()
        }
    }

    /// Writes only when allowed to, like a terminal that is held up.
    struct HeldUp(Receiver<()>);

    impl Sink for HeldUp {
        fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
            self.0.recv().map_err(|error| NotWritten::of(lines, io::Error::other(error)))
        }

        fn name(&self) -> String {
            "held up".to_owned()
        }
    }

    fn start(log: Vec<Box<dyn Sink>>, limit_bytes: usize) -> Writer {
        start_with(Sinks { log, ..Sinks::default() }, limit_bytes)
    }

    fn start_with(sinks: Sinks, limit_bytes: usize) -> Writer {
        Writer::start(sinks, limit_bytes, tell_of_gap()).unwrap()
    }

    /// The thread's work is done when the test says so.
    fn new(log: Vec<Box<dyn Sink>>, limit_bytes: usize) -> (Writer, WriterThread) {
        Writer::new(Sinks { log, ..Sinks::default() }, limit_bytes, tell_of_gap())
    }

    fn tell_of_gap() -> TellOfGap {
        Box::new(|reason, lines| format!("lost {lines} {reason}\n").into_bytes())
    }

    impl Memory {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn dropped(writer: &Writer, loss: Loss) -> u64 {
        writer.state.dropped[loss as usize].load(Relaxed)
    }

    #[test]
    fn lines_are_written_in_order_and_all_at_the_end() {
        let memory = Memory::default();
        let writer = start(vec![Box::new(memory.clone())], 1 << 20);
        for number in 0..1000 {
            writer.send(format!("{number}\n").into_bytes(), 1);
        }
        assert!(writer.flush(LONG));
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(memory.0.lock().unwrap().as_slice(), expected.as_bytes());
        assert_eq!(writer.state.queued_bytes.load(Relaxed), 0);
    }

    #[test]
    fn nobody_waits_for_a_sink_that_hangs_and_what_does_not_fit_is_counted() {
        let (release, held_up) = unbounded();
        let writer = start(vec![Box::new(HeldUp(held_up))], 1000);
        for _ in 0..50 {
            writer.send([&[b'x'; 99][..], b"\n"].concat(), 1);
        }
        assert_eq!(dropped(&writer, Loss::BufferFull), 40);
        assert!(!writer.flush(Duration::from_millis(1)));
        drop(release);
        assert!(writer.flush(LONG));
        assert_eq!(dropped(&writer, Loss::WriteFailed), 11, "ten, and the line that told of the forty");
    }

    #[test]
    fn a_failing_sink_does_not_keep_lines_from_the_other() {
        let memory = Memory::default();
        let (release, held_up) = unbounded();
        drop(release);
        let writer = start(vec![Box::new(HeldUp(held_up)), Box::new(memory.clone())], 1000);
        writer.send(b"line\n".to_vec(), 1);
        assert!(writer.flush(LONG));
        assert_eq!(memory.0.lock().unwrap().as_slice(), b"line\n");
        assert_eq!(dropped(&writer, Loss::WriteFailed), 1);
    }

    #[test]
    fn stopping_writes_what_is_there_and_later_lines_are_counted_as_lost() {
        let memory = Memory::default();
        let writer = start(vec![Box::new(memory.clone())], 1 << 20);
        for _ in 0..100 {
            writer.send(b"line\n".to_vec(), 1);
        }
        assert!(writer.stop(LONG));
        assert_eq!(memory.0.lock().unwrap().len(), 500);
        writer.send(b"late\n".to_vec(), 1);
        assert_eq!(dropped(&writer, Loss::Closed), 1);
        assert!(writer.stop(LONG), "stopping twice does no harm");
        assert!(!writer.flush(LONG), "there is nobody left to flush");
    }

    #[test]
    fn stopping_is_not_cut_short_by_somebody_who_flushes() {
        let memory = Memory::default();
        let (release, held_up) = unbounded();
        let writer = start(vec![Box::new(HeldUp(held_up)), Box::new(memory.clone())], 1 << 20);
        writer.send(b"first\n".to_vec(), 1);
        let queue = |message| writer.queue.send(message).unwrap();
        let ((flushed, flush_done), (stopped, stop_done)) = (bounded(1), bounded(1));
        queue(Message::Stop { done: stopped });
        queue(Message::Flush { done: flushed });
        queue(Message::Lines { stream: Stream::Log, text: b"second\n".to_vec(), count: 1 });
        drop(release);
        assert!(stop_done.recv_timeout(LONG).is_ok() && flush_done.recv_timeout(LONG).is_ok());
        assert_eq!(memory.0.lock().unwrap().as_slice(), b"first\nsecond\n");
    }

    #[test]
    fn large_buffers_are_used_again() {
        let writer = start(vec![], 1 << 20);
        for _ in 0..3 {
            writer.send(Vec::with_capacity(POOLED_BYTES), 0);
        }
        assert!(writer.flush(LONG));
        assert!(writer.buffer().capacity() >= POOLED_BYTES);
    }

    #[test]
    fn lines_lost_while_others_wait_are_told_of_behind_them() {
        let memory = Memory::default();
        let (writer, mut thread) = new(vec![Box::new(memory.clone())], 20);
        writer.send(b"first 10b\n".to_vec(), 1);
        for _ in 0..5 {
            writer.send(b"0123456789\n".to_vec(), 1);
        }
        thread.catch_up();
        writer.send(b"last\n".to_vec(), 1);
        thread.catch_up();
        assert_eq!(memory.text(), "first 10b\nlost 5 buffer_full\nlast\n");
        assert_eq!(dropped(&writer, Loss::BufferFull), 5);
    }

    #[test]
    fn lines_lost_during_a_write_are_told_of_with_the_next() {
        /// Hands over lines while it is written to for the first time.
        struct Busy(Arc<OnceLock<Writer>>, bool);
        impl Sink for Busy {
            fn write_lines(&mut self, _lines: &[u8]) -> Result<(), NotWritten> {
                if !std::mem::replace(&mut self.1, true) {
                    (0..5).for_each(|_| self.0.get().unwrap().send(b"0123456789\n".to_vec(), 1));
                }
                Ok(())
            }
            fn name(&self) -> String {
                "busy".to_owned()
            }
        }
        let (memory, meanwhile) = (Memory::default(), Arc::new(OnceLock::new()));
        let (writer, mut thread) =
            new(vec![Box::new(Busy(Arc::clone(&meanwhile), false)), Box::new(memory.clone())], 20);
        meanwhile.set(writer.clone()).unwrap();
        writer.send(b"first 10b\n".to_vec(), 1);
        thread.catch_up();
        writer.send(b"last\n".to_vec(), 1);
        thread.catch_up();
        assert_eq!(memory.text(), "first 10b\nlast\nlost 5 buffer_full\n");
        assert_eq!(dropped(&writer, Loss::BufferFull), 5);
    }

    #[test]
    fn a_sink_that_works_again_hears_how_many_lines_it_lacks() {
        struct Flaky(Memory, Arc<AtomicBool>);
        impl Sink for Flaky {
            fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
                match self.1.load(Relaxed) {
                    true => self.0.write_lines(lines),
                    false => Err(NotWritten::of(lines, io::ErrorKind::StorageFull.into())),
                }
            }
            fn name(&self) -> String {
                "flaky".to_owned()
            }
        }
        let (memory, other, works) = (Memory::default(), Memory::default(), Arc::new(AtomicBool::new(true)));
        let flaky = Flaky(memory.clone(), Arc::clone(&works));
        let writer = start(vec![Box::new(flaky), Box::new(other.clone())], 1 << 20);
        for (works_now, line) in [(true, "1\n"), (false, "2\n"), (false, "3\n4\n"), (true, "5\n"), (true, "6\n")] {
            works.store(works_now, Relaxed);
            writer.send(line.as_bytes().to_vec(), line.lines().count() as u64);
            assert!(writer.flush(LONG));
        }
        assert_eq!(memory.text(), "1\nlost 3 write_failed\n5\n6\n");
        assert_eq!(other.text(), "1\n2\n3\n4\n5\n6\n", "the other place lacks nothing");
        assert_eq!(dropped(&writer, Loss::WriteFailed), 3);
        assert_eq!(writer.state.written.load(Relaxed), 3);
    }

    #[test]
    fn lines_of_a_stream_go_to_its_own_place_too_and_are_not_pushed_out_by_the_log() {
        let [all, security, audit] = [(); 3].map(|()| Memory::default());
        let (release, held_up) = unbounded();
        let sinks = Sinks {
            log: vec![Box::new(HeldUp(held_up)), Box::new(all.clone())],
            security: Some(Box::new(security.clone())),
            audit: Some(Box::new(audit.clone())),
        };
        let writer = start_with(sinks, 1000);
        for _ in 0..30 {
            writer.send(vec![b'\n'; 100], 1);
        }
        writer.send_to(Stream::Security, b"login\n".to_vec(), 1);
        writer.send_to(Stream::Audit, b"change\n".to_vec(), 1);
        drop(release);
        assert!(writer.flush(LONG));
        assert_eq!((security.text().as_str(), audit.text().as_str()), ("login\n", "change\n"));
        assert!(all.text().contains("login\nchange\n"));
        assert_eq!(dropped(&writer, Loss::BufferFull), 20);
    }
}
