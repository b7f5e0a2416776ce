//! Requests refused by a rate limit.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{Arc, OnceLock};

use metrics::Counter;

use crate::metrics::Registry;
use crate::metrics::catalog::APP_RATE_LIMIT_EXCEEDED;

/// How many classes clients are spread over.
const CLASSES: usize = 64;

/// The refusals of one endpoint. Clients are told apart by class only, so that a flood from many addresses makes no
/// series.
///
/// ```
/// use covet_telemetry::metrics::Registry;
/// use covet_telemetry::metrics::instruments::RateLimitInstruments;
///
/// let registry = Registry::new();
/// let refusals = RateLimitInstruments::new(&registry, "/api/users");
/// refusals.exceeded(&"192.0.2.7");
/// refusals.exceeded(&"192.0.2.7");
///
/// let text = registry.render();
/// let line = text.lines().find(|line| line.starts_with("app_rate_limit_exceeded{")).unwrap();
/// assert!(line.ends_with(" 2.0"), "{line}");
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitInstruments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    endpoint: String,
    classes: [OnceLock<Counter>; CLASSES],
}

impl RateLimitInstruments {
    /// The refusals of `endpoint`: a route as declared, as in the HTTP metrics.
    #[must_use]
    pub fn new(registry: &Registry, endpoint: &str) -> Self {
        let classes = [const { OnceLock::new() }; CLASSES];
        Self(Arc::new(Inner { registry: registry.clone(), endpoint: endpoint.to_owned(), classes }))
    }

    /// Counts a refused request of `client`: an address, a user, a key.
    pub fn exceeded(&self, client: &impl Hash) {
        let Inner { registry, endpoint, classes } = &*self.0;
        // The same on every instance and after every start: a class can be followed.
        let class = BuildHasherDefault::<DefaultHasher>::default().hash_one(client) as usize % CLASSES;
        let counter = classes[class]
            .get_or_init(|| registry.counter(APP_RATE_LIMIT_EXCEEDED, &[endpoint, &format!("c{class:02}")]));
        counter.increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_clients_make_as_many_series_as_there_are_classes() {
        let registry = Registry::new();
        let refusals = RateLimitInstruments::new(&registry, "/api/users");
        for client in 0..10_000_u32 {
            refusals.exceeded(&client);
        }
        let text = registry.render();
        let lines = || text.lines().filter(|line| line.starts_with("app_rate_limit_exceeded{"));
        assert_eq!(lines().count(), CLASSES);
        let sum: f64 = lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
        assert_eq!(sum, 10_000.0);
        assert!(text.contains("app_rate_limit_exceeded{endpoint=\"/api/users\",client_id=\"c00\"}"));
    }
}
