//! The one connection that writes, and its thread: single statements, transactions and migrations, in the order they
//! came.
//!
//! SQLite has one writer at a time whatever one does; a queue makes the waiting fair and cheap. What happens inside a
//! transaction is in `sqlite/transaction.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use covet_core::clock::Clock;
use tokio::sync::{oneshot, watch};

use super::connection::Connection;
use super::open::Opener;
use super::queue::{Placed, Popped, Queue, Queued};
use super::readers::Readers;
use super::ticket::{Pending, Task, Ticket, Work};
use super::transaction::{self, Grant, Handle};
use crate::instruments::connection_failed;
use crate::settings::DatabaseSettings;
use crate::{Error, Result};

/// How often an idle writer looks up. It has nothing to do then.
const IDLE: Duration = Duration::from_secs(3_600);

enum Job {
    Run(Box<dyn Work<Connection>>),
    /// The thread stays with this caller until its transaction ends.
    Transaction(Box<dyn Work<Grant>>),
}

impl Queued for Job {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Run(work) => work.is_abandoned(),
            Self::Transaction(work) => work.is_abandoned(),
        }
    }

    fn refuse(self, error: Error) {
        match self {
            Self::Run(work) => work.refuse(error),
            Self::Transaction(work) => work.refuse(error),
        }
    }
}

/// The writer of one database.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    acquire_timeout: Duration,
}

struct Shared {
    queue: Queue<Job>,
    busy: AtomicBool,
    ended: watch::Sender<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread. There the file is opened, by the writer first and then by the readers.
    pub(super) async fn open(settings: &DatabaseSettings, opener: Opener, clock: Clock) -> Result<(Self, Readers)> {
        let (opened, readers) = oneshot::channel();
        let shared = Arc::new(Shared {
            queue: Queue::new(settings.queue_limit),
            busy: AtomicBool::new(false),
            ended: watch::Sender::new(false),
        });
        let writer = Self { shared: Arc::clone(&shared), acquire_timeout: settings.acquire_timeout };
        let settings = settings.clone();
        let adopt = covet_telemetry::local::inherit();
        let work = move || {
            adopt();
            // Set when the thread ends, however it ends.
            let ended = Ended(shared);
            let all = opener.writer().and_then(|writer| Ok((writer, Readers::open(&settings, opener)?)));
            match all {
                Ok((connection, readers)) => {
                    if opened.send(Ok(readers)).is_ok() {
                        let thread = Thread { connection, clock, idle_timeout: settings.transaction_idle_timeout };
                        thread.work(&ended.0);
                    }
                }
                Err(error) => {
                    connection_failed(&error);
                    let _ = opened.send(Err(error));
                }
            }
        };
        thread::Builder::new()
            .name("covet-db-write".to_owned())
            .spawn(work)
            .map_err(|error| Error::Connection(format!("no thread for the database can be started: {error}")))?;
        let readers = readers.await.map_err(|_| Error::Panicked)??;
        Ok((writer, readers))
    }

    /// Has the thread do `work`, and waits for it: for its turn at most for the acquire timeout.
    pub(super) async fn run<F, T, E>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(&mut Connection, &Arc<Ticket>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (task, pending) = Task::new(work);
        self.wait(Job::Run(task), pending).await
    }

    /// Waits for the thread's turn and opens a transaction on it.
    pub(super) async fn begin(&self) -> Result<Handle> {
        let (task, pending) = Task::new(|grant: &mut Grant, _: &Arc<Ticket>| grant.take());
        self.wait(Job::Transaction(task), pending).await
    }

    async fn wait<T, E: From<Error>>(&self, job: Job, mut pending: Pending<T, E>) -> Result<T, E> {
        let waits = self.shared.queue.push(job)? == Placed::Waits;
        if waits && !pending.begun_within(self.acquire_timeout).await && pending.call_off() {
            let error = Error::Timeout {
                what: "waiting for the connection that writes",
                limit: self.acquire_timeout,
                setting: "COVET_DATABASE__ACQUIRE_TIMEOUT",
            };
            connection_failed(&error);
            return Err(error.into());
        }
        pending.done().await
    }

    /// True while a statement or a transaction is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.shared.busy.load(Ordering::Relaxed)
    }

    /// True until [`close`](Self::close) is done.
    pub(super) fn is_open(&self) -> bool {
        !*self.shared.ended.borrow()
    }

    /// Statements and transactions that wait for their turn.
    pub(super) fn waiting(&self) -> usize {
        self.shared.queue.waiting()
    }

    /// Finishes what waits, then closes the connection and brings the log into the file.
    pub(super) async fn close(&self) {
        self.shared.queue.close();
        let mut ended = self.shared.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// The thread ends when nobody can give it work.
impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.queue.abort(|| Error::Panicked);
        self.0.ended.send_replace(true);
    }
}

struct Thread {
    connection: Connection,
    clock: Clock,
    idle_timeout: Duration,
}

impl Thread {
    fn work(mut self, shared: &Shared) {
        loop {
            match shared.queue.pop(IDLE) {
                Popped::Job(job) => {
                    shared.busy.store(true, Ordering::Relaxed);
                    let told = self.run(job);
                    // Also after a panic in the middle of a migration.
                    self.connection.roll_back();
                    shared.busy.store(false, Ordering::Relaxed);
                    told.into_iter().for_each(Work::tell);
                }
                Popped::Nothing => {}
                Popped::Closed => break,
            }
        }
        self.connection.tidy_up();
    }

    /// Returns what is still to be told.
    fn run(&mut self, job: Job) -> Option<Box<dyn Work<Connection>>> {
        match job {
            Job::Run(mut work) => {
                work.run(&mut self.connection);
                Some(work)
            }
            Job::Transaction(caller) => {
                transaction::host(&mut self.connection, caller, &self.clock, self.idle_timeout);
                None
            }
        }
    }
}
