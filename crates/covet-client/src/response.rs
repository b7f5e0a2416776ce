//! [`Response`]: an answer, and its body within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use serde::de::DeserializeOwned;

use crate::error::reason;
use crate::{Error, Result};

/// The answer of another service. It may say that it failed: [`error_for_status`](Self::error_for_status).
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
    call: String,
    /// Most bytes of the body.
    limit: usize,
    deadline: Duration,
    attempts: u32,
}

impl Response {
    pub(crate) fn new(inner: reqwest::Response, call: String, limit: usize, deadline: Duration, attempts: u32) -> Self {
        Self { inner, call, limit, deadline, attempts }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The version of HTTP that was spoken.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// How many attempts it took.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The answer, if its status is not one of failure (4xx, 5xx).
    ///
    /// # Errors
    /// [`Error::Status`].
    pub fn error_for_status(self) -> Result<Self> {
        let status = self.status();
        match status.is_client_error() || status.is_server_error() {
            true => Err(Error::Status { call: self.call, status }),
            false => Ok(self),
        }
    }

    /// The body, which must be JSON that fits `T`.
    ///
    /// # Errors
    /// [`Error::Decode`], which names the field and holds no value; else as [`bytes`](Self::bytes).
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        let call = self.call.clone();
        let body = self.bytes().await?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let (field, error) = (error.path().to_string(), error.into_inner());
            let at = format!("line {}, column {}", error.line(), error.column());
            let what = match error.classify() {
                serde_json::error::Category::Data => format!("the field `{field}` is missing or of another type"),
                _ => "it is no JSON".to_owned(),
            };
            Error::Decode { call, reason: format!("{what} ({at})") }
        })
    }

    /// The body as text, which must be UTF-8.
    ///
    /// # Errors
    /// [`Error::Decode`]; else as [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String> {
        let call = self.call.clone();
        let body = self.bytes().await?;
        String::from_utf8(body.into()).map_err(|_| Error::Decode { call, reason: "it is no UTF-8".to_owned() })
    }

    /// The body, at most `COVET_CLIENT__RESPONSE_LIMIT` of it.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Deadline`], [`Error::Broken`].
    pub async fn bytes(mut self) -> Result<Bytes> {
        let announced = self.inner.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        if announced > self.limit {
            return Err(Error::TooLarge { call: self.call, limit: self.limit });
        }
        let mut body = BytesMut::with_capacity(announced);
        loop {
            match self.inner.chunk().await {
                Ok(None) => return Ok(body.freeze()),
                Ok(Some(chunk)) if body.len() + chunk.len() > self.limit => {
                    return Err(Error::TooLarge { call: self.call, limit: self.limit });
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Err(error) if error.is_timeout() => {
                    let Self { call, deadline: limit, attempts, .. } = self;
                    return Err(Error::Deadline { call, limit, attempts });
                }
                Err(error) => return Err(Error::Broken { call: self.call, reason: reason(error) }),
            }
        }
    }

    /// What `reqwest` has, to read a body of any length bit by bit. The deadline holds, other bounds do not.
    #[must_use]
    pub fn into_inner(self) -> reqwest::Response {
        self.inner
    }
}
