//! A transaction: the writer's thread stays with one caller, who sends it statements through a [`Handle`].
//!
//! It ends by commit, rollback, dropping the handle, or by standing idle for too long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use covet_core::clock::Clock;
use tokio::sync::oneshot;

use super::connection::Connection;
use super::ticket::{Task, Ticket, Work};
use crate::instruments::transaction_ended;
use crate::transaction::{Hook, run_hooks};
use crate::{Error, Result};

enum Command {
    Run(Box<dyn Work<Connection>>),
    Commit { hooks: Vec<Hook>, runtime: Option<tokio::runtime::Handle>, reply: oneshot::Sender<Result<()>> },
    RollBack { reply: oneshot::Sender<()> },
}

/// The caller's end of an open transaction. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Handle {
    commands: Sender<Command>,
    /// Why it ended, if not by the caller.
    over: Arc<OnceLock<&'static str>>,
}

impl Handle {
    fn over(&self) -> Error {
        Error::TransactionOver(self.over.get().copied().unwrap_or("its thread has ended"))
    }

    /// Runs `work` inside the transaction.
    pub(super) async fn run<F, T>(&self, work: F) -> Result<T>
    where
        F: FnOnce(&mut Connection, &Arc<Ticket>) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (task, mut pending) = Task::new(work);
        self.commands.send(Command::Run(task)).map_err(|_| self.over())?;
        // Work that was sent but not taken is dropped with the transaction.
        pending.done().await.map_err(|error| match error {
            Error::Panicked if self.over.get().is_some() => self.over(),
            error => error,
        })
    }

    /// Commits, then runs the hooks on the writer's thread: also when the caller no longer waits.
    pub(crate) async fn commit(self, hooks: Vec<Hook>) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let runtime = tokio::runtime::Handle::try_current().ok();
        self.commands.send(Command::Commit { hooks, runtime, reply }).map_err(|_| self.over())?;
        answer.await.unwrap_or_else(|_| Err(self.over()))
    }

    /// Rolls back, and waits for it.
    pub(crate) async fn roll_back(self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::RollBack { reply }).is_ok() {
            let _ = answer.await;
        }
    }
}

/// What a caller in the writer's queue gets when its turn has come: the open transaction, or why there is none.
pub(super) struct Grant(Option<Result<Handle>>);

impl Grant {
    pub(super) fn take(&mut self) -> Result<Handle> {
        self.0.take().unwrap_or(Err(Error::Closed))
    }
}

/// Hosts one transaction from its begin to its end.
pub(super) fn host(
    connection: &mut Connection,
    mut caller: Box<dyn Work<Grant>>,
    clock: &Clock,
    idle_timeout: Duration,
) {
    if caller.is_abandoned() {
        return;
    }
    if let Err(error) = connection.begin() {
        caller.run(&mut Grant(Some(Err(error))));
        return caller.tell();
    }
    let began = clock.monotonic();
    let over = Arc::new(OnceLock::new());
    let (sender, commands) = channel();
    // If the caller is gone by now, the handle is dropped, which rolls back.
    caller.run(&mut Grant(Some(Ok(Handle { commands: sender, over: Arc::clone(&over) }))));
    caller.tell();
    let status = serve(connection, &commands, &over, idle_timeout);
    connection.roll_back();
    transaction_ended(status, clock.monotonic().saturating_duration_since(began));
}

/// Does what the caller sends; returns how it ended.
fn serve(
    connection: &mut Connection,
    commands: &Receiver<Command>,
    over: &OnceLock<&'static str>,
    idle_timeout: Duration,
) -> &'static str {
    loop {
        match commands.recv_timeout(idle_timeout) {
            Ok(Command::Run(mut work)) => {
                work.run(connection);
                work.tell();
            }
            Ok(Command::Commit { hooks, runtime, reply }) => {
                let outcome = connection.commit();
                let status = if outcome.is_ok() { "commit" } else { "failed" };
                if outcome.is_ok() {
                    run_hooks(hooks, runtime.as_ref());
                }
                let _ = reply.send(outcome);
                return status;
            }
            Ok(Command::RollBack { reply }) => {
                connection.roll_back();
                let _ = reply.send(());
                return "rollback";
            }
            Err(RecvTimeoutError::Disconnected) => return "rollback",
            Err(RecvTimeoutError::Timeout) => {
                let _ = over.set("it stood idle for longer than COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT");
                tracing::warn!(
                    idle_ms = u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX),
                    "a transaction stood idle for too long and was rolled back"
                );
                return "idle_timeout";
            }
        }
    }
}
