//! Every attempt to prove who one is, counted and, when it fails, told to the `covet.security` log.
//!
//! | metric | labels |
//! |---|---|
//! | `app_auth_attempts_total` | `method`: `password`, `refresh_token`, `access_token`; `status`: `success`, `failure` |
//! | `app_auth_failures_total` | `method` as above; `reason`: a word from the code, never from the request |
//!
//! A failed check of an access token is counted but not logged: tokens expire all day, and a stranger could
//! fill the log. Log lines carry neither e-mail addresses nor tokens; the request's address and id are in the
//! line's own fields.

use covet_telemetry::metrics::catalog::{APP_AUTH_ATTEMPTS_TOTAL, APP_AUTH_FAILURES_TOTAL};
use metrics::{Counter, counter};

/// `target` of security events in the log.
pub const SECURITY: &str = "covet.security";

/// How somebody tried to prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// E-mail address and password.
    Password,
    /// A refresh token.
    RefreshToken,
    /// A bearer access token.
    AccessToken,
}

impl Method {
    /// The value of the label `method`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
        }
    }

    /// Counts a success.
    pub fn succeeded(self) {
        self.success_counter().increment(1);
    }

    /// Counts a failure. `reason` is a fixed word, so that the number of series stays bounded.
    pub fn failed(self, reason: &'static str) {
        counter!(APP_AUTH_ATTEMPTS_TOTAL.name, "method" => self.as_str(), "status" => "failure").increment(1);
        counter!(APP_AUTH_FAILURES_TOTAL.name, "method" => self.as_str(), "reason" => reason).increment(1);
        if self != Self::AccessToken {
            tracing::warn!(target: SECURITY, auth_method = self.as_str(), reason, "authentication failed");
        }
    }

    /// The counter of successes, for callers that count on every request and keep it.
    pub fn success_counter(self) -> Counter {
        counter!(APP_AUTH_ATTEMPTS_TOTAL.name, "method" => self.as_str(), "status" => "success")
    }
}
