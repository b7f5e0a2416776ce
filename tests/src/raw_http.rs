//! HTTP/1.1 by hand, for clients that do not behave.
//!
//! Not for ordinary requests: `Service::client()` is shorter.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::SOON;

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Received and not yet read as a response.
    received: Vec<u8>,
}

/// One response.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header (named in lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Connection {
    /// Connects to 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When nobody listens.
    pub async fn open(port: u16) -> Result<Self> {
        Self::open_from(Ipv4Addr::LOCALHOST, port).await
    }

    /// Connects to 127.0.0.1 from another address of 127.0.0.0/8.
    ///
    /// # Errors
    ///
    /// When nobody listens.
    pub async fn open_from(source: Ipv4Addr, port: u16) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((source, 0)))?;
        let connected = timeout(SOON, socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).await;
        let stream = connected.context("no connection in time")??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// When the other side has closed the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(timeout(SOON, self.stream.write_all(bytes.as_ref())).await.context("the socket takes no more")??)
    }

    /// Sends a GET request and keeps the connection open.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub async fn send_get(&mut self, path: &str) -> Result<()> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    }

    /// Whether something was received that is not read yet; does not wait.
    pub fn has_received(&mut self) -> bool {
        // Nothing there is an error of the kind "would block"; a closed connection is something to read.
        !self.received.is_empty() || self.stream.try_read_buf(&mut self.received).is_ok()
    }

    /// The next response, with its body.
    ///
    /// # Errors
    ///
    /// When the connection is closed instead, nothing comes in time, or it is no HTTP.
    pub async fn response(&mut self) -> Result<Response> {
        self.response_or_end().await?.context("the connection was closed without a response")
    }

    /// The response to a HEAD request: its `Content-Length` announces a body that must not come.
    ///
    /// # Errors
    ///
    /// When there is a body, or as [`Connection::response`]. The request has to ask for `Connection: close`.
    pub async fn head_response(&mut self) -> Result<Response> {
        let response = self.head().await?.context("the connection was closed without a response")?;
        while self.receive().await? > 0 {}
        ensure!(self.received.is_empty(), "a body: {}", String::from_utf8_lossy(&self.received));
        Ok(response)
    }

    /// The next response, or `None` when the connection is closed without one.
    ///
    /// # Errors
    ///
    /// When nothing comes in time, or it is no HTTP, or a response is cut short.
    pub async fn response_or_end(&mut self) -> Result<Option<Response>> {
        let Some(mut response) = self.head().await? else { return Ok(None) };
        let status = response.status;
        let no_body = status == 204 || status == 304 || status < 200;
        response.body = match (no_body, response.header("content-length"), response.header("transfer-encoding")) {
            (true, ..) => Vec::new(),
            (_, Some(length), _) => self.take(length.parse()?).await?,
            (_, None, Some("chunked")) => self.take_chunks().await?,
            (..) => {
                while self.receive().await? > 0 {}
                std::mem::take(&mut self.received)
            }
        };
        Ok(Some(response))
    }

    /// Waits until the other side has closed the connection, ignoring what it still sends.
    ///
    /// # Errors
    ///
    /// When it is still open after `deadline`.
    pub async fn closed(&mut self, deadline: Duration) -> Result<()> {
        let end = async {
            // A reset is an end too.
            while self.receive().await.is_ok_and(|received| received > 0) {}
        };
        timeout(deadline, end).await.with_context(|| format!("the connection is still open after {deadline:?}"))
    }

    /// Status and headers of the next response; `None` when the connection is closed without one.
    async fn head(&mut self) -> Result<Option<Response>> {
        let head_end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            if self.receive().await? == 0 {
                ensure!(
                    self.received.is_empty(),
                    "a response was cut short: {}",
                    String::from_utf8_lossy(&self.received)
                );
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_end]).into_owned();
        self.received.drain(..head_end + 4);
        let (status_line, header_lines) = head.split_once("\r\n").unwrap_or((&head, ""));
        let status = status_line.split(' ').nth(1).context("no status")?.parse()?;
        let headers = header_lines
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Some(Response { status, headers, body: Vec::new() }))
    }

    async fn receive(&mut self) -> Result<usize> {
        let received = timeout(SOON, self.stream.read_buf(&mut self.received)).await;
        Ok(received.context("nothing was received in time")??)
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.received.len() < length {
            ensure!(self.receive().await? > 0, "the body was cut short");
        }
        Ok(self.received.drain(..length).collect())
    }

    async fn take_chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                match find(&self.received, b"\r\n") {
                    Some(end) => break end,
                    None if self.receive().await? == 0 => bail!("the body was cut short"),
                    None => {}
                }
            };
            let line = self.take(line_end + 2).await?;
            let length = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16)?;
            let chunk = self.take(length + 2).await?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
