//! A request to a service under test, and its reply.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// Longest wait for a reply.
const DEADLINE: Duration = Duration::from_secs(60);

/// A request. What it cannot be made of, it says with a panic, as a test should.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct TestRequest {
    to: SocketAddr,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A reply with its whole body.
#[derive(Debug, Clone)]
pub struct TestReply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl TestRequest {
    pub(super) fn new(to: SocketAddr, method: Method, path: &str) -> Self {
        Self { to, method, path: path.to_owned(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Adds a header.
    ///
    /// # Panics
    /// When it cannot be one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::try_from(name).unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let value = HeaderValue::try_from(value).unwrap_or_else(|error| panic!("{value:?}: {error}"));
        self.headers.append(name, value);
        self
    }

    /// Adds `Authorization: Bearer token`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Sends these bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends this as JSON.
    ///
    /// # Panics
    /// When it cannot be JSON.
    pub fn json(self, body: &impl Serialize) -> Self {
        let text = serde_json::to_vec(body).unwrap_or_else(|error| panic!("the body cannot be JSON: {error}"));
        self.header("content-type", "application/json").body(text)
    }

    /// Sends it on a connection of its own, and waits for the reply.
    ///
    /// # Panics
    /// When there is no reply within a minute, or what comes is no HTTP.
    pub async fn send(self) -> TestReply {
        let what = format!("{} {}", self.method, self.path);
        match tokio::time::timeout(DEADLINE, self.exchange()).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => panic!("{what}: {error}"),
            Err(_) => panic!("{what}: no reply within {DEADLINE:?}"),
        }
    }

    async fn exchange(self) -> Result<TestReply, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.to).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(self.method).uri(self.path).body(Full::new(self.body))?;
        *request.headers_mut() = self.headers;
        if !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, HeaderValue::try_from(self.to.to_string())?);
        }
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        // With the connection gone, the service has nothing left to do for it.
        let _ = connection.await;
        Ok(TestReply { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl TestReply {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// All headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first header of this name, as text. Empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The request's id: the header `x-request-id`, and `request_id` in its log lines.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
    }

    /// The body's bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, read as JSON: a type of yours, or `serde_json::Value`.
    ///
    /// # Panics
    /// When it is not what was expected.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("status {}, {error}: {}", self.status, self.text()))
    }
}
