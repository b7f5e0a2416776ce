//! Work that an extractor leaves to be done on the response, when the handler has answered: to store what the handler
//! has changed, to set a cookie. A route whose extractors leave none pays nothing for it.
//!
//! Not a place for what concerns every response: that is the pipeline's, or a layer's.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use axum::response::Response;
use covet_core::problem::{AsProblem, Problem};
use covet_telemetry::request;

use crate::routing::Answering;

type Work = Box<dyn FnOnce(Response) -> Answering + Send>;

/// What is left to do for a request, in the order in which it was left.
#[derive(Default)]
struct Left(Mutex<Vec<Work>>);

/// The code does not run inside a request of Covet's pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this works inside Covet's pipeline only: not in a task that the handler has spawned, nor on a bare axum router"
)]
pub struct OutsidePipeline;

impl AsProblem for OutsidePipeline {
    fn problem(&self) -> Problem {
        Problem::new(500)
    }
}

/// Leaves work for the response of the request at hand. It is done after the handler, also after one that fails or
/// panics, and within the same `COVET_HTTP__REQUEST_TIMEOUT`; not when that is over, nor when the client has left.
///
/// ```no_run
/// use covet_http::axum::response::Response;
/// use covet_http::pipeline::{OutsidePipeline, before_response};
///
/// fn mark() -> Result<(), OutsidePipeline> {
///     before_response(|mut response: Response| async move {
///         response.headers_mut().insert("x-marked", "yes".parse().expect("a header value"));
///         response
///     })
/// }
/// ```
///
/// # Errors
/// [`OutsidePipeline`].
pub fn before_response<W, F>(work: W) -> Result<(), OutsidePipeline>
where
    W: FnOnce(Response) -> F + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let work: Work = Box::new(move |response| Box::pin(work(response)));
    let leave = |scope: &request::RequestScope| {
        let Left(left) = scope.beside_or(Left::default)?;
        left.lock().unwrap_or_else(PoisonError::into_inner).push(work);
        Some(())
    };
    request::current(leave).flatten().ok_or(OutsidePipeline)
}

/// What becomes of a handler's response.
pub(super) enum Finish {
    /// Nothing is left to do.
    Done(Response),
    /// It comes out of this.
    Working(Pin<Box<dyn Future<Output = Response> + Send>>),
}

/// Takes up what has been left for the request at hand.
pub(super) fn finish(response: Response) -> Finish {
    let take = |scope: &request::RequestScope| {
        let Left(left) = scope.beside()?;
        Some(mem::take(&mut *left.lock().unwrap_or_else(PoisonError::into_inner)))
    };
    match request::current(take).flatten() {
        Some(left) if !left.is_empty() => Finish::Working(Box::pin(async move {
            let mut response = response;
            for work in left {
                response = work(response).await;
            }
            response
        })),
        _ => Finish::Done(response),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use covet_core::ids::RequestId;
    use covet_telemetry::request::RequestScope;

    use super::*;

    fn append(text: &'static str) -> Result<(), OutsidePipeline> {
        before_response(async move |mut response: Response| {
            response.headers_mut().append("x-done", text.parse().unwrap());
            response
        })
    }

    #[tokio::test]
    async fn what_is_left_is_done_once_and_in_order() {
        let scope = RequestScope::new(RequestId::parse(b"r1").unwrap(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut scope = Some(Arc::new(scope));
        let finished = request::enter(&mut scope, || {
            append("first").unwrap();
            append("second").unwrap();
            finish(Response::default())
        });
        let Finish::Working(work) = finished else { panic!("something is left to do") };
        let response = work.await;
        let done: Vec<_> = response.headers().get_all("x-done").iter().collect();
        assert_eq!(done, ["first", "second"]);
        assert!(matches!(request::enter(&mut scope, || finish(response)), Finish::Done(_)));
    }

    #[test]
    fn outside_a_request_there_is_nothing_to_leave_it_to() {
        assert_eq!(append("lost"), Err(OutsidePipeline));
        assert!(matches!(finish(Response::default()), Finish::Done(_)));
    }
}
