//! What an operator can set about HTTP.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::settings::{ByteSize, Invalid, SettingValue, Settings};
use ipnet::IpNet;

/// How connections are spread over cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum Runtime {
    /// One acceptor and one single-threaded runtime a core, each with its own listening socket. A request never
    /// changes cores. A handler that blocks its thread holds up the connections of that core.
    PerCore,
    /// One multi-threaded runtime that moves tasks between cores. For handlers that compute for long.
    Shared,
}

/// The HTTP listener and what one connection may cost.
#[derive(Debug, Clone, Settings)]
#[settings(section = "http", validate = "check")]
pub struct HttpSettings {
    /// Port of the API.
    #[setting(variable = "PORT", default = "8000")]
    pub port: u16,
    /// Address the API binds to.
    #[setting(variable = "HOST", default = "127.0.0.1", default_outside_development = "0.0.0.0")]
    pub host: IpAddr,
    /// How connections are spread over cores.
    #[setting(default = "per-core")]
    pub runtime: Runtime,
    /// Number of acceptors; 0 is one a core.
    #[setting(default = "0", max = "256")]
    pub workers: usize,
    /// Connections that may wait to be accepted, per listening socket. The kernel caps it at net.core.somaxconn.
    #[setting(default = "4096", min = "1")]
    pub backlog: u32,
    /// Most connections open at once. One more is answered 503 and closed.
    #[setting(default = "20000", min = "1")]
    pub max_connections: usize,
    /// Longest time to send a request's head, and to complete a TLS handshake. Later: 408 and the connection is closed.
    #[setting(default = "10s", min = "100ms", max = "5m")]
    pub header_read_timeout: Duration,
    /// How long a connection without a request, or one that takes in nothing of a response, stays open.
    #[setting(default = "75s", min = "100ms", max = "1h")]
    pub keep_alive_timeout: Duration,
    /// Longest time from a request's head to the head of its response. Later: 504, or 408 while its body was still arriving.
    #[setting(default = "60s", min = "10ms", max = "1h")]
    pub request_timeout: Duration,
    /// Age at which a connection is asked to close after its current response, so that load spreads to new
    /// instances. 10 % of it is random. 0s: no limit.
    #[setting(default = "1h", max = "30d")]
    pub max_connection_age: Duration,
    /// Largest request body. Larger: 413.
    #[setting(default = "50MiB")]
    pub body_limit: ByteSize,
    /// Largest head of a request. Larger: 431.
    #[setting(default = "64KiB", min = "8KiB", max = "1MiB")]
    pub head_limit: ByteSize,
    /// HTTP/2 streams open at once on one connection.
    #[setting(default = "200", min = "1")]
    pub http2_max_streams: u32,
    /// Requests handled at once. More wait in the queue.
    #[setting(default = "4096", min = "1")]
    pub max_in_flight: usize,
    /// Requests that may wait for their turn. One more is answered 503 with Retry-After. 0: nobody waits.
    #[setting(default = "1024")]
    pub queue_limit: usize,
    /// Longest wait in the queue. Later: 503 with Retry-After.
    #[setting(default = "1s", max = "1m")]
    pub queue_timeout: Duration,
    /// Networks of the proxies in front, whose X-Forwarded-For, X-Real-IP and X-Forwarded-Proto are believed.
    #[setting(default = "", example = "10.0.0.0/8,127.0.0.1/32")]
    pub trusted_proxies: Vec<IpNet>,
    /// Certificate chain (PEM) to serve TLS with. Read again when the file changes.
    #[setting(example = "/run/secrets/tls.crt")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[setting(example = "/run/secrets/tls.key")]
    pub tls_key: Option<PathBuf>,
    /// Compress responses for clients that accept gzip.
    #[setting(default = "true")]
    pub compression: bool,
}

fn check(settings: &HttpSettings, _: Environment) -> Vec<Invalid> {
    let lacks = |key, other| Invalid::new(key, format!("{other} is set, and TLS needs both"));
    match (&settings.tls_certificate, &settings.tls_key) {
        (Some(_), None) => {
            vec![lacks("tls_key", "COVET_HTTP__TLS_CERTIFICATE").example("/run/secrets/tls.key")]
        }
        (None, Some(_)) => {
            vec![lacks("tls_certificate", "COVET_HTTP__TLS_KEY").example("/run/secrets/tls.crt")]
        }
        _ => Vec::new(),
    }
}

/// Responses kept for routes that ask for it.
#[derive(Debug, Clone, Settings)]
#[settings(section = "response_cache")]
pub struct ResponseCacheSettings {
    /// Whether responses are kept. Without it every request reaches its handler.
    #[setting(default = "true")]
    pub enabled: bool,
    /// Whether a client may have a response made anew, by `Cache-Control: no-cache` (a browser's reload sends it), `max-age`,
    /// `min-fresh`, or take a stale one by `max-stale`, as RFC 9111 wants it. Off: only the service decides, and nobody can make
    /// it compute by asking so.
    #[setting(default = "true")]
    pub obey_clients: bool,
    /// Whether responses tell by `Cache-Status` (RFC 9211) why they came from the cache, or did not.
    #[setting(default = "true")]
    pub status_header: bool,
    /// Longest wait for the answer that another request is getting from the handler for the same URI. Later: ask too.
    /// 0s: nobody waits.
    #[setting(default = "5s", max = "1m")]
    pub wait: Duration,
    /// Variants of one URI that are kept, told apart by the headers in `Vary`. One more is made anew for each request.
    #[setting(default = "64", min = "1", max = "10000")]
    pub max_variants: usize,
}

/// Which browsers' pages from other origins may call the API.
#[derive(Debug, Clone, Settings)]
#[settings(section = "cors")]
pub struct CorsSettings {
    /// Origins that may call, or `*` for every origin (then without credentials). Empty: none.
    #[setting(default = "", example = "https://app.covet.example,https://admin.covet.example")]
    pub allowed_origins: Vec<String>,
    /// Methods that may be used.
    #[setting(default = "GET,HEAD,POST,PUT,PATCH,DELETE")]
    pub allowed_methods: Vec<String>,
    /// Request headers that may be sent.
    #[setting(default = "authorization,content-type,if-match,if-none-match,idempotency-key,x-request-id")]
    pub allowed_headers: Vec<String>,
    /// Response headers that scripts may read.
    #[setting(default = "etag,location,ratelimit-limit,ratelimit-remaining,ratelimit-reset,retry-after,x-request-id")]
    pub exposed_headers: Vec<String>,
    /// Whether cookies and authorization may be sent.
    #[setting(default = "false")]
    pub credentials: bool,
    /// How long a browser may keep the answer to a preflight.
    #[setting(default = "10m", max = "1d")]
    pub max_age: Duration,
}

/// Which set of security headers goes with every response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum SecurityHeaders {
    /// The documented set: SAMEORIGIN framing, a content security policy that allows inline scripts.
    Documented,
    /// No framing, no inline scripts, no referrer, cross-origin isolation.
    Strict,
    /// None: the proxy in front sets them.
    Off,
}

/// Security headers.
#[derive(Debug, Clone, Settings)]
#[settings(section = "security_headers")]
pub struct SecurityHeadersSettings {
    /// Which set goes with every response. A header that a handler sets itself is left as it is.
    #[setting(default = "documented")]
    pub preset: SecurityHeaders,
}

/// The operator's port: metrics and control, never for the public.
#[derive(Debug, Clone, Settings)]
#[settings(section = "operator")]
pub struct OperatorSettings {
    /// Port of the operator's pages and `/metrics`.
    #[setting(variable = "METRICS_PORT", default = "9090")]
    pub port: u16,
    /// Address the operator's port binds to.
    #[setting(variable = "METRICS_HOST", default = "127.0.0.1", default_outside_development = "0.0.0.0")]
    pub host: IpAddr,
    /// Names by which browsers reach the operator's pages, beside addresses and `localhost`. A page under any other name
    /// may look but change nothing: it could be a stranger's whose name points here.
    #[setting(default = "", example = "covet.ops.internal")]
    pub names: Vec<String>,
}
