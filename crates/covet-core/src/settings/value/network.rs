//! Addresses, networks and URLs. A URL with a password in it is a [`ConnectionUrl`](super::ConnectionUrl).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::Value;

impl Value for IpAddr {
    fn type_name() -> String {
        "IP address".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("expected an IP address such as 127.0.0.1 or ::1, got {text:?}"))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("127.0.0.1".to_owned())
    }
}

impl Value for SocketAddr {
    fn type_name() -> String {
        "IP address and port".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| {
            format!("expected an IP address and a port such as 127.0.0.1:8000 or [::1]:8000, got {text:?}")
        })
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("127.0.0.1:8000".to_owned())
    }
}

/// A single address is the network of that one address.
impl Value for IpNet {
    fn type_name() -> String {
        "network".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let network = trimmed.parse().ok().or_else(|| trimmed.parse::<IpAddr>().ok().map(Self::from));
        network.ok_or_else(|| format!("expected a network such as 10.0.0.0/8 or fd00::/8, got {text:?}"))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("10.0.0.0/8".to_owned())
    }
}

impl Value for Url {
    fn type_name() -> String {
        "URL".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text.trim()).map_err(|error| format!("expected a URL such as https://example.com/path ({error})"))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn example() -> Option<String> {
        Some("https://example.com/".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_says_what_it_expected() {
        assert_eq!(
            <IpAddr as Value>::parse("localhost").unwrap_err(),
            "expected an IP address such as 127.0.0.1 or ::1, got \"localhost\""
        );
        assert_eq!(
            <SocketAddr as Value>::parse("127.0.0.1").unwrap_err(),
            "expected an IP address and a port such as 127.0.0.1:8000 or [::1]:8000, got \"127.0.0.1\""
        );
        assert_eq!(
            <IpNet as Value>::parse("10.0.0.0/64").unwrap_err(),
            "expected a network such as 10.0.0.0/8 or fd00::/8, got \"10.0.0.0/64\""
        );
        assert_eq!(
            <Url as Value>::parse("example.com").unwrap_err(),
            "expected a URL such as https://example.com/path (relative URL without a base)"
        );
    }

    #[test]
    fn a_single_address_is_a_network_of_one() {
        assert_eq!(<IpNet as Value>::parse("10.1.2.3").unwrap().show(), "10.1.2.3/32");
        assert_eq!(<IpNet as Value>::parse("::1").unwrap().show(), "::1/128");
    }
}
