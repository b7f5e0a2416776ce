//! A server that answers as it is told, and a client to call it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covet_client::settings::ClientSettings;
use covet_client::{Client, ClientParts};
use covet_core::clock::Clock;
use covet_core::settings::{Section, Sources};
use covet_telemetry::traces::Traces;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Came {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A server on a free port. It answers the nth request, counted from 1, with what `answer` says.
pub(crate) struct Upstream {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Upstream {
    pub(crate) async fn new<F, A>(answer: F) -> Self
    where
        F: Fn(usize) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::<Mutex<Vec<Came>>>::default();
        let (seen, answer) = (Arc::clone(&came), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let path = parts.uri.to_string();
                        let count = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(Came { path, headers: parts.headers, body });
                            seen.len()
                        };
                        Ok::<_, Infallible>(answer(count).await)
                    }
                });
                tokio::spawn(async move {
                    let io = TokioIo::new(stream);
                    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
                });
            }
        });
        Self { address, came }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }
}

/// An answer with this status and body.
pub(crate) fn answer(status: u16, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed();
    Response::builder().status(status).body(body).unwrap()
}

/// An answer that never comes.
pub(crate) async fn never() -> Response<Body> {
    std::future::pending().await
}

pub(crate) fn settings(set: &[(&str, &str)]) -> ClientSettings {
    ClientSettings::load(Sources::of(set.iter().copied())).unwrap()
}

pub(crate) fn client(set: &[(&str, &str)]) -> Client {
    client_that(set, Traces::off())
}

pub(crate) fn client_that(set: &[(&str, &str)], traces: Traces) -> Client {
    let settings = settings(set);
    let production = set.contains(&("COVET_ENV", "production"));
    let environment = if production { "production" } else { "development" }.parse().unwrap();
    let (clock, user_agent) = (Clock::system(), "shop/1.2.3".to_owned());
    Client::new(ClientParts { settings: &settings, environment, user_agent, traces, clock })
}

/// Nobody should wait that long; a failing test does.
pub(crate) const LONG: Duration = Duration::from_secs(30);
