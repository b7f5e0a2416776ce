//! WebSockets that know the process's life: counted, waited for at shutdown, and closed with 1001 "going away".
//!
//! axum's socket inside. Messages between clients and across instances are the hub's matter, not this file's.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{self, CloseFrame, close_code};
use axum::response::Response;
use covet_core::lifecycle::Lifecycle;
use covet_telemetry::metrics::catalog::{
    WEBSOCKET_CONNECTIONS_TOTAL, WEBSOCKET_MESSAGES_RECEIVED, WEBSOCKET_MESSAGES_SENT,
};
use covet_telemetry::request;
use http::StatusCode;
use http::request::Parts;
use metrics::{Counter, Gauge, counter, gauge};

pub use axum::extract::ws::{Message, Utf8Bytes};

use crate::Error;
use crate::metrics::{RouteMetrics, UNMATCHED};

/// How long a client may take to answer the close at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest message taken, unless the handler says otherwise.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// What the pipeline gives a request that asks for an upgrade.
#[derive(Clone)]
pub(crate) struct UpgradeContext {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) routes: Arc<[Arc<RouteMetrics>]>,
}

/// The way to a WebSocket: an extractor. The handler returns what [`WebSocketUpgrade::on_upgrade`] gives.
///
/// ```
/// use covet_http::axum::response::Response;
/// use covet_http::ws::WebSocketUpgrade;
///
/// async fn echo(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.on_upgrade(async |mut socket| {
///         while let Some(message) = socket.recv().await {
///             if socket.send(message).await.is_err() {
///                 return;
///             }
///         }
///     })
/// }
/// ```
#[derive(Debug)]
#[must_use]
pub struct WebSocketUpgrade {
    inner: ws::WebSocketUpgrade,
    lifecycle: Lifecycle,
    endpoint: String,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    inner: ws::WebSocket,
    lifecycle: Lifecycle,
    sent: Counter,
    received: Counter,
}

/// The socket takes no more messages: the client left, or the service is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket is closed")]
pub struct Closed;

impl WebSocketUpgrade {
    /// Accepts one of these subprotocols, in the order of preference.
    pub fn protocols(mut self, protocols: &[&'static str]) -> Self {
        self.inner = self.inner.protocols(protocols.iter().copied());
        self
    }

    /// Takes messages up to this size; a larger one ends the connection. The default is 1 MiB.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.inner = self.inner.max_message_size(bytes).max_frame_size(bytes);
        self
    }

    /// Answers the request and runs `serve` with the open socket. When it returns, the socket closes.
    pub fn on_upgrade<F, Fut>(self, serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let Self { inner, lifecycle, endpoint } = self;
        // From now on, not from when the upgrade is complete: shutdown must not end in between.
        let running = lifecycle.track(format!("WebSocket {endpoint}"));
        inner.on_upgrade(move |inner| {
            let socket = WebSocket {
                inner,
                lifecycle: lifecycle.clone(),
                sent: counter!(WEBSOCKET_MESSAGES_SENT.name, "endpoint" => endpoint.clone()),
                received: counter!(WEBSOCKET_MESSAGES_RECEIVED.name, "endpoint" => endpoint),
            };
            let served = request::carry(serve(socket));
            async move {
                let (_running, _open) = (running, Open::new());
                tokio::select! {
                    () = served => {}
                    () = lifecycle.cut().cancelled() => {}
                }
            }
        })
    }
}

impl WebSocket {
    /// The next text or binary message; pings are answered by themselves. `None` when the client closed or left, or
    /// the service is stopping; then the client has been told 1001. Safe to use in `select!`.
    pub async fn recv(&mut self) -> Option<Message> {
        loop {
            let message = tokio::select! {
                biased;
                () = self.lifecycle.stopping().cancelled() => {
                    self.go_away().await;
                    return None;
                }
                message = self.inner.recv() => message?,
            };
            match message {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    self.received.increment(1);
                    return Some(message);
                }
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(_) => return None,
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Closed`] when the client left, or the service is stopping; then the client has been told 1001.
    pub async fn send(&mut self, message: Message) -> Result<(), Closed> {
        if self.lifecycle.stopping().is_cancelled() {
            self.go_away().await;
            return Err(Closed);
        }
        self.inner.send(message).await.map_err(|_| Closed)?;
        self.sent.increment(1);
        Ok(())
    }

    /// Sends a text.
    ///
    /// # Errors
    /// As [`WebSocket::send`].
    pub async fn send_text(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), Closed> {
        self.send(Message::Text(text.into())).await
    }

    /// Says goodbye with a code of RFC 6455 §7.4 and a reason of at most 123 bytes.
    pub async fn close(mut self, code: u16, reason: &'static str) {
        self.say_goodbye(code, reason).await;
    }

    async fn go_away(&mut self) {
        self.say_goodbye(close_code::AWAY, "the service is restarting").await;
    }

    /// Sends a close frame and waits for the client's. A client that does not answer is left.
    async fn say_goodbye(&mut self, code: u16, reason: &'static str) {
        let goodbye = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
        let answered = async {
            if self.inner.send(goodbye).await.is_ok() {
                while let Some(Ok(_)) = self.inner.recv().await {}
            }
        };
        // Without an answer the connection ends all the same.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, answered).await;
    }
}

/// Counts an open socket while it lives.
struct Open(Gauge);

impl Open {
    fn new() -> Self {
        let gauge = gauge!(WEBSOCKET_CONNECTIONS_TOTAL.name);
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Some(context) = parts.extensions.get::<UpgradeContext>().cloned() else {
            return Err(Error::status(StatusCode::UPGRADE_REQUIRED)
                .detail("This path speaks WebSocket.")
                .header(http::header::UPGRADE, http::HeaderValue::from_static("websocket")));
        };
        let inner = ws::WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Error::status(rejection.status()).detail(rejection.body_text()))?;
        let route = request::current(request::RequestScope::route).flatten().map_or(0, |index| index as usize);
        let endpoint = context.routes.get(route).map_or(UNMATCHED, |route| route.endpoint()).to_owned();
        let inner = inner.max_message_size(MAX_MESSAGE_BYTES).max_frame_size(MAX_MESSAGE_BYTES);
        Ok(Self { inner, lifecycle: context.lifecycle, endpoint })
    }
}
