//! How many requests are handled at once, and who waits.
//!
//! A service that takes in more than it can do answers everybody late. So at most `max_in_flight` requests are
//! handled at once, some more wait a short while, and the rest hear 503 with `Retry-After` at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tokio::sync::Semaphore;

use crate::Error;
use covet_core::problem::Problem;

/// The places for requests, and the queue before them.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    max_in_flight: usize,
    waiting: AtomicUsize,
    queue_limit: usize,
    queue_timeout: Duration,
}

impl Admission {
    pub(super) fn new(max_in_flight: usize, queue_limit: usize, queue_timeout: Duration) -> Self {
        let max_in_flight = max_in_flight.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            waiting: AtomicUsize::new(0),
            queue_limit,
            queue_timeout,
        }
    }

    /// Requests being handled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.max_in_flight - self.places.available_permits()
    }

    /// Requests waiting for a place: `app_requests_queue_depth`.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place if one is free. Given back by [`Admission::leave`].
    pub(super) fn try_enter(&self) -> bool {
        match self.places.try_acquire() {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => false,
        }
    }

    /// Gives a place back.
    pub(super) fn leave(&self) {
        self.places.add_permits(1);
    }

    /// Waits for a place. False when the queue is full or the wait too long.
    pub(super) async fn enter(self: Arc<Self>) -> bool {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue_limit {
            return false;
        }
        match tokio::time::timeout(self.queue_timeout, self.places.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                true
            }
            _ => false,
        }
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
