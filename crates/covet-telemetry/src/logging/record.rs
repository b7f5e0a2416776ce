//! Lines of the streams `covet.security` and `covet.audit`: always with the same fields, so that one query finds them.
//!
//! | field | meaning |
//! |---|---|
//! | `event` | what happened, a word of [`vocabulary`] or of your own |
//! | `outcome` | `success` or `failure` |
//! | `actor` | who did it: `user:<id>`, `operator`, `service`, `anonymous` |
//! | `target` | what it was done to, such as `user:<id>`; only when that is known |
//! | `reason` | why it failed, a word from the code; only with the outcome `failure` |
//! | `auth_method` | how somebody tried to prove who they are; only for such events |
//! | `from`, `to` | the values before and after a change of one value |
//! | `entry`, `entry_hash` | number and hash of the entry of the audit trail that the line tells of |
//! | `request_id`, `ip_address` | as in every line of a request; an operator's address too |
//!
//! A success is logged at INFO, a failure at WARN. Neither carries passwords, tokens or e-mail addresses.

use std::fmt::Display;
use std::net::IpAddr;

use super::stream::{AUDIT, SECURITY, Stream};
use crate::request;

/// Names of events, most of them OWASP's
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Logging_Vocabulary_Cheat_Sheet.html>), so that rules written for
/// them match.
pub mod vocabulary {
    /// Somebody logged in.
    pub const LOGIN_SUCCEEDED: &str = "authn_login_success";
    /// Somebody did not prove who they are.
    pub const LOGIN_FAILED: &str = "authn_login_fail";
    /// A login goes on with a new pair of tokens.
    pub const SESSION_RENEWED: &str = "session_renewed";
    /// A login has been ended.
    pub const SESSION_ENDED: &str = "authn_token_revoked";
    /// A token that is good once came twice: it has been copied.
    pub const TOKEN_REUSED: &str = "authn_token_reuse";
    /// A password has been changed.
    pub const PASSWORD_CHANGED: &str = "authn_password_change";
    /// Somebody asked for what they may not do.
    pub const NOT_ALLOWED: &str = "authz_fail";
    /// Somebody has been given a role, or has lost one.
    pub const ROLES_CHANGED: &str = "authz_change";
    /// An API key has been made.
    pub const API_KEY_CREATED: &str = "authn_token_created";
    /// An API key has been revoked.
    pub const API_KEY_REVOKED: &str = "authn_token_revoked";
    /// A user has registered.
    pub const USER_CREATED: &str = "user_created";
    /// What is known of a user has been changed.
    pub const USER_UPDATED: &str = "user_updated";
    /// A user has been deleted.
    pub const USER_DELETED: &str = "user_deleted";
    /// What is kept of a user has been given to them.
    pub const PERSONAL_DATA_EXPORTED: &str = "personal_data_exported";
    /// Old entries of the audit trail have been removed.
    pub const AUDIT_TRAIL_CUT: &str = "audit_trail_cut";
    /// Somebody makes more requests than they may.
    pub const RATE_LIMITED: &str = "excess_rate_limit_exceeded";
    /// A page of another origin tried to change something.
    pub const CROSS_ORIGIN: &str = "malicious_cors";
    /// The log levels have been changed.
    pub const LOG_LEVEL_CHANGED: &str = "sys_log_level_change";
    /// A certificate or a key has been replaced, or could not be.
    pub const CREDENTIAL_CHANGED: &str = "sys_credential_change";
    /// The service is ready.
    pub const STARTED: &str = "sys_startup";
    /// The service has been told to stop.
    pub const STOPPED: &str = "sys_shutdown";
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor<'a> {
    /// Nobody who is known.
    Anonymous,
    /// A user, by id.
    User(&'a str),
    /// Somebody at the operator's port. [`Record::ip_address`] is all that is known of them.
    Operator,
    /// The service itself.
    Service,
}

/// A line of one of the two streams, to be completed and logged.
///
/// ```
/// use covet_telemetry::logging::{audit, security, vocabulary};
///
/// security(vocabulary::LOGIN_FAILED).failure("wrong_password").target("user", 42).log("login failed");
/// audit(vocabulary::USER_DELETED).target("user", 42).log("user deleted");
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is logged before `log`"]
pub struct Record<'a> {
    stream: Stream,
    event: &'static str,
    reason: Option<&'static str>,
    actor: Option<Actor<'a>>,
    target: Option<String>,
    ip_address: Option<IpAddr>,
    auth_method: Option<&'static str>,
    change: Option<(String, String)>,
    entry: Option<(i64, &'a str)>,
}

/// A line for the security stream: somebody tried something. A success unless [`Record::failure`] says otherwise.
pub fn security<'a>(event: &'static str) -> Record<'a> {
    Record::new(Stream::Security, event)
}

/// A line for the audit stream: something has been changed. A success unless [`Record::failure`] says otherwise.
pub fn audit<'a>(event: &'static str) -> Record<'a> {
    Record::new(Stream::Audit, event)
}

impl<'a> Record<'a> {
    fn new(stream: Stream, event: &'static str) -> Self {
        Self {
            stream,
            event,
            reason: None,
            actor: None,
            target: None,
            ip_address: None,
            auth_method: None,
            change: None,
            entry: None,
        }
    }

    /// It failed or was refused, for this reason: a word from the code, never text from a request.
    pub fn failure(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Who did it. Without this: the user of the request at hand, anonymous when there is none; outside a request the
    /// service.
    pub fn actor(mut self, actor: Actor<'a>) -> Self {
        self.actor = Some(actor);
        self
    }

    /// What it was done to: a kind of thing and which one, written as `kind:id`.
    pub fn target(mut self, kind: &'static str, id: impl Display) -> Self {
        self.target = Some(format!("{kind}:{id}"));
        self
    }

    /// Where it came from, outside a request of the API: inside one the line has the client's address by itself.
    pub fn ip_address(mut self, address: IpAddr) -> Self {
        self.ip_address = Some(address);
        self
    }

    /// How somebody tried to prove who they are, such as `password`.
    pub fn auth_method(mut self, method: &'static str) -> Self {
        self.auth_method = Some(method);
        self
    }

    /// The value before and after. Not for secrets.
    pub fn changed(mut self, from: impl Display, to: impl Display) -> Self {
        self.change = Some((from.to_string(), to.to_string()));
        self
    }

    /// The entry of the audit trail that it tells of: whoever has the line can tell whether the trail still has the entry.
    pub fn entry(mut self, sequence: i64, hash: &'a str) -> Self {
        self.entry = Some((sequence, hash));
        self
    }

    /// Writes the line. The message says for people what `event` says for machines.
    pub fn log(self, message: &'static str) {
        let of_request = || request::current(|scope| actor_text(scope.user().map_or(Actor::Anonymous, Actor::User)));
        let actor = match self.actor {
            Some(actor) => actor_text(actor),
            None => of_request().unwrap_or_else(|| actor_text(Actor::Service)),
        };
        let (from, to) = self.change.as_ref().map_or((None, None), |(from, to)| (Some(&**from), Some(&**to)));
        let (entry, entry_hash) = self.entry.unzip();
        macro_rules! line {
            ($target:expr, $level:ident, $outcome:literal $(, $ip_address:ident)?) => {
                tracing::event!(
                    target: $target,
                    tracing::Level::$level,
                    event = self.event,
                    outcome = $outcome,
                    actor,
                    "target" = self.target.as_deref(),
                    reason = self.reason,
                    auth_method = self.auth_method,
                    from,
                    to,
                    entry,
                    entry_hash,
                    $($ip_address = %$ip_address,)?
                    "{message}"
                )
            };
        }
        match (self.stream, self.reason, self.ip_address) {
            (Stream::Audit, None, None) => line!(AUDIT, INFO, "success"),
            (Stream::Audit, None, Some(ip_address)) => line!(AUDIT, INFO, "success", ip_address),
            (Stream::Audit, Some(_), None) => line!(AUDIT, WARN, "failure"),
            (Stream::Audit, Some(_), Some(ip_address)) => line!(AUDIT, WARN, "failure", ip_address),
            (_, None, None) => line!(SECURITY, INFO, "success"),
            (_, None, Some(ip_address)) => line!(SECURITY, INFO, "success", ip_address),
            (_, Some(_), None) => line!(SECURITY, WARN, "failure"),
            (_, Some(_), Some(ip_address)) => line!(SECURITY, WARN, "failure", ip_address),
        }
    }
}

/// The prefix by which [`Personal`](super::personal::Personal) knows a user's id.
pub(super) const USER_PREFIX: &str = "user:";

fn actor_text(actor: Actor<'_>) -> String {
    match actor {
        Actor::Anonymous => "anonymous".to_owned(),
        Actor::User(id) => format!("{USER_PREFIX}{id}"),
        Actor::Operator => "operator".to_owned(),
        Actor::Service => "service".to_owned(),
    }
}
