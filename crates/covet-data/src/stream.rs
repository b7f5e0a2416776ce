//! [`RowStream`]: rows one after another, without holding them all in memory.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::sqlite::Pending;
use crate::{Error, Result};

/// Rows in a batch: a hand-over costs as much as reading some ten of them.
pub(crate) const BATCH: usize = 64;
/// Batches read ahead.
pub(crate) const AHEAD: usize = 2;

/// The rows of a `stream`. At most some 250 of them are in memory at once.
///
/// It holds a connection and a view of the data as it was at its start, so take the rows without long pauses: after
/// `COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT` without a row taken it ends with an error. Dropping it ends the
/// statement.
#[derive(Debug)]
#[must_use = "rows come when they are asked for"]
pub struct RowStream<T> {
    batches: mpsc::Receiver<Vec<T>>,
    ready: VecDeque<T>,
    /// How the statement ended; `None` when that was told.
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    /// On a thread. Dropping it ends the statement.
    Thread(Pending<(), Error>),
    /// In a task, which ends when nobody takes batches.
    Task(oneshot::Receiver<Result<()>>),
}

impl End {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::Thread(statement) => statement.poll_done(context),
            Self::Task(end) => Pin::new(end).poll(context).map(|end| end.unwrap_or(Err(Error::Panicked))),
        }
    }
}

impl<T> RowStream<T> {
    pub(crate) fn of_thread(batches: mpsc::Receiver<Vec<T>>, statement: Pending<(), Error>) -> Self {
        Self { batches, ready: VecDeque::new(), end: Some(End::Thread(statement)) }
    }

    pub(crate) fn of_task(batches: mpsc::Receiver<Vec<T>>, end: oneshot::Receiver<Result<()>>) -> Self {
        Self { batches, ready: VecDeque::new(), end: Some(End::Task(end)) }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// As the statement's; nothing comes after an error.
    pub async fn next(&mut self) -> Option<Result<T>> {
        std::future::poll_fn(|context| self.poll_row(context)).await
    }

    fn poll_row(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if let Some(row) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(row)));
        }
        if self.end.is_none() {
            return Poll::Ready(None);
        }
        if let Some(batch) = ready!(self.batches.poll_recv(context)) {
            self.ready = batch.into();
            return Poll::Ready(self.ready.pop_front().map(Ok));
        }
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let outcome = ready!(end.poll(context));
        self.end = None;
        Poll::Ready(outcome.err().map(Err::<T, Error>))
    }
}

impl<T: Unpin> Stream for RowStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_row(context)
    }
}
