//! [`RowStream`]: rows one after another, without holding them all in memory.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use tokio::sync::mpsc;

use crate::sqlite::Pending;
use crate::{Error, Result};

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
    statement: Option<Pending<(), Error>>,
}

impl<T> RowStream<T> {
    pub(crate) fn new(batches: mpsc::Receiver<Vec<T>>, statement: Pending<(), Error>) -> Self {
        Self { batches, ready: VecDeque::new(), statement: Some(statement) }
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
        if self.statement.is_none() {
            return Poll::Ready(None);
        }
        if let Some(batch) = ready!(self.batches.poll_recv(context)) {
            self.ready = batch.into();
            return Poll::Ready(self.ready.pop_front().map(Ok));
        }
        let Some(statement) = &mut self.statement else { return Poll::Ready(None) };
        let outcome = ready!(statement.poll_done(context));
        self.statement = None;
        Poll::Ready(outcome.err().map(Err::<T, Error>))
    }
}

impl<T: Unpin> Stream for RowStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_row(context)
    }
}
