//! What an operator can set about rate limits.

use covet_core::settings::{SettingValue, Settings};
use ipnet::IpNet;

/// Which fields tell clients how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SettingValue)]
pub enum LimitHeaders {
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`: what clients read today.
    Separate,
    /// `RateLimit` and `RateLimit-Policy`, as the IETF's draft has them now.
    Combined,
    /// None. `Retry-After` goes with a refusal all the same.
    Off,
}

/// Limits on how many requests a client may make. One that comes afresh may make so many in the minute that its first request
/// begins, at any pace; after that they come back evenly.
#[derive(Debug, Clone, Settings)]
#[settings(section = "rate_limit")]
pub struct RateLimitSettings {
    /// Whether requests are limited. A load test from one address needs `false`, or the address in
    /// `COVET_RATE_LIMIT__TRUSTED`.
    #[setting(default = "true")]
    pub enabled: bool,
    /// Requests a minute of one client address. Health checks, CORS preflights and the operator's port do not count.
    #[setting(default = "100", min = "1", max = "60000000")]
    pub per_minute: u32,
    /// Requests that an address may make at once, where that is not as many as in a minute. 0: as many.
    #[setting(default = "0", max = "60000000")]
    pub burst: u32,
    /// Requests a minute of one user, whatever their address, beside the limit by address. 0: no such limit.
    #[setting(default = "0", max = "60000000")]
    pub user_per_minute: u32,
    /// Requests a minute of one API key, likewise. 0: no such limit.
    #[setting(default = "0", max = "60000000")]
    pub api_key_per_minute: u32,
    /// How many bits of an IPv6 address tell clients apart: a household or a server has at least a /64 to itself.
    #[setting(default = "64", min = "32", max = "128")]
    pub ipv6_prefix: u8,
    /// Networks of callers that no limit is for: other services, monitoring, the machines of a load test.
    #[setting(default = "", example = "10.0.0.0/8,192.0.2.7/32")]
    pub trusted: Vec<IpNet>,
    /// Which fields tell clients how they stand: separate, combined or off.
    #[setting(default = "separate")]
    pub headers: LimitHeaders,
    /// Whether all instances count together in the Redis of `REDIS_URL`. Without one, each counts alone.
    #[setting(default = "true")]
    pub shared: bool,
    /// Clients that an instance remembers at once, 26 bytes each, taken when they come. Twice as many as come in a minute.
    #[setting(default = "200000", min = "1000", max = "100000000")]
    pub clients: usize,
}
