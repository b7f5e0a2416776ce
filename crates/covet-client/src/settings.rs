//! What an operator can set about calls of other services.

use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::settings::{ByteSize, ConnectionUrl, Invalid, Settings};

/// Calls of other services over HTTP. Single calls may differ from these.
#[derive(Debug, Clone, Settings)]
#[settings(section = "client", validate = "invalid")]
pub struct ClientSettings {
    /// Longest time a call may take: all attempts, the pauses between them, and the body of the answer.
    #[setting(default = "10s", min = "10ms", max = "1h")]
    pub deadline: Duration,
    /// Longest time one attempt may take until its answer begins. When it is not set, the deadline is the only bound, and
    /// an attempt that hangs leaves no time for another.
    #[setting(min = "10ms", max = "1h", example = "2s")]
    pub attempt_timeout: Option<Duration>,
    /// Longest time to connect, TLS included.
    #[setting(default = "2s", min = "10ms", max = "1m")]
    pub connect_timeout: Duration,
    /// Most attempts of a call; 1 is no retries. Only what may happen twice is tried again: idempotent methods, calls
    /// that say they are, and what never reached the other service.
    #[setting(default = "3", min = "1", max = "10")]
    pub attempts: u32,
    /// Share of the calls of a host, within the last ten seconds, that may be tried again.
    #[setting(default = "0.2", min = "0", max = "1")]
    pub retry_ratio: f64,
    /// Retries a second, for each host, that are allowed whatever the share.
    #[setting(default = "5", max = "10000")]
    pub retries_per_second: u32,
    /// Hosts that may be called without TLS in production: names, `*.suffix` for all below a suffix, or `*` for all, where
    /// a service mesh encrypts. This machine (`localhost`, `127.0.0.1`, `::1`) always may.
    #[setting(default = "", example = "*.svc.cluster.local,stock")]
    pub allow_plaintext: Vec<String>,
    /// Most bytes of an answer's body that are read into memory.
    #[setting(default = "10MiB", min = "1KiB", max = "1GiB")]
    pub response_limit: ByteSize,
    /// How long a connection stays open unused. Less than what the other side allows, or a call may meet one that is
    /// being closed.
    #[setting(default = "30s", min = "1s", max = "1h")]
    pub pool_idle_timeout: Duration,
    /// Most connections that stay open unused, for each host.
    #[setting(default = "32", max = "10000")]
    pub pool_max_idle: usize,
    /// Proxy for calls over TLS, `http://host:port`. Other variables for proxies are not read.
    #[setting(variable = "HTTPS_PROXY", example = "http://proxy.internal:3128")]
    pub proxy: Option<ConnectionUrl>,
    /// Hosts that are called without the proxy: names, suffixes, addresses, networks.
    #[setting(variable = "NO_PROXY", example = ".internal,10.0.0.0/8")]
    pub no_proxy: Option<String>,
}

fn invalid(settings: &ClientSettings, _: Environment) -> Vec<Invalid> {
    let mut found = Vec::new();
    for host in &settings.allow_plaintext {
        let suffix = host.strip_prefix("*.").unwrap_or(host);
        let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if host != "*" && (suffix.is_empty() || !suffix.bytes().all(name)) {
            let reason = format!("holds {host:?}, which is neither a host's name nor *.suffix nor *");
            found.push(Invalid::new("allow_plaintext", reason));
        }
    }
    if settings.attempt_timeout.is_some_and(|attempt| attempt > settings.deadline) {
        found.push(Invalid::new("attempt_timeout", "is longer than COVET_CLIENT__DEADLINE"));
    }
    if let Some(proxy) = &settings.proxy
        && reqwest::Proxy::https(proxy.expose()).is_err()
    {
        found.push(Invalid::new("proxy", "is no address of a proxy").example("http://proxy.internal:3128"));
    }
    found
}
