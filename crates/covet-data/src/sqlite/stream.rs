//! Rows in batches from a database thread to a slower reader.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use covet_core::clock::Clock;
use tokio::sync::mpsc;

use super::connection::Connection;
use super::ticket::Ticket;
use crate::fetch::FromRow;
use crate::statement::Statement;
use crate::stream::{AHEAD, BATCH};
use crate::{Error, Params, Result};

/// Where batches arrive.
pub(super) type Batches<T> = mpsc::Receiver<Vec<T>>;

/// A channel for batches.
pub(super) fn batches<T>() -> (mpsc::Sender<Vec<T>>, Batches<T>) {
    mpsc::channel(AHEAD)
}

/// Runs the statement and sends its rows. Ends early, without error, when nobody takes them any more.
pub(super) fn send_rows<T: FromRow>(
    connection: &Connection,
    ticket: &Arc<Ticket>,
    (statement, params): (&Statement, &Params),
    to: &mpsc::Sender<Vec<T>>,
    (clock, idle_timeout): (&Clock, Duration),
) -> Result<()> {
    connection.run_slowly(statement, params, ticket, |rows, restart| {
        let mut count = 0;
        loop {
            restart();
            let mut batch = Vec::with_capacity(BATCH);
            let end = loop {
                match rows.next() {
                    Ok(Some(row)) => batch.push(row),
                    Ok(None) => break Some(Ok(())),
                    Err(error) => break Some(Err(error)),
                }
                if batch.len() == BATCH {
                    break None;
                }
            };
            count += batch.len() as u64;
            if !batch.is_empty() {
                match wait_until(to.send(batch), clock, clock.monotonic() + idle_timeout) {
                    Some(Ok(())) => {}
                    Some(Err(_)) => return Ok(((), count)),
                    None => return Err(idle(idle_timeout)),
                }
            }
            if let Some(end) = end {
                return end.map(|()| ((), count));
            }
        }
    })
}

fn idle(limit: Duration) -> Error {
    Error::Timeout { what: "taking rows from a stream", limit, setting: "COVET_DATABASE__TRANSACTION_IDLE_TIMEOUT" }
}

/// Drives a future on this plain thread. `None`: it was not ready in time.
fn wait_until<F: Future>(future: F, clock: &Clock, deadline: Instant) -> Option<F::Output> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(clock.monotonic());
        if left.is_zero() {
            return None;
        }
        thread::park_timeout(left);
    }
}
