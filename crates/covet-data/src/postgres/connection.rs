//! One connection: the driver's client, the task that moves its bytes, and what we know of both.

use std::fmt;
use std::future::{Future, ready};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use covet_core::clock::Clock;
use futures_util::future::Either;
use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client, Notification};

use super::Access;
use super::load::Load;
use super::prepared::PreparedStatements;
use super::session::{Session, Sessions};
use super::socket::Endpoint;
use super::wire::Wire;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) load: Load,
    pub(super) prepared: PreparedStatements,
    pub(super) status: Arc<Status>,
    pub(super) wire: Arc<Wire>,
    /// Which host of the URL it is to.
    pub(super) server: usize,
    pub(super) endpoint: Endpoint,
    /// Where its bytes are moved. Callers on this runtime need no other thread for their statements.
    pub(super) runtime: Handle,
    session: AtomicU8,
    sessions: Arc<Sessions>,
    task: AbortHandle,
    /// Not to be used again.
    doomed: AtomicBool,
}

/// What the task that moves the bytes tells.
pub(super) struct Status {
    /// Why it has ended, if it has.
    ended: OnceLock<Ended>,
    end: watch::Sender<bool>,
    /// Told when it ends: the transaction on it.
    on_end: Mutex<Option<OnEnd>>,
    /// Told when it ends: who looks after the connections.
    keeper: Arc<Notify>,
    notifications: Mutex<Option<mpsc::UnboundedSender<Notification>>>,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// We have closed it.
    Closed,
    /// The server ended it, because a transaction stood idle for too long.
    IdleInTransaction,
    /// The server shut down, crashed, or cannot be reached any more.
    Lost,
    /// The server accepts bytes and does not answer.
    Hung,
}

type OnEnd = Box<dyn FnOnce(Ended) + Send>;

/// What a connection is made of.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) status: Arc<Status>,
    pub(super) wire: Arc<Wire>,
    pub(super) server: usize,
    pub(super) endpoint: Endpoint,
    pub(super) task: AbortHandle,
    pub(super) sessions: Arc<Sessions>,
    pub(super) statement_cache: usize,
}

impl Connection {
    /// Call it on the runtime that the task was started on.
    pub(super) fn new(parts: Parts, clock: &Clock) -> Self {
        let Parts { client, status, wire, server, endpoint, task, sessions, statement_cache } = parts;
        Self {
            client,
            load: Load::new(clock.monotonic()),
            prepared: PreparedStatements::new(statement_cache),
            status,
            wire,
            server,
            endpoint,
            runtime: Handle::current(),
            session: AtomicU8::new(Session::Own(Access::Write).to_bits()),
            sessions,
            task,
            doomed: AtomicBool::new(false),
        }
    }

    pub(super) fn is_on(&self, runtime: Option<Id>) -> bool {
        runtime == Some(self.runtime.id())
    }

    /// False if it has ended, or is to end.
    pub(super) fn is_usable(&self) -> bool {
        !self.doomed.load(Ordering::Acquire) && !self.client.is_closed()
    }

    /// It is not used again; what is under way on it may finish.
    pub(super) fn doom(&self) {
        self.doomed.store(true, Ordering::Release);
    }

    /// Ends it now. What is under way fails.
    pub(super) fn kill(&self, why: Ended) {
        self.doom();
        self.status.ended(why);
        self.task.abort();
    }

    /// Sets the session up, if it is set up for something else. Takes effect for every statement sent after this.
    pub(super) fn switch(self: &Arc<Self>, to: Session) {
        if self.session.swap(to.to_bits(), Ordering::AcqRel) == to.to_bits() {
            return;
        }
        let (connection, sql) = (Arc::clone(self), self.sessions.switch(to));
        let switched = sent(async move {
            if connection.client.batch_execute(&sql).await.is_err() {
                connection.doom();
            }
        });
        self.runtime.spawn(switched);
    }

    /// Asks for a sign of the server, right now. The future waits for it: then everything sent before this has its
    /// answer, or the connection has ended.
    pub(super) fn answered(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let connection = Arc::clone(self);
        sent(async move { connection.client.check_connection().await.unwrap_or_default() })
    }
}

/// Lets a future send what it sends first, before the caller sends something else. It needs no runtime for that.
pub(super) fn sent<F: Future + Send + 'static>(future: F) -> impl Future<Output = F::Output> + Send + 'static
where
    F::Output: Send,
{
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Either::Left(ready(output)),
        Poll::Pending => Either::Right(future),
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").field("ended", &self.ended.get()).finish_non_exhaustive()
    }
}

impl Status {
    pub(super) fn new(keeper: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            ended: OnceLock::new(),
            end: watch::Sender::new(false),
            on_end: Mutex::default(),
            keeper,
            notifications: Mutex::default(),
        })
    }

    /// Why it has ended; `None` while it has not.
    pub(super) fn reason(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// Notes the first reason.
    fn ended(&self, why: Ended) {
        let _ = self.ended.set(why);
    }

    /// Calls `told` when the connection ends, in place of who was to be told before.
    pub(super) fn on_end(&self, told: impl FnOnce(Ended) + Send + 'static) {
        *lock(&self.on_end) = Some(Box::new(told));
    }

    /// Tells nobody.
    pub(super) fn forget_on_end(&self) {
        lock(&self.on_end).take();
    }

    /// Sends what `NOTIFY` says there.
    pub(super) fn notify(&self, to: mpsc::UnboundedSender<Notification>) {
        *lock(&self.notifications) = Some(to);
    }

    /// Waits until the connection has ended.
    pub(super) async fn end(&self) {
        let _ = self.end.subscribe().wait_for(|ended| *ended).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Moves the bytes of a connection until it ends. Dropping it ends it too.
pub(super) async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, status: Arc<Status>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let ending = Ending(status);
    loop {
        match std::future::poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if let Some(to) = &*lock(&ending.0.notifications) {
                    let _ = to.send(notification);
                }
            }
            Some(Ok(AsyncMessage::Notice(notice))) => {
                tracing::debug!(severity = notice.severity(), "{}", notice.message());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let idle = error.code().is_some_and(|code| code.code() == "25P03");
                return ending.0.ended(if idle { Ended::IdleInTransaction } else { Ended::Lost });
            }
            None => return ending.0.ended(Ended::Closed),
        }
    }
}

/// Says that the task has ended, however it has.
struct Ending(Arc<Status>);

impl Drop for Ending {
    fn drop(&mut self) {
        let Self(status) = self;
        status.ended(Ended::Lost);
        lock(&status.notifications).take();
        let told = lock(&status.on_end).take();
        if let (Some(told), Some(why)) = (told, status.reason()) {
            told(why);
        }
        status.end.send_replace(true);
        status.keeper.notify_one();
    }
}
