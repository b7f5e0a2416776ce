//! What an operator can set about the cache.

use std::path::PathBuf;
use std::time::Duration;

use covet_core::environment::Environment;
use covet_core::secret::SecretString;
use covet_core::settings::{ByteSize, ConnectionUrl, Invalid, Section as _, Settings, Value as _};

/// The cache and the messages between instances.
#[derive(Debug, Clone, Settings)]
#[settings(section = "cache", validate = "check")]
pub struct CacheSettings {
    /// Where the cache is. Not set: in this process' memory, which is right for one instance only. `redis://host:6379/0` is
    /// one server, `rediss://user:password@host:6380` one with TLS and a user;
    /// `redis+sentinel://:password@s1:26379,s2:26379,s3:26379/mymaster/0` asks Sentinels for the master;
    /// `redis+cluster://:password@h1:6379,h2:6379,h3:6379` is a cluster; `rediss+sentinel` and `rediss+cluster` with TLS.
    #[setting(variable = "REDIS_URL", example = "redis://cache:6379/0")]
    pub url: Option<ConnectionUrl>,
    /// Refuse to send anything in the clear over a network. Sockets and 127.0.0.1 are exempt.
    #[setting(default = "false", default_outside_development = "true")]
    pub require_tls: bool,
    /// Longest wait for the answer to one operation. Later the operation fails, and what can do without the cache goes on
    /// without it.
    #[setting(default = "100ms", min = "1ms", max = "10s")]
    pub timeout: Duration,
    /// Longest wait for a connection to one server: TCP, TLS, signing in.
    #[setting(default = "1s", min = "10ms", max = "1m")]
    pub connect_timeout: Duration,
    /// A PEM file with the authorities that servers' certificates are checked with, for `rediss`. Not set: those that the
    /// operating system trusts.
    #[setting(example = "/etc/covet/redis-ca.pem")]
    pub tls_authority: Option<PathBuf>,
    /// A PEM file with a certificate of this service's own, where servers ask for one (`tls-auth-clients`).
    #[setting(example = "/etc/covet/redis.pem")]
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with its key.
    #[setting(example = "/etc/covet/redis.key")]
    pub tls_key: Option<PathBuf>,
    /// Whom to sign in to the sentinels as; the URL's user and password are for the servers.
    #[setting(example = "worker")]
    pub sentinel_user: Option<String>,
    /// What the sentinels want to hear. Not set: they want nothing.
    pub sentinel_password: Option<SecretString>,
    /// Read from replicas what may be a moment old: entries without tags. Sentinel and Cluster.
    #[setting(default = "false")]
    pub read_from_replicas: bool,
    /// Operations in a row without an answer in time after which Redis is not asked for a while; operations then fail at
    /// once. It comes to that sooner when it does not answer a `PING` either, or when the connection cannot be had.
    #[setting(default = "5", min = "1", max = "1000")]
    pub breaker_failures: u32,
    /// The longest pause then between two attempts to connect, which no operation has to wait for. The first is 50 ms.
    #[setting(default = "500ms", min = "10ms", max = "1m")]
    pub breaker_pause: Duration,
    /// Largest value taken, encoded. A larger one is not cached, which `cache_values_refused_total` tells.
    #[setting(default = "1MB", min = "1kB", max = "512MB")]
    pub value_limit: ByteSize,
    /// Without `REDIS_URL`: memory that entries may take. The least recently used go first.
    #[setting(default = "64MiB", min = "64KiB")]
    pub memory_size: ByteSize,
    /// With `REDIS_URL`: memory for what a keyspace declares as `near`, kept in the process too. 0 switches it off.
    #[setting(default = "16MiB")]
    pub near_size: ByteSize,
    /// How long such an entry is given out at most without asking Redis: so old can it be. An invalidation usually ends it
    /// within milliseconds, on every instance.
    #[setting(default = "5s", min = "10ms", max = "1h")]
    pub near_ttl: Duration,
    /// How long entries of the class `Session` live.
    #[setting(default = "24h", min = "1s", max = "365d")]
    pub session_ttl: Duration,
    /// How long entries of the class `Response` live.
    #[setting(default = "5m", min = "1s", max = "365d")]
    pub response_ttl: Duration,
    /// How long entries of the class `Query` live.
    #[setting(default = "1h", min = "1s", max = "365d")]
    pub query_ttl: Duration,
    /// How long entries of the class `Static` live.
    #[setting(default = "1d", min = "1s", max = "365d")]
    pub static_ttl: Duration,
    /// How long it is remembered that there is nothing, where a keyspace does not say it.
    #[setting(default = "30s", min = "100ms", max = "1d")]
    pub nothing_ttl: Duration,
    /// By how much entries of the classes `Response`, `Query` and `Static` end earlier at most, each by another part of it.
    #[setting(default = "10", max = "50")]
    pub jitter_percent: u8,
    /// How long other instances wait for one that loads a value, after it was last heard of: one that is killed meanwhile
    /// holds them up for so long.
    #[setting(default = "3s", min = "100ms", max = "1m")]
    pub lease: Duration,
}

impl CacheSettings {
    /// The defaults, in memory: what tests want.
    ///
    /// # Panics
    /// Never; the declarations have defaults.
    #[must_use]
    pub fn memory() -> Self {
        Self::defaults(Environment::Development)
    }

    /// The defaults, at this URL.
    ///
    /// # Panics
    /// If the text is no URL.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let url = ConnectionUrl::parse(url).expect("a URL");
        Self { url: Some(url), ..Self::memory() }
    }
}

fn check(settings: &CacheSettings, _environment: Environment) -> Vec<Invalid> {
    let mut problems = crate::redis::check(settings);
    if settings.memory_size.bytes() < settings.value_limit.bytes() && settings.url.is_none() {
        let reason = "is less than one value may take (COVET_CACHE__VALUE_LIMIT)";
        problems.push(Invalid::new("memory_size", reason).example("64MiB"));
    }
    problems
}
