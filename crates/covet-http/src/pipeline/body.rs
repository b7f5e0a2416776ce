//! Bodies: the limit on the way in, the count on the way out.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use super::exchange::Exchange;
use crate::Error;

/// What is read of a refused body beyond the limit, in bytes, and for how long.
const THROW_AWAY_MORE: usize = 16 * 1024 * 1024;
const THROW_AWAY_FOR: Duration = Duration::from_secs(10);

/// How much of a request's body has arrived.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    pub(super) bytes: AtomicU64,
    /// Whether its reader is waiting for the client.
    pub(super) awaited: AtomicBool,
}

pin_project! {
    /// A request's body that notes what arrived.
    pub(super) struct ArrivingBody<B> {
        #[pin]
        body: B,
        arrival: Arc<Arrival>,
    }
}

impl<B> ArrivingBody<B> {
    pub(super) fn new(body: B, arrival: Arc<Arrival>) -> Self {
        Self { body, arrival }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for ArrivingBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        this.arrival.awaited.store(polled.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Buf::remaining);
            this.arrival.bytes.fetch_add(length as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// A response's body of unknown length: the exchange ends with it, or when the client goes away.
    pub(super) struct DepartingBody {
        #[pin]
        body: Body,
        exchange: Exchange,
        bytes: u64,
        status: StatusCode,
    }
}

impl DepartingBody {
    pub(super) fn new(body: Body, exchange: Exchange, status: StatusCode) -> Self {
        Self { body, exchange, bytes: 0, status }
    }
}

impl HttpBody for DepartingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                *this.bytes += frame.data_ref().map_or(0, Buf::remaining) as u64;
                this.exchange.departed(*this.bytes);
            }
            Some(Err(error)) => {
                tracing::error!(error = error as &(dyn std::error::Error + 'static), "response body failed");
                this.exchange.finish(*this.status, *this.bytes);
            }
            None => this.exchange.finish(*this.status, *this.bytes),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads what a refused client still sends and throws it away, within bounds. Closing with bytes unread would reset
/// the connection, and a client or proxy that is busy sending would lose the answer that tells it why.
pub(super) async fn throw_away<B>(body: B, limit: usize)
where
    B: HttpBody<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut left = limit.saturating_add(THROW_AWAY_MORE);
    let all = async {
        while let Some(Ok(frame)) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Buf::remaining));
            if left == 0 {
                return;
            }
        }
    };
    // Whoever is still sending then is cut off.
    let _ = tokio::time::timeout(THROW_AWAY_FOR, all).await;
}

/// The same for a client that is refused whatever it sends. One that waits to hear whether it may send has nothing to throw
/// away.
pub(super) fn throw_away_refused<B>(request: axum::extract::Request<B>)
where
    B: HttpBody<Data = Bytes> + Send + 'static,
{
    if !request.body().is_end_stream() && !request.headers().contains_key(http::header::EXPECT) {
        tokio::spawn(throw_away(request.into_body(), 0));
    }
}

pub(super) fn too_large(limit: usize) -> Response {
    Error::status(StatusCode::PAYLOAD_TOO_LARGE)
        .detail(format!("The body is larger than the {limit} bytes that are accepted."))
        .into_response()
}
