//! Who the client is when proxies stand in between.
//!
//! A forwarding header is text that anybody can send. It is believed only when the peer is a trusted proxy, and
//! then read from the right: each trusted proxy vouches for the address before it, up to the first that is not
//! trusted. Everything left of that is the client's own claim.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The networks whose word on addresses is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Believes these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The client of a request that came from `peer`.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let mut client = peer;
        let mut seen_forwarded = false;
        for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            seen_forwarded = true;
            for hop in value.as_bytes().rsplit(|byte| *byte == b',') {
                // A hop that is not an address ends the chain of those who vouch.
                let Some(address) = parse_hop(hop) else { return client };
                client = address;
                if !self.trusts(address) {
                    return client;
                }
            }
        }
        if !seen_forwarded && let Some(address) = headers.get(X_REAL_IP).and_then(|value| parse_hop(value.as_bytes())) {
            return address;
        }
        client
    }

    /// Whether the client spoke TLS, to us or to a trusted proxy.
    #[must_use]
    pub fn is_https(&self, peer: IpAddr, tls: bool, headers: &HeaderMap) -> bool {
        tls || (self.trusts(peer.to_canonical())
            && headers.get(X_FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https")))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// `203.0.113.9`, `203.0.113.9:4711`, `2001:db8::1`, `[2001:db8::1]:4711`.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|with_port| with_port.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok())?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(peer: &str, forwarded: &[&'static str]) -> String {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_header_from_a_stranger_is_ignored() {
        assert_eq!(client("203.0.113.9", &["1.2.3.4"]), "203.0.113.9");
    }

    #[test]
    fn the_last_address_that_is_not_ours_is_the_client() {
        assert_eq!(client("10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.2.3.4,10.0.0.2"]), "1.2.3.4");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(client("::ffff:10.0.0.1", &["1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn nonsense_leaves_the_last_address_that_was_vouched_for() {
        assert_eq!(client("10.0.0.1", &["1.2.3.4, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["", "x"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn x_real_ip_counts_only_without_x_forwarded_for() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.insert(X_REAL_IP, HeaderValue::from_static("1.2.3.4"));
        assert_eq!(proxies.client("10.0.0.1".parse().unwrap(), &headers).to_string(), "1.2.3.4");
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static("5.6.7.8"));
        assert_eq!(proxies.client("10.0.0.1".parse().unwrap(), &headers).to_string(), "5.6.7.8");
        assert_eq!(proxies.client("9.9.9.9".parse().unwrap(), &headers).to_string(), "9.9.9.9");
    }

    #[test]
    fn https_is_believed_of_a_trusted_proxy_only() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        assert!(proxies.is_https("10.0.0.1".parse().unwrap(), false, &headers));
        assert!(!proxies.is_https("9.9.9.9".parse().unwrap(), false, &headers));
        assert!(proxies.is_https("9.9.9.9".parse().unwrap(), true, &headers));
    }
}
