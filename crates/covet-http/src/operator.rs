//! The operator's port: metrics and control, on an address that the public never reaches.
//!
//! A small server of its own on the main runtime, without the pipeline: it must answer when the API's workers are
//! full, and until the last moment of a shutdown.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use covet_core::lifecycle::Lifecycle;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::listener::{BindError, PortSharing, bind_one};
use crate::settings::OperatorSettings;

/// More at once is not an operator.
const MAX_CONNECTIONS: usize = 128;
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound operator's port.
#[derive(Debug)]
pub struct OperatorPort {
    socket: TcpListener,
    address: SocketAddr,
}

impl OperatorPort {
    /// Binds it.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(settings: &OperatorSettings, sharing: PortSharing) -> Result<Self, BindError> {
        let asked = SocketAddr::new(settings.host, settings.port);
        let socket = bind_one(asked, 128, sharing)?;
        let address = socket.local_addr().unwrap_or(asked);
        Ok(Self { socket, address })
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `pages` until the process has been cut or `lifecycle` is dropped with its runtime.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub async fn serve(self, pages: Router, lifecycle: Lifecycle) -> std::io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.socket)?;
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = lifecycle.cut().cancelled() => return Ok(()),
            };
            let Ok((stream, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // Over the limit: closed without a word.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let pages = pages.clone();
            let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
                let pages = pages.clone();
                async move { Ok::<_, Infallible>(answer(pages, request, peer).await) }
            });
            let connection = protocol.serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                let _place = place;
                // A client that goes away is not worth a line.
                let _ = connection.await;
            });
        }
    }
}

/// The pages' answer; they find the peer as `ConnectInfo`.
async fn answer(pages: Router, request: hyper::Request<Incoming>, peer: SocketAddr) -> axum::response::Response {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    match pages.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
