//! Callers that no limit is for: networks that the operator names, and what the service itself says of a request.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};
use ipnet::IpNet;

/// A request that is about to be counted, as far as it is known: before its route and its body.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The client's address, as far as it can be trusted.
    pub client: IpAddr,
    /// The method.
    pub method: &'a Method,
    /// The address that was asked for.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Says which requests no limit is for.
pub type Trusts = Arc<dyn Fn(&Asking<'_>) -> bool + Send + Sync>;

pub(super) struct Trusted {
    pub(super) networks: Vec<IpNet>,
    pub(super) predicates: Vec<Trusts>,
}

impl Trusted {
    #[inline]
    pub(super) fn has(&self, asking: &Asking<'_>) -> bool {
        self.networks.iter().any(|network| network.contains(&asking.client))
            || self.predicates.iter().any(|trusts| says(trusts, asking))
    }
}

/// What the service says. A predicate that panics, outside the request's guard, trusts nobody; the panic is in the log.
fn says(trusts: &Trusts, asking: &Asking<'_>) -> bool {
    catch_unwind(AssertUnwindSafe(|| trusts(asking))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_or_a_predicate_is_enough_and_one_that_panics_trusts_nobody() {
        let (uri, headers) = (Uri::from_static("/"), HeaderMap::new());
        let asking = Asking { client: [10, 0, 0, 1].into(), method: &Method::GET, uri: &uri, headers: &headers };
        let has = |networks: &[&str], predicates| {
            let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
            Trusted { networks, predicates }.has(&asking)
        };
        let panics: Trusts = Arc::new(|_| panic!("on purpose"));
        assert!(has(&["192.0.2.0/24", "10.0.0.0/8"], vec![]));
        assert!(!has(&["192.0.2.0/24"], vec![panics.clone()]));
        assert!(has(&[], vec![panics, Arc::new(|asking| asking.uri == "/")]));
    }
}
