//! The thread that writes lines, so that nobody else waits for a disk or a terminal.
//!
//! Whoever has lines hands them over without waiting. What waits to be written is bounded in bytes; when the
//! bound is reached, further lines are dropped and counted. Lines are handed over whole and written whole.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::metrics::{Collector, Exposition};

crate::declare_metrics! {
    /// Log.
    pub(crate) ALL;

    /// Log lines written.
    counter LINES_WRITTEN_TOTAL = "log_lines_written_total" {};
    /// Log lines lost, by reason: the buffer was full, writing failed, the log was already closed.
    counter LINES_DROPPED_TOTAL = "log_lines_dropped_total" {reason};
}

/// How much is put together for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Buffers of at least this capacity are used again.
const POOLED_BYTES: usize = 32 * 1024;
const POOLED: usize = 16;

/// Where lines end up.
pub(super) trait Sink: Send {
    /// Writes whole lines.
    fn write_lines(&mut self, lines: &[u8]) -> io::Result<()>;
    /// Its name for an error message.
    fn name(&self) -> String;
}

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

enum Message {
    Lines { text: Vec<u8>, count: u64 },
    Flush { done: Sender<()> },
    Stop { done: Sender<()> },
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(sinks: Vec<Box<dyn Sink>>, limit_bytes: usize) -> io::Result<Self> {
        let (queue, messages) = unbounded();
        let state = Arc::new(State {
            queued_bytes: AtomicUsize::new(0),
            limit_bytes,
            closed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            dropped: Default::default(),
            pool: Mutex::default(),
        });
        let sinks = sinks.into_iter().map(|sink| (sink, false)).collect();
        let thread =
            WriterThread { messages, sinks, state: Arc::clone(&state), text: Vec::new(), lines: 0, stopped: None };
        thread::Builder::new().name("covet-log".to_owned()).spawn(|| thread.run())?;
        Ok(Self { queue, state })
    }

    /// Hands `count` whole lines over. Never waits.
    pub(super) fn send(&self, text: Vec<u8>, count: u64) {
        let bytes = text.len();
        if self.state.closed.load(Relaxed) {
            self.state.lost(Loss::Closed, count);
        } else if self.state.queued_bytes.fetch_add(bytes, Relaxed) + bytes > self.state.limit_bytes {
            self.state.queued_bytes.fetch_sub(bytes, Relaxed);
            self.state.lost(Loss::BufferFull, count);
            self.state.give_back(text);
        } else if self.queue.send(Message::Lines { text, count }).is_err() {
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
    /// Each with whether its last write failed.
    sinks: Vec<(Box<dyn Sink>, bool)>,
    state: Arc<State>,
    /// Lines put together for one write.
    text: Vec<u8>,
    lines: u64,
    /// Who waits for the end, once it has been asked for.
    stopped: Option<Sender<()>>,
}

impl WriterThread {
    fn run(mut self) {
        while let Ok(message) = self.messages.recv() {
            self.handle(message);
            // What else is there by now goes out with it; after a stop, what was on its way when it came.
            while let Ok(message) = self.messages.try_recv() {
                self.handle(message);
            }
            self.write();
            if let Some(done) = self.stopped {
                let _ = done.send(());
                return;
            }
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Lines { text, count } => self.take(text, count),
            Message::Flush { done } => {
                self.write();
                let _ = done.send(());
            }
            Message::Stop { done } => self.stopped = Some(done),
        }
    }

    fn take(&mut self, mut text: Vec<u8>, count: u64) {
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
        let mut all_written = true;
        for (sink, failed) in &mut self.sinks {
            match sink.write_lines(&self.text) {
                Ok(()) => *failed = false,
                Err(error) => {
                    all_written = false;
                    if !*failed {
                        // There is no log to say it in. Once, until it works again.
                        let _ = writeln!(io::stderr(), "covet: cannot log to {}: {error}", sink.name());
                    }
                    *failed = true;
                }
            }
        }
        if all_written {
            self.state.written.fetch_add(self.lines, Relaxed);
        } else {
            self.state.lost(Loss::WriteFailed, self.lines);
        }
        self.state.queued_bytes.fetch_sub(self.text.len(), Relaxed);
        self.text.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Sink for Memory {
        fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
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
        fn write_lines(&mut self, _: &[u8]) -> io::Result<()> {
            self.0.recv().map_err(io::Error::other)
        }

        fn name(&self) -> String {
            "held up".to_owned()
        }
    }

    fn dropped(writer: &Writer, loss: Loss) -> u64 {
        writer.state.dropped[loss as usize].load(Relaxed)
    }

    #[test]
    fn lines_are_written_in_order_and_all_at_the_end() {
        let memory = Memory::default();
        let writer = Writer::start(vec![Box::new(memory.clone())], 1 << 20).unwrap();
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
        let writer = Writer::start(vec![Box::new(HeldUp(held_up))], 1000).unwrap();
        for _ in 0..50 {
            writer.send(vec![b'\n'; 100], 1);
        }
        assert_eq!(dropped(&writer, Loss::BufferFull), 40);
        assert!(!writer.flush(Duration::from_millis(1)));
        drop(release);
        assert!(writer.flush(LONG));
        assert_eq!(dropped(&writer, Loss::WriteFailed), 10);
    }

    #[test]
    fn a_failing_sink_does_not_keep_lines_from_the_other() {
        let memory = Memory::default();
        let (release, held_up) = unbounded();
        drop(release);
        let writer = Writer::start(vec![Box::new(HeldUp(held_up)), Box::new(memory.clone())], 1000).unwrap();
        writer.send(b"line\n".to_vec(), 1);
        assert!(writer.flush(LONG));
        assert_eq!(memory.0.lock().unwrap().as_slice(), b"line\n");
        assert_eq!(dropped(&writer, Loss::WriteFailed), 1);
    }

    #[test]
    fn stopping_writes_what_is_there_and_later_lines_are_counted_as_lost() {
        let memory = Memory::default();
        let writer = Writer::start(vec![Box::new(memory.clone())], 1 << 20).unwrap();
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
        let writer = Writer::start(vec![Box::new(HeldUp(held_up)), Box::new(memory.clone())], 1 << 20).unwrap();
        writer.send(b"first\n".to_vec(), 1);
        let queue = |message| writer.queue.send(message).unwrap();
        let ((flushed, flush_done), (stopped, stop_done)) = (bounded(1), bounded(1));
        queue(Message::Stop { done: stopped });
        queue(Message::Flush { done: flushed });
        queue(Message::Lines { text: b"second\n".to_vec(), count: 1 });
        drop(release);
        assert!(stop_done.recv_timeout(LONG).is_ok() && flush_done.recv_timeout(LONG).is_ok());
        assert_eq!(memory.0.lock().unwrap().as_slice(), b"first\nsecond\n");
    }

    #[test]
    fn large_buffers_are_used_again() {
        let writer = Writer::start(vec![], 1 << 20).unwrap();
        for _ in 0..3 {
            writer.send(Vec::with_capacity(POOLED_BYTES), 0);
        }
        assert!(writer.flush(LONG));
        assert!(writer.buffer().capacity() >= POOLED_BYTES);
    }
}
