//! Peer: hyper alone. The floor that every ratio is taken from.
//!
//! One thread per worker, each with a current-thread runtime and its own `SO_REUSEPORT` listener, HTTP/1.1 only, no timer,
//! routing by comparing strings. It does nothing that a service needs: no log, metric, limit or shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::thread;

use anyhow::Context as _;
use bytes::Bytes;
use contract::{Arguments, GREETING, User};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse()?;
    let address = arguments.address();
    let others: Vec<_> = (1..arguments.workers).map(|_| thread::spawn(move || serve(address))).collect();
    serve(address)?;
    others.into_iter().try_for_each(|worker| worker.join().expect("a worker panicked"))
}

/// One worker: accepts and serves until the process ends.
fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = listen(address).with_context(|| format!("listening on {address}"))?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            // A connection that breaks off is the client's business.
            tokio::spawn(async { drop(connection.await) });
        }
    })
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET {
        return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let path = request.uri().path();
    Ok(match (path, path.strip_prefix("/users/")) {
        ("/json", _) => json(&GREETING),
        (_, Some(id)) => id.parse().map_or_else(|_| empty(StatusCode::BAD_REQUEST), |id| json(&User::numbered(id))),
        _ => empty(StatusCode::NOT_FOUND),
    })
}

fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    let Ok(body) = serde_json::to_vec(body) else { return empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
