//! Identifiers and randomness.
//!
//! Request ids need to be unique and quick, so their random part is not a secret's. What guards something
//! (tokens, keys) comes from [`random_bytes`], which is the operating system's randomness.

use std::fmt;

use uuid::{Builder, Uuid};

use crate::clock::Clock;

/// A new id for a row: UUID version 7 (RFC 9562), which sorts by time and cannot be guessed.
///
/// # Panics
/// When the operating system gives no randomness.
#[must_use]
pub fn new_id(clock: &Clock) -> Uuid {
    Builder::from_unix_timestamp_millis(clock.unix_millis(), &random_bytes::<10>()).into_uuid()
}

/// `N` bytes of the operating system's randomness, fit for secrets.
///
/// # Panics
/// When the operating system gives no randomness: nothing that needs a secret may go on then.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// The id of one request, in `x-request-id`, logs and problem details: taken from the caller when it is
/// well-formed, else a UUID version 7. Kept inline, so that a request allocates nothing for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    bytes: [u8; Self::MAX_LENGTH],
    length: u8,
}

impl RequestId {
    /// Longest id taken from a caller, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// A new id.
    #[must_use]
    pub fn generate(clock: &Clock) -> Self {
        Self::at(clock.unix_millis())
    }

    /// A new id for a moment that has already been read off the clock.
    #[must_use]
    pub fn at(unix_millis: u64) -> Self {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&fastrand::u64(..).to_ne_bytes());
        random[8..].copy_from_slice(&fastrand::u16(..).to_ne_bytes());
        let id = Builder::from_unix_timestamp_millis(unix_millis, &random).into_uuid();
        let mut bytes = [0; Self::MAX_LENGTH];
        let length = id.hyphenated().encode_lower(&mut bytes).len();
        Self { bytes, length: u8::try_from(length).unwrap_or(0) }
    }

    /// An id sent by the caller, when it is 1 to 64 characters of `A-Z a-z 0-9 . _ -`. Anything else could
    /// forge log lines or headers.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > Self::MAX_LENGTH || !text.iter().all(allowed) {
            return None;
        }
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes[..text.len()].copy_from_slice(text);
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The id as bytes, all of them of the characters that [`parse`](Self::parse) allows: neither a header nor a JSON
    /// string needs to check or escape them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_ids_are_distinct_version_7_uuids() {
        let clock = Clock::system();
        let (a, b) = (RequestId::generate(&clock), RequestId::generate(&clock));
        assert_ne!(a, b);
        assert_eq!(Uuid::parse_str(a.as_str()).unwrap().get_version_num(), 7);
        assert_eq!(new_id(&clock).get_version_num(), 7);
    }

    #[test]
    fn a_callers_id_is_taken_only_when_it_cannot_forge_a_line() {
        assert_eq!(RequestId::parse(b"abc-123_x.Y").unwrap().as_str(), "abc-123_x.Y");
        for bad in [&b""[..], b"a b", b"a\nb", b"a\"b", &[b'a'; 65], "é".as_bytes()] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
        assert!(RequestId::parse(&[b'a'; 64]).is_some());
    }
}
