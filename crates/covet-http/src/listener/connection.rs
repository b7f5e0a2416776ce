//! One connection from accept to close: which protocol it speaks, and how it is told to end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Request;
use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stream::{Stream, Transport};
use super::tls::{self, Tls};
use super::watch::{ConnectionWatch, Verdict};
use super::watched_service::WatchedService;
use crate::metrics::ConnectionMetrics;
use crate::pipeline::{ConnectionService, Peer, Pipeline};
use crate::settings::HttpSettings;

const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// How long closing a resting connection may take: with TLS, it says so to the client.
const FAREWELL: Duration = Duration::from_secs(1);
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: application/problem+json\r\ncontent-length: 114\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"Too many connections. Try again soon.\"}";

/// How connections are served: the protocols, set up once.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let head_limit = settings.head_limit.as_usize();
        let mut http1 = http1::Builder::new();
        // The timer for heads is ours (see `watch`); hyper's costs more than the rest of the pipeline.
        http1.header_read_timeout(None).max_header_size(head_limit).max_buf_size(head_limit);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.http2_max_streams)
            .max_header_list_size(u32::try_from(head_limit).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        Self { http1, http2 }
    }
}

/// A connection that has just been accepted.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) address: SocketAddr,
    pub(super) watch: Arc<ConnectionWatch>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) tls: Option<Tls>,
    pub(super) handshake_timeout: Duration,
}

impl Accepted {
    /// Serves it until it ends.
    pub(super) async fn serve(self, protocols: &Protocols, metrics: &ConnectionMetrics) {
        let Self { stream, address, watch, pipeline, tls, handshake_timeout } = self;
        let encrypted = tls.is_some();
        let (transport, is_http2) = match tls {
            Some(tls) => {
                // In a box of its own, which is gone when the handshake is over.
                let handshake = Box::pin(tokio::time::timeout(handshake_timeout, tls.accept(stream)));
                let Some(Ok(Ok(stream))) = unless_told(&watch, handshake).await else {
                    metrics.refused_tls.fetch_add(1, Relaxed);
                    return;
                };
                let is_http2 = tls::chose_http2(&stream);
                (Transport::Tls(Box::new(stream)), is_http2)
            }
            None => {
                // Nothing of hyper's is made for a connection that has not said anything.
                let Some(Some(is_http2)) = unless_told(&watch, speaks_http2(&stream)).await else { return };
                (Transport::Plain(stream), is_http2)
            }
        };
        let io = TokioIo::new(Stream::new(transport, Arc::clone(&watch)));
        let service = ConnectionService::new(pipeline, Peer { address, tls: encrypted });
        // In a box: a connection that has not said anything must not hold the memory of one that has.
        let ended = match service.layered() {
            Some(layered) => {
                let service = WatchedService::new(layered, Arc::clone(&watch));
                Box::pin(protocols.speak(is_http2, io, service, &watch)).await
            }
            None => {
                let service = WatchedService::new(service, Arc::clone(&watch));
                Box::pin(protocols.speak(is_http2, io, service, &watch)).await
            }
        };
        if ended.is_err_and(|error| error.is_parse()) {
            metrics.malformed.fetch_add(1, Relaxed);
        }
    }
}

impl Protocols {
    async fn speak<S, B>(
        &self,
        is_http2: bool,
        io: TokioIo<Stream>,
        service: S,
        watch: &ConnectionWatch,
    ) -> hyper::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        match is_http2 {
            true => Box::pin(self.speak_http2(io, service, watch)).await,
            false => self.speak_http1(io, service, watch).await,
        }
    }

    async fn speak_http2<S, B>(&self, io: TokioIo<Stream>, service: S, watch: &ConnectionWatch) -> hyper::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        watch.has_no_heads();
        let mut connection = pin!(self.http2.serve_connection(io, service));
        drive(watch, |context, verdict| match verdict {
            Some(Verdict::HeadTooSlow | Verdict::Abort) => Poll::Ready(Ok(())),
            Some(Verdict::Finish) => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().poll(context)
            }
            None => connection.as_mut().poll(context),
        })
        .await
    }

    /// An idle connection rests: hyper's buffers and state, some 10 KiB, are dropped until the client sends again.
    async fn speak_http1<S, B>(
        &self,
        mut io: TokioIo<Stream>,
        mut service: S,
        watch: &ConnectionWatch,
    ) -> hyper::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        loop {
            // In a box of its own, which is gone while the connection rests.
            let Some(parts) = Box::pin(self.speak_until_rest(io, service, watch)).await? else { return Ok(()) };
            (io, service) = (parts.io, parts.service);
            io.inner_mut().unread(parts.read_buf);
            if unless_told(watch, io.inner().has_more()).await != Some(true) {
                // Whoever does not hear that it is over finds out.
                let _ = tokio::time::timeout(FAREWELL, io.inner_mut().shutdown()).await;
                return Ok(());
            }
            watch.rested();
        }
    }

    /// `None` when the connection has ended.
    async fn speak_until_rest<S, B>(
        &self,
        io: TokioIo<Stream>,
        service: S,
        watch: &ConnectionWatch,
    ) -> hyper::Result<Option<http1::Parts<TokioIo<Stream>, S>>>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let mut connection = Some(self.http1.serve_connection(io, service).with_upgrades());
        drive(watch, |context, verdict| {
            if verdict == Some(Verdict::HeadTooSlow) {
                if let Some(parts) = connection.take().and_then(http1::UpgradeableConnection::into_parts) {
                    parts.io.inner().try_last_word(REQUEST_TIMEOUT);
                }
                return Poll::Ready(Ok(None));
            }
            if verdict.is_none() && watch.should_rest() {
                return Poll::Ready(Ok(connection.take().and_then(http1::UpgradeableConnection::into_parts)));
            }
            let Some(connection) = &mut connection else { return Poll::Ready(Ok(None)) };
            match verdict {
                Some(Verdict::Abort) => return Poll::Ready(Ok(None)),
                Some(_) => Pin::new(&mut *connection).graceful_shutdown(),
                None => {}
            }
            Pin::new(connection).poll(context).map_ok(|()| None)
        })
        .await
    }
}

/// Polls a connection, and hands it each new verdict once.
async fn drive<R>(
    watch: &ConnectionWatch,
    mut poll: impl FnMut(&mut Context<'_>, Option<Verdict>) -> Poll<hyper::Result<R>>,
) -> hyper::Result<R> {
    let mut told = None;
    std::future::poll_fn(|context| {
        let verdict = watch.verdict(context.waker());
        let new = verdict.filter(|_| verdict != told);
        told = verdict;
        poll(context, new)
    })
    .await
}

/// Waits for `work`; any verdict ends the wait.
async fn unless_told<F: Future>(watch: &ConnectionWatch, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match watch.verdict(context.waker()) {
        Some(_) => Poll::Ready(None),
        None => work.as_mut().poll(context).map(Some),
    })
    .await
}

/// Looks at the first bytes without taking them: HTTP/2 with prior knowledge begins `PRI`, and no method of
/// HTTP/1.1 does. `None` when the client left.
async fn speaks_http2(stream: &TcpStream) -> Option<bool> {
    let mut start = [0; 3];
    loop {
        match stream.peek(&mut start).await {
            Ok(0) | Err(_) => return None,
            Ok(3) => return Some(&start == b"PRI"),
            Ok(seen) if start[..seen] != b"PRI"[..seen] => return Some(false),
            // One or two bytes that fit both: look again when more may have come.
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Tells a client that there are too many, and waits a moment for it to hear that: closing at once with its request
/// unread would reset the connection under the answer.
pub(super) async fn refuse(mut stream: TcpStream) {
    let answer = async {
        stream.write_all(TOO_MANY_CONNECTIONS).await?;
        stream.shutdown().await?;
        let mut unread = [0; 1024];
        while stream.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whoever does not listen is closed without.
    let _ = tokio::time::timeout(Duration::from_secs(1), answer).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_states_its_own_length() {
        let text = std::str::from_utf8(TOO_MANY_CONNECTIONS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
