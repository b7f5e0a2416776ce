//! How much a line tells of a person: the client's address and the user's id.
//!
//! The setting decides once for every line (events, access lines, the security and audit streams) and for the address in
//! spans. Pseudonyms are keyed (HMAC-SHA256), because an unkeyed hash of an IPv4 address is found by trying all of them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use covet_core::ids::random_bytes;
use covet_core::secret::{ExposeSecret, SecretString};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::record::USER_PREFIX;
use crate::settings::{AddressPolicy, LogSettings, UserPolicy};

/// What stands before a pseudonym, so that nobody takes it for an id or an address.
const HASHED: &str = "hash:";
/// Bytes of a pseudonym. 64 bits: no two of a million clients share one, and a line stays short.
const HASH_BYTES: usize = 8;

/// The policy in effect.
#[derive(Debug)]
pub(crate) struct Personal {
    address: AddressPolicy,
    user: UserPolicy,
    key: SecretString,
}

impl Personal {
    pub(super) fn new(settings: &LogSettings) -> Self {
        let key = settings.hash_key.clone().unwrap_or_else(|| SecretString::from(hex(&random_bytes::<32>())));
        Self { address: settings.ip_address, user: settings.user_id, key }
    }

    /// Whether addresses and ids are written as they are.
    #[inline]
    pub(super) fn all_is_written(&self) -> bool {
        self.address == AddressPolicy::Full && self.user == UserPolicy::Full
    }

    /// The address as it may be written; `None` when it may not.
    pub(crate) fn address(&self, address: IpAddr) -> Option<String> {
        match self.address {
            AddressPolicy::Full => Some(address.to_string()),
            AddressPolicy::Truncated => Some(truncated(address).to_string()),
            AddressPolicy::Hashed => Some(self.pseudonym(&address.to_string())),
            AddressPolicy::Off => None,
        }
    }

    /// The user's id as it may be written; `None` when it may not.
    pub(super) fn user<'a>(&self, id: &'a str) -> Option<Cow<'a, str>> {
        match self.user {
            UserPolicy::Full => Some(Cow::Borrowed(id)),
            UserPolicy::Hashed => Some(Cow::Owned(self.pseudonym(id))),
            UserPolicy::Off => None,
        }
    }

    /// The text of a field that an event has given itself, as it may be written. `None`: leave the field out.
    pub(super) fn field<'a>(&self, name: &str, text: &'a str) -> Option<Cow<'a, str>> {
        match name {
            "ip_address" if self.address != AddressPolicy::Full => match text.parse() {
                Ok(address) => self.address(address).map(Cow::Owned),
                // Not an address, so nothing can be cut off it.
                Err(_) => (self.address != AddressPolicy::Off).then(|| Cow::Owned(self.pseudonym(text))),
            },
            "user_id" => self.user(text),
            // `user:<id>`, as records of the streams have it.
            "actor" | "target" => match text.strip_prefix(USER_PREFIX) {
                Some(id) if self.user != UserPolicy::Full => {
                    let shown = self.user(id).unwrap_or(Cow::Borrowed("-"));
                    Some(Cow::Owned(format!("{USER_PREFIX}{shown}")))
                }
                _ => Some(Cow::Borrowed(text)),
            },
            _ => Some(Cow::Borrowed(text)),
        }
    }

    fn pseudonym(&self, text: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.key.expose_secret().as_bytes()) else {
            return HASHED.to_owned();
        };
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        format!("{HASHED}{}", hex(&digest[..HASH_BYTES]))
    }
}

/// The network of an address: /24 of IPv4, /48 of IPv6, as data protection authorities have accepted it for logs.
#[must_use]
pub fn truncated(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
