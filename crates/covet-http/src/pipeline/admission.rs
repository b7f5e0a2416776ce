//! How many requests are handled at once, and who waits.
//!
//! A service that takes in more than it can do answers everybody late. So at most `max_in_flight` requests are
//! handled at once, some more wait a short while, and the rest hear 503 with `Retry-After` at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::Notify;

use crate::Error;
use covet_core::problem::Problem;

/// The places for requests, and the queue before them.
#[derive(Debug)]
pub struct Admission {
    in_flight: AtomicUsize,
    max_in_flight: usize,
    waiting: AtomicUsize,
    queue_limit: usize,
    queue_timeout: Duration,
    place_free: Notify,
}

impl Admission {
    pub(super) fn new(max_in_flight: usize, queue_limit: usize, queue_timeout: Duration) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            max_in_flight,
            waiting: AtomicUsize::new(0),
            queue_limit,
            queue_timeout,
            place_free: Notify::new(),
        }
    }

    /// Requests being handled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Requests waiting for a place: `app_requests_queue_depth`.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Takes a place if one is free. Given back by [`Admission::leave`].
    pub(super) fn try_enter(&self) -> bool {
        // Never over the limit, not even for a moment: who comes right then would be turned away for nothing.
        let one_more = |in_flight: usize| (in_flight < self.max_in_flight).then_some(in_flight + 1);
        self.in_flight.fetch_update(SeqCst, SeqCst, one_more).is_ok()
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, SeqCst);
        // One who begins to wait after this reading sees the free place before sleeping.
        if self.waiting.load(SeqCst) > 0 {
            self.place_free.notify_one();
        }
    }

    /// Waits for a place. False when the queue is full or the wait too long.
    pub(super) async fn enter(self: Arc<Self>) -> bool {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let before = self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue_limit {
            return false;
        }
        let place = async {
            // A notification that comes between the try and the wait is kept for the wait.
            while !self.try_enter() {
                self.place_free.notified().await;
            }
        };
        tokio::time::timeout(self.queue_timeout, place).await.is_ok()
    }
}

pub(super) fn shed() -> Response {
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE.as_u16())
        .detail("The service has as much to do as it can. Try again.")
        .retry_after(Duration::from_secs(1));
    Error::new(problem).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_counted() {
        let admission = Arc::new(Admission::new(1, 1, Duration::from_secs(30)));
        assert!(admission.try_enter());
        assert!(!admission.try_enter());
        let waiting = tokio::spawn(Arc::clone(&admission).enter());
        while admission.queue_depth() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!Arc::clone(&admission).enter().await, "the second in the queue is turned away");
        admission.leave();
        assert!(waiting.await.unwrap());
        assert_eq!((admission.in_flight(), admission.queue_depth()), (1, 0));
    }

    #[tokio::test]
    async fn a_wait_ends_at_its_limit_and_a_dropped_one_leaves_the_queue() {
        let admission = Arc::new(Admission::new(1, 5, Duration::from_millis(5)));
        assert!(admission.try_enter());
        assert!(!Arc::clone(&admission).enter().await);
        let mut waiting = Box::pin(Arc::clone(&admission).enter());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(admission.queue_depth(), 1);
        drop(waiting);
        assert_eq!(admission.queue_depth(), 0);
        assert_eq!(admission.in_flight(), 1);
    }
}
