//! `Idempotency-Key`: a request that may have been answered already is answered the same again, and done once.
//!
//! Follows draft-ietf-httpapi-idempotency-key-header. The key is claimed, the work done and the answer kept in one
//! transaction: of two requests with one key the second waits for the first and gets its answer; a request that
//! fails keeps nothing, and its key can be used again. A key belongs to its user and is kept for [`KEPT`]; using it
//! for another request is 422.

mod personal;

use std::time::Duration;

use covet::axum::extract::{FromRequestParts, OptionalFromRequestParts};
use covet::axum::response::{IntoResponse, Response};
use covet::data::{Transaction, params};
use covet::problem::Problem;
use covet::{Error, Json, Result};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) use self::personal::PersonalAnswers;
use crate::auth::or_user_is_gone;

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest key, in characters.
const MAX_KEY_LENGTH: usize = 255;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters, with or without quotes around them.
/// Handlers take an `Option`; a malformed key is 400.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// One request that may come again.
#[derive(Debug)]
pub struct Once<'a> {
    /// Who asks.
    pub user: Uuid,
    /// The request's key; without one nothing is kept.
    pub key: Option<IdempotencyKey>,
    /// Where it went.
    pub path: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// An answer, new or kept.
#[derive(Debug)]
pub struct Answer<T> {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: T,
    replayed: bool,
}

#[derive(Debug, Deserialize)]
struct Row {
    fingerprint: String,
    status: Option<u16>,
    body: Option<String>,
}

impl Once<'_> {
    /// Claims the key. `Some` is the answer to an earlier request: give it, and do nothing.
    ///
    /// # Errors
    /// 422 when the key was used for another request; of the database.
    pub async fn claim<B: Serialize, T: DeserializeOwned>(
        &self,
        transaction: &Transaction,
        request: &B,
    ) -> Result<Option<Answer<T>>> {
        let Some(IdempotencyKey(key)) = &self.key else { return Ok(None) };
        let fingerprint = self.fingerprint(request)?;
        // A key whose time is over counts as new, also before it has been purged.
        let sql = "INSERT INTO idempotency_keys (user_id, key, fingerprint, expires_at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (user_id, key) DO UPDATE
                   SET fingerprint = excluded.fingerprint, status = NULL, body = NULL, expires_at = excluded.expires_at
                   WHERE idempotency_keys.expires_at <= $5";
        let expires_at = self.now.checked_add(KEPT).unwrap_or(Timestamp::MAX);
        let values = params![self.user, key, fingerprint, expires_at, self.now];
        if transaction.execute(sql, values).await.map_err(or_user_is_gone)? == 1 {
            return Ok(None);
        }
        let sql = "SELECT fingerprint, status, body FROM idempotency_keys WHERE user_id = $1 AND key = $2";
        let row: Row = transaction.one(sql, params![self.user, key]).await?;
        if row.fingerprint != fingerprint {
            return Err(Error::new(
                Problem::new(422)
                    .kind("/problems/idempotency-key-reused", "Idempotency-Key reused")
                    .detail("This Idempotency-Key was used for another request. Take a new one for each request."),
            ));
        }
        match (row.status.and_then(|status| StatusCode::from_u16(status).ok()), row.body) {
            (Some(status), Some(body)) => {
                let body = serde_json::from_str(&body).map_err(Error::internal)?;
                Ok(Some(Answer { status, body, replayed: true }))
            }
            _ => Err(Error::conflict("A request with this Idempotency-Key is being worked on. Repeat it in a moment.")),
        }
    }

    /// Keeps the answer, to be given again.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keep<T: Serialize>(&self, transaction: &Transaction, answer: &Answer<T>) -> Result<()> {
        let Some(IdempotencyKey(key)) = &self.key else { return Ok(()) };
        let body = serde_json::to_string(&answer.body).map_err(Error::internal)?;
        let sql = "UPDATE idempotency_keys SET status = $3, body = $4 WHERE user_id = $1 AND key = $2";
        transaction.execute(sql, params![self.user, key, answer.status.as_u16(), body]).await?;
        Ok(())
    }

    /// The same for the same request, whatever the order of its JSON members: SHA-256 of the path and of the body as
    /// it was understood.
    fn fingerprint<B: Serialize>(&self, request: &B) -> Result<String> {
        let body = serde_json::to_vec(request).map_err(Error::internal)?;
        let digest = Sha256::new().chain_update(self.path).chain_update(b"\n").chain_update(body).finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl<T: Serialize> Answer<T> {
    /// A new answer.
    pub fn new(status: StatusCode, body: T) -> Self {
        Self { status, body, replayed: false }
    }

    /// The response, with a `Location` if there is one.
    pub fn into_response(self, location: Option<String>) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
            headers.insert(header::LOCATION, location);
        }
        if self.replayed {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>> {
        let mut values = parts.headers.get_all(KEY).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => parse(value).map(Some).ok_or_else(malformed),
            _ => Err(malformed()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let key = <Self as OptionalFromRequestParts<S>>::from_request_parts(parts, state).await?;
        key.ok_or_else(|| Error::bad_request("This needs an Idempotency-Key header."))
    }
}

/// The draft makes the key a quoted string; most clients send it bare. Both are the same key.
fn parse(value: &HeaderValue) -> Option<IdempotencyKey> {
    let text = value.to_str().ok()?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    (!text.is_empty() && text.len() <= MAX_KEY_LENGTH && visible).then(|| IdempotencyKey(text.to_owned()))
}

fn malformed() -> Error {
    Error::bad_request("Idempotency-Key is one header of 1 to 255 visible ASCII characters, such as a UUID.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_db::{ADA, at, each_database};

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        let key = |text: &'static str| parse(&HeaderValue::from_static(text));
        assert_eq!(key("\"abc-1\""), key(" abc-1 "));
        assert_eq!(key("abc-1"), Some(IdempotencyKey("abc-1".into())));
        for bad in ["", "\"\"", "a b", "\"", "a\"b", "a\\b"] {
            assert_eq!(key(bad), None, "{bad}");
        }
        assert!(parse(&HeaderValue::try_from("a".repeat(256)).unwrap()).is_none());
        assert!(parse(&HeaderValue::try_from("a".repeat(255)).unwrap()).is_some());
    }

    #[test]
    fn a_fingerprint_tells_paths_and_bodies_apart() {
        let once = |path| Once { user: Uuid::nil(), key: None, path, now: Timestamp::UNIX_EPOCH };
        let a = once("/a").fingerprint(&1).unwrap();
        assert_eq!(a, once("/a").fingerprint(&1).unwrap());
        assert_ne!(a, once("/a").fingerprint(&2).unwrap());
        assert_ne!(a, once("/b").fingerprint(&1).unwrap());
    }

    #[tokio::test]
    async fn a_key_is_free_again_after_its_time() {
        for test in each_database().await {
            let claim = async |now: Timestamp, request: u8| {
                let key = Some(IdempotencyKey("k".into()));
                let once = Once { user: ADA, key, path: "/", now };
                let transaction = test.db.begin().await.unwrap();
                let before = once.claim::<_, u8>(&transaction, &request).await.unwrap();
                if before.is_none() {
                    once.keep(&transaction, &Answer::new(StatusCode::OK, request)).await.unwrap();
                }
                transaction.commit().await.unwrap();
                before.map(|answer| (answer.status, answer.body))
            };
            let start = at("2026-01-01T00:00:00Z");
            assert_eq!(claim(start, 1).await, None);
            assert_eq!(claim(start + Duration::from_secs(1), 1).await, Some((StatusCode::OK, 1)));
            assert_eq!(claim(start + KEPT, 2).await, None);
            assert_eq!(claim(start + KEPT, 2).await, Some((StatusCode::OK, 2)));
        }
    }
}
