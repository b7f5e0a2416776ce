//! Waiting for work that another thread does: who waits, for how long, and what becomes of work nobody waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use covet_telemetry::request::Surroundings;
use tokio::sync::{Notify, oneshot};

use crate::Error;

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const ABANDONED: u8 = 2;

/// Shared by a caller and its work.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    state: AtomicU8,
    begun: Notify,
}

impl Ticket {
    /// The work begins. False if nobody waits for it any more.
    fn start(&self) -> bool {
        let started = self.change(WAITING, RUNNING);
        self.begun.notify_one();
        started
    }

    /// Calls the work off, if it has not begun.
    fn call_off(&self) -> bool {
        self.change(WAITING, ABANDONED)
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn abandon(&self) {
        self.state.store(ABANDONED, Ordering::Release);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == ABANDONED
    }
}

/// A caller's hold on its ticket: letting go abandons the work.
#[derive(Debug)]
struct Hold(Arc<Ticket>);

impl Hold {
    fn new(ticket: &Arc<Ticket>) -> Self {
        Self(Arc::clone(ticket))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Work for a thread that owns a `C`. Doing and telling are two steps: in between the thread can leave the connection
/// as the next caller, or somebody who counts the busy ones, expects it.
pub(super) trait Work<C>: Send {
    /// Does it, if somebody still waits for it.
    fn run(&mut self, on: &mut C);

    /// Tells the caller how it went.
    fn tell(self: Box<Self>);

    /// Tells the caller that it cannot be done.
    fn refuse(self: Box<Self>, error: Error);

    /// True if nobody waits for it.
    fn is_abandoned(&self) -> bool;
}

/// A closure as [`Work`].
pub(super) struct Task<F, T, E> {
    ticket: Arc<Ticket>,
    reply: oneshot::Sender<Result<T, E>>,
    /// The request and span that the work is done for, so that the thread counts, logs and records for them.
    surroundings: Surroundings,
    work: Option<F>,
    outcome: Option<Result<T, E>>,
}

/// What the caller of a [`Task`] keeps.
#[derive(Debug)]
pub(crate) struct Pending<T, E> {
    hold: Hold,
    answer: oneshot::Receiver<Result<T, E>>,
}

impl<F, T, E> Task<F, T, E> {
    pub(super) fn new(work: F) -> (Box<Self>, Pending<T, E>) {
        let ticket = Arc::new(Ticket::default());
        let (reply, answer) = oneshot::channel();
        let pending = Pending { hold: Hold::new(&ticket), answer };
        let surroundings = Surroundings::here();
        (Box::new(Self { ticket, reply, surroundings, work: Some(work), outcome: None }), pending)
    }
}

impl<C, F, T, E> Work<C> for Task<F, T, E>
where
    F: FnOnce(&mut C, &Arc<Ticket>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn run(&mut self, on: &mut C) {
        let Some(work) = self.work.take().filter(|_| self.ticket.start()) else { return };
        // The connection is whole after a panic: unwinding resets the statement, and the writer rolls back.
        let work = AssertUnwindSafe(|| work(on, &self.ticket));
        let outcome = self.surroundings.enter(|| catch_unwind(work));
        self.outcome = Some(outcome.unwrap_or_else(|_| Err(Error::Panicked.into())));
    }

    fn tell(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            let _ = self.reply.send(outcome);
        }
    }

    fn refuse(self: Box<Self>, error: Error) {
        self.ticket.start();
        let _ = self.reply.send(Err(error.into()));
    }

    fn is_abandoned(&self) -> bool {
        self.ticket.is_abandoned()
    }
}

impl<T, E: From<Error>> Pending<T, E> {
    /// Waits to the end, however long.
    pub(crate) async fn done(&mut self) -> Result<T, E> {
        (&mut self.answer).await.unwrap_or_else(|_| Err(Error::Panicked.into()))
    }

    /// Waits at most for `limit` until the work has begun. False if it has not.
    pub(super) async fn begun_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.hold.0.begun.notified()).await.is_ok()
    }

    /// As [`done`](Self::done), polled.
    pub(crate) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        let answer = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.unwrap_or_else(|_| Err(Error::Panicked.into())))
    }

    /// Gives the work up, if it has not begun.
    pub(super) fn call_off(&self) -> bool {
        self.hold.0.call_off()
    }
}
