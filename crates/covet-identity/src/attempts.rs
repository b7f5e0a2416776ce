//! Every attempt to prove who one is: counted, and told to the `covet.security` log.
//!
//! | metric | labels |
//! |---|---|
//! | `app_auth_attempts_total` | `method`: `password`, `refresh_token`, `access_token`, `session`, `api_key`; `status`: `success`, `failure` |
//! | `app_auth_failures_total` | `method` as above; `reason`: a word from the code, never from the request |
//!
//! A failed check of an access token, of a session's cookie or of an API key is counted but not logged: they expire all
//! day, and a stranger could fill the log. What [access control](crate::access) refuses, it logs, within bounds. Log lines carry neither e-mail addresses nor tokens; the request's address and id are
//! in the line's own fields.

use std::fmt::Display;

use covet_telemetry::logging::{Actor, security, vocabulary};
use covet_telemetry::metrics::catalog::{APP_AUTH_ATTEMPTS_TOTAL, APP_AUTH_FAILURES_TOTAL};
use metrics::{Counter, counter};

/// How somebody tried to prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// E-mail address and password.
    Password,
    /// A refresh token.
    RefreshToken,
    /// A bearer access token.
    AccessToken,
    /// The cookie of a session.
    Session,
    /// An API key.
    ApiKey,
}

impl Method {
    /// The value of the label `method`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
            Self::Session => "session",
            Self::ApiKey => "api_key",
        }
    }

    /// Counts a success that opens nothing: a password asked for again before a change.
    pub fn succeeded(self) {
        self.success_counter().increment(1);
    }

    /// Counts a success, and tells who has logged in or gone on with a login.
    pub fn succeeded_for(self, user: impl Display) {
        self.succeeded();
        let user = user.to_string();
        let record = |event| security(event).auth_method(self.as_str()).actor(Actor::User(&user));
        match self {
            Self::Password => record(vocabulary::LOGIN_SUCCEEDED).log("logged in"),
            Self::RefreshToken => record(vocabulary::SESSION_RENEWED).log("login renewed"),
            Self::AccessToken | Self::Session | Self::ApiKey => {}
        }
    }

    /// Counts a failure, and tells of it. `reason` is a fixed word, so that the number of series stays bounded.
    pub fn failed(self, reason: &'static str) {
        self.fail(reason, None);
    }

    /// The same, of an attempt to be this user.
    pub fn failed_for(self, reason: &'static str, user: impl Display) {
        self.fail(reason, Some(&user));
    }

    /// Counts a failure that is told of otherwise.
    pub fn count_failure(self, reason: &'static str) {
        counter!(APP_AUTH_ATTEMPTS_TOTAL.name, "method" => self.as_str(), "status" => "failure").increment(1);
        counter!(APP_AUTH_FAILURES_TOTAL.name, "method" => self.as_str(), "reason" => reason).increment(1);
    }

    fn fail(self, reason: &'static str, user: Option<&dyn Display>) {
        self.count_failure(reason);
        if matches!(self, Self::AccessToken | Self::Session | Self::ApiKey) {
            return;
        }
        let mut record = security(vocabulary::LOGIN_FAILED).auth_method(self.as_str()).failure(reason);
        if let Some(user) = user {
            record = record.target("user", user);
        }
        record.log("authentication failed");
    }

    /// The counter of successes, for callers that count on every request and keep it.
    pub fn success_counter(self) -> Counter {
        counter!(APP_AUTH_ATTEMPTS_TOTAL.name, "method" => self.as_str(), "status" => "success")
    }
}
