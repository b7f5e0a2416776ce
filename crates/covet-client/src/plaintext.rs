//! Who may be called without TLS.

use covet_core::environment::Environment;
use reqwest::Url;

use crate::Error;

/// The rule of this process.
#[derive(Debug, Clone)]
pub(crate) struct PlaintextRule {
    /// `None` where everybody may be.
    exceptions: Option<Vec<String>>,
}

impl PlaintextRule {
    pub(crate) fn new(environment: Environment, exceptions: &[String]) -> Self {
        let exceptions = exceptions.iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { exceptions: environment.is_production().then_some(exceptions) }
    }

    /// Refuses a URL that may not be called as it is.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Error> {
        let Some(exceptions) = &self.exceptions else { return Ok(()) };
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let this_machine = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        if url.scheme() == "https" || this_machine || exceptions.iter().any(|exception| matches(exception, &host)) {
            return Ok(());
        }
        Err(Error::Plaintext { host })
    }
}

fn matches(exception: &str, host: &str) -> bool {
    match exception.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => host == exception || host.trim_matches(['[', ']']) == exception,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(environment: Environment, exceptions: &[&str], url: &str) -> bool {
        let exceptions: Vec<_> = exceptions.iter().map(ToString::to_string).collect();
        PlaintextRule::new(environment, &exceptions).check(&Url::parse(url).unwrap()).is_ok()
    }

    #[test]
    fn production_calls_by_tls_but_for_the_exceptions() {
        use Environment::{Development, Production, Staging};
        for (environment, exceptions, url, allowed) in [
            (Development, &[][..], "http://stock", true),
            (Staging, &[], "http://stock", true),
            (Production, &[], "https://stock", true),
            (Production, &[], "http://stock", false),
            (Production, &[], "http://localhost:8080", true),
            (Production, &[], "http://[::1]:8080", true),
            (Production, &[], "http://localhost.evil.example", false),
            (Production, &["stock"], "http://STOCK:8080/x", true),
            (Production, &["stock"], "http://stocks", false),
            (Production, &["*.svc.cluster.local"], "http://a.shop.svc.cluster.local", true),
            (Production, &["*.svc.cluster.local"], "http://svc.cluster.local", false),
            (Production, &["*.svc.cluster.local"], "http://evilsvc.cluster.local", false),
            (Production, &["*"], "http://anything", true),
            (Production, &["10.0.0.7"], "http://10.0.0.7", true),
        ] {
            assert_eq!(may(environment, exceptions, url), allowed, "{environment} {exceptions:?} {url}");
        }
    }
}
