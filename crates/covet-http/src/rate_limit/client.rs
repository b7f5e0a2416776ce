//! Whom a limit is for: an address, a user, a key; as a number for the table of this process and as text for the one that
//! all instances share.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// What tells one client from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// The address that the request came from; of IPv6 its network (`COVET_RATE_LIMIT__IPV6_PREFIX`).
    Address,
    /// The user, once [`admit`](super::admit) has been told who it is.
    User,
    /// The API key, likewise.
    ApiKey,
}

/// A caller who has proven who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who<'a> {
    /// A user, by id.
    User(&'a str),
    /// An API key, by anything that stays the same: its id or the key itself. It is kept and sent on as a hash only.
    ApiKey(&'a str),
}

impl By {
    /// As in "100 requests a minute by address".
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::ApiKey => "API key",
        }
    }

    /// As a name in a field and in the log.
    pub(super) fn policy(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::ApiKey => "api_key",
        }
    }
}

impl<'a> Who<'a> {
    pub(super) fn kind(self) -> By {
        match self {
            Self::User(_) => By::User,
            Self::ApiKey(_) => By::ApiKey,
        }
    }

    fn id(self) -> &'a str {
        match self {
            Self::User(id) | Self::ApiKey(id) => id,
        }
    }

    /// The same on all instances, short, and nobody's secret.
    pub(super) fn shared_name(self) -> String {
        let digest =
            Sha256::new().chain_update(self.kind().as_str()).chain_update([0]).chain_update(self.id()).finalize();
        covet_core::hex::digits(&digest[..16])
    }
}

/// The part of an address that counts as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(u128);

impl Network {
    /// `prefix`: how many bits of an IPv6 address count. An IPv4 address counts whole, also when it comes as IPv6.
    #[inline]
    pub(super) fn of(address: IpAddr, prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => {
                let ignored = 128 - u32::from(prefix.min(128));
                Self(address.to_bits() & u128::MAX.checked_shl(ignored).unwrap_or(0))
            }
        }
    }
}

/// As it is written in the shared store's keys.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Ipv6Addr::from_bits(self.0).to_canonical() {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => address.fmt(f),
        }
    }
}

/// Makes the numbers by which this process knows clients. Nobody outside can tell them: they begin at a random place.
#[derive(Debug, Default)]
pub(super) struct Numbers(RandomState);

impl Numbers {
    #[inline]
    pub(super) fn of_network(&self, network: Network) -> u64 {
        self.0.hash_one(network)
    }

    pub(super) fn of_caller(&self, who: Who<'_>) -> u64 {
        self.0.hash_one((who.kind(), who.id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, prefix: u8) -> String {
        Network::of(address.parse().unwrap(), prefix).to_string()
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_the_next_one_another() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:ffff::1", 64), "2001:db8:1:2::");
        assert_ne!(network("2001:db8:1:3::1", 64), network("2001:db8:1:2::1", 64));
        assert_eq!(network("2001:db8:1:3::1", 56), network("2001:db8:1:2::1", 56));
        assert_eq!(network("2001:db8::1", 128), "2001:db8::1");
        assert_eq!(network("2001:db8::1", 0), "::");
    }

    #[test]
    fn an_ipv4_address_is_itself_however_it_is_written() {
        assert_eq!(network("203.0.113.9", 64), "203.0.113.9");
        assert_eq!(network("::ffff:203.0.113.9", 64), "203.0.113.9");
        assert_ne!(network("203.0.113.9", 64), network("203.0.113.10", 64));
    }

    #[test]
    fn a_key_is_not_shown_and_is_no_user() {
        let name = Who::ApiKey("very-secret").shared_name();
        assert!(name.len() == 32 && !name.contains("secret"), "{name}");
        assert_eq!(name, Who::ApiKey("very-secret").shared_name());
        assert_ne!(name, Who::User("very-secret").shared_name());
        let numbers = Numbers::default();
        assert_ne!(numbers.of_caller(Who::User("a")), numbers.of_caller(Who::ApiKey("a")));
    }
}
