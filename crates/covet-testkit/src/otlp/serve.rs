//! Serving OTLP: Protobuf over HTTP at `/v1/traces`, and gRPC.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{OtlpBehaviour, Shared, lock, received};

const HTTP_PATH: &str = "/v1/traces";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// gRPC's codes.
const INVALID_ARGUMENT: u8 = 3;
const UNAVAILABLE: u8 = 14;

/// Serves until it is aborted, and its connections with it.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            match tls {
                None => connection(stream, shared).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(stream, shared).await;
                    }
                }
            }
        });
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, shared: Arc<Shared>) {
    let answer = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<BoxBody<Bytes, Infallible>> {
    let grpc = match request.uri().path() {
        HTTP_PATH => false,
        GRPC_PATH => true,
        _ => return plain(StatusCode::NOT_FOUND),
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_REQUEST) };
    *lock(&shared.exports) += 1;
    match shared.behaviour() {
        OtlpBehaviour::Take => {}
        OtlpBehaviour::Slow(delay) => tokio::time::sleep(delay).await,
        OtlpBehaviour::Hang => std::future::pending().await,
        OtlpBehaviour::Refuse(status) if grpc => {
            return grpc_answer(if matches!(status, 429 | 503) { UNAVAILABLE } else { INVALID_ARGUMENT });
        }
        OtlpBehaviour::Refuse(status) => return plain(StatusCode::from_u16(status).unwrap_or_default()),
    }
    let decoded = if grpc { from_grpc(&body.to_bytes()) } else { from_http(&parts.headers, &body.to_bytes()) };
    match decoded {
        Some(request) => {
            lock(&shared.spans).extend(received::spans(request, &texts(&parts.headers)));
            if grpc { grpc_answer(0) } else { plain(StatusCode::OK) }
        }
        None if grpc => grpc_answer(INVALID_ARGUMENT),
        None => plain(StatusCode::BAD_REQUEST),
    }
}

fn from_http(headers: &HeaderMap, body: &[u8]) -> Option<ExportTraceServiceRequest> {
    if headers.get("content-type")? != "application/x-protobuf" {
        return None;
    }
    let gzip = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    ExportTraceServiceRequest::decode(&*if gzip { unzip(body)? } else { body.to_vec() }).ok()
}

/// One message: a byte that says whether it is compressed, its length in four bytes, the message.
fn from_grpc(body: &[u8]) -> Option<ExportTraceServiceRequest> {
    let (head, message) = body.split_at_checked(5)?;
    let length = u32::from_be_bytes(*head.last_chunk()?);
    let message = message.get(..usize::try_from(length).ok()?)?;
    ExportTraceServiceRequest::decode(&*if head[0] == 1 { unzip(message)? } else { message.to_vec() }).ok()
}

fn unzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).ok()?;
    Some(plain)
}

fn plain(status: StatusCode) -> Response<BoxBody<Bytes, Infallible>> {
    // An empty message of Protobuf is no bytes.
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-protobuf"));
    response
}

fn grpc_answer(code: u8) -> Response<BoxBody<Bytes, Infallible>> {
    let empty_message = Bytes::from_static(&[0; 5]);
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from(u16::from(code)))]);
    let body = Full::new(if code == 0 { empty_message } else { Bytes::new() });
    let mut response = Response::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
