//! The connections that read, and the threads that run what is not quick.
//!
//! A connection stands in a slot. Thread *n* works with slot *n*; a quick read borrows, for some microseconds, any
//! slot that is free. Threads and connections beyond the minimum come when a read has waited for a while, and go when
//! they have had nothing to do for the idle timeout.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::connection::Connection;
use super::open::Opener;
use super::queue::{Placed, Popped, Queue, Queued};
use super::ticket::{Pending, Task, Ticket, Work};
use crate::fetch::Fetch;
use crate::instruments::connection_failed;
use crate::settings::DatabaseSettings;
use crate::statement::{Operation, Statement};
use crate::{Error, Params, Result};

/// A read that waits this long is worth one more thread.
const PATIENCE: Duration = Duration::from_millis(5);

type Job = Box<dyn Work<Connection>>;
type Slot = Mutex<Option<Connection>>;

impl Queued for Job {
    fn is_abandoned(&self) -> bool {
        Work::is_abandoned(&**self)
    }

    fn refuse(self, error: Error) {
        Work::refuse(self, error);
    }
}

/// The readers of one database.
#[derive(Debug)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    acquire_timeout: Duration,
    quick_reads: bool,
}

struct Shared {
    queue: Queue<Job>,
    slots: Box<[Slot]>,
    /// Which slots have a thread.
    threads: Mutex<Vec<bool>>,
    min: usize,
    idle_timeout: Duration,
    opener: Opener,
    open: AtomicUsize,
    /// How many threads there are, for closing.
    running: watch::Sender<usize>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("slots", &self.slots.len()).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Readers {
    /// Opens the minimum of connections. Threads come with the first work.
    pub(super) fn open(settings: &DatabaseSettings, opener: Opener) -> Result<Self> {
        // One connection of the pool is the writer's.
        let min = settings.pool_min.saturating_sub(1).max(1);
        let max = settings.pool_max.saturating_sub(1).max(min);
        let opened = (0..min).map(|_| opener.reader()).collect::<Result<Vec<_>>>()?;
        let slots = opened.into_iter().map(Some).chain(std::iter::repeat_with(|| None)).take(max).map(Mutex::new);
        let shared = Shared {
            queue: Queue::new(settings.queue_limit),
            slots: slots.collect(),
            threads: Mutex::new(vec![false; max]),
            min,
            idle_timeout: settings.idle_timeout,
            opener,
            open: AtomicUsize::new(min),
            running: watch::Sender::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
            acquire_timeout: settings.acquire_timeout,
            quick_reads: settings.quick_reads,
        })
    }

    /// Runs a read that is known to be quick right here. `None`: it is not, or no connection is free.
    pub(super) fn fetch_quick<F: Fetch>(&self, statement: &Statement, params: &Params) -> Option<Result<F::Output>> {
        if !self.quick_reads || !statement.is_quick() || statement.operation != Operation::Select {
            return None;
        }
        let slots = &self.shared.slots[..self.shared.min];
        let first = thread_number();
        let slot = (0..slots.len()).find_map(|n| free(&slots[(first + n) % slots.len()]))?;
        slot.as_ref()?.run_quick::<F>(statement, params)
    }

    /// Has a database thread do `work`, and waits for it.
    pub(super) async fn run<F, T>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&mut Connection, &Arc<Ticket>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.start(work).await?.done().await
    }

    /// Has a database thread begin `work`, and waits until it has, at most for the acquire timeout.
    pub(super) async fn start<F, T>(&self, work: F) -> Result<Pending<T, Error>>
    where
        F: FnOnce(&mut Connection, &Arc<Ticket>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (task, pending) = Task::new(work);
        if self.shared.queue.push(task)? == Placed::Taken || Shared::grow(&self.shared, self.shared.min)? {
            return Ok(pending);
        }
        let patience = PATIENCE.min(self.acquire_timeout);
        if pending.begun_within(patience).await {
            return Ok(pending);
        }
        Shared::grow(&self.shared, self.shared.slots.len())?;
        if pending.begun_within(self.acquire_timeout.saturating_sub(patience)).await || !pending.call_off() {
            return Ok(pending);
        }
        let error = Error::Timeout {
            what: "waiting for a database connection",
            limit: self.acquire_timeout,
            setting: "COVET_DATABASE__ACQUIRE_TIMEOUT",
        };
        connection_failed(&error);
        Err(error)
    }

    /// Open connections, and how many of them are in use.
    pub(super) fn connections(&self) -> (usize, usize) {
        let in_use = |slot: &&Slot| matches!(slot.try_lock(), Err(TryLockError::WouldBlock));
        (self.shared.open.load(Ordering::Relaxed), self.shared.slots.iter().filter(in_use).count())
    }

    /// Reads that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.shared.queue.waiting()
    }

    /// Finishes what waits, then closes every connection.
    pub(super) async fn close(&self) {
        self.shared.queue.close();
        let mut running = self.shared.running.subscribe();
        let _ = running.wait_for(|threads| *threads == 0).await;
        // Threads that never came have left their connections.
        self.shared.slots.iter().for_each(|slot| drop(lock(slot).take()));
        self.shared.open.store(0, Ordering::Relaxed);
    }
}

/// The threads end when nobody can give them work.
impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Shared {
    /// Starts one more thread, if there are fewer than `up_to`. True if it did.
    fn grow(shared: &Arc<Self>, up_to: usize) -> Result<bool> {
        let Some(worker) = Worker::new(shared, up_to) else { return Ok(false) };
        let name = format!("covet-db-read-{}", worker.index);
        let adopt = covet_telemetry::local::inherit();
        let work = move || {
            adopt();
            worker.work();
        };
        let Err(error) = thread::Builder::new().name(name).spawn(work) else { return Ok(true) };
        if shared.threads().contains(&true) {
            tracing::warn!(%error, "no further thread for the database can be started");
            return Ok(false);
        }
        let error = Error::Connection(format!("no thread for the database can be started: {error}"));
        connection_failed(&error);
        Err(error)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<bool>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that reads.
struct Worker {
    shared: Arc<Shared>,
    index: usize,
}

impl Worker {
    /// Takes the first slot that has no thread.
    fn new(shared: &Arc<Shared>, up_to: usize) -> Option<Self> {
        let mut threads = shared.threads();
        let index = threads.iter().take(up_to).position(|running| !running)?;
        threads[index] = true;
        shared.running.send_modify(|running| *running += 1);
        Some(Self { shared: Arc::clone(shared), index })
    }

    fn work(&self) {
        let needed = self.index < self.shared.min;
        loop {
            match self.shared.queue.pop(self.shared.idle_timeout) {
                Popped::Job(job) => self.run(job),
                Popped::Nothing if needed => {}
                Popped::Nothing | Popped::Closed => break,
            }
        }
        if lock(&self.shared.slots[self.index]).take().is_some() {
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn run(&self, mut job: Job) {
        let mut slot = lock(&self.shared.slots[self.index]);
        if slot.is_none() {
            match self.shared.opener.reader() {
                Ok(connection) => {
                    *slot = Some(connection);
                    self.shared.open.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    drop(slot);
                    connection_failed(&error);
                    return Work::refuse(job, error);
                }
            }
        }
        if let Some(connection) = slot.as_mut() {
            job.run(connection);
        }
        drop(slot);
        job.tell();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.threads()[self.index] = false;
        self.shared.running.send_modify(|running| *running -= 1);
    }
}

/// A panic leaves a connection whole: unwinding resets its statement.
fn lock(slot: &Slot) -> MutexGuard<'_, Option<Connection>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn free(slot: &Slot) -> Option<MutexGuard<'_, Option<Connection>>> {
    match slot.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Spreads the threads of the runtime over the slots, so that each finds its statements prepared.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
