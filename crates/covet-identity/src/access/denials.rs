//! Requests that may not go on: the answer, the count, the line in the security log.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use covet_core::clock::Clock;
use covet_core::problem::Problem;
use covet_http::Error;
use covet_http::access::Permission;
use covet_telemetry::logging::{security, vocabulary};
use covet_telemetry::metrics::{Group, Kind, Merge, Metric, Origin};
use metrics::counter;

/// Of strangers at most one line in this time, in milliseconds: a flood must not become one of the log. All are counted,
/// and each has its access line. Of callers who are known every one has a line; limits by user bound them.
const STRANGERS_LINE_EVERY: u64 = 1_000;

const DENIED: &Metric = &Metric {
    name: "app_access_denied_total",
    doc: "Requests that access control has not let through to their route.\n\n\
          `reason`: `no_credentials`, `bad_credentials` and `expired` were answered with 401, `permission` (no role of the \
          caller has it), `role_lost` (a role of the login does not hold any longer), `scope` (not among those of the API \
          key) and `login_needed` (an API key where its owner has to be logged in) with 403. Each also counts under its route \
          in `http_requests_total`.",
    kind: Kind::Counter,
    labels: &["reason"],
    merge: Merge::Sum,
    origin: Origin::Platform,
};

/// What is counted of access control.
pub const ACCESS: &Group = &Group { doc: "Access control.\n\nOf services whose router has it.", metrics: &[DENIED] };

/// Why nobody has proved to send a request. Who looked at the credentials gives the 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It did not say who sends it.
    NoCredentials,
    /// What it said is not good.
    BadCredentials,
    /// It has been good.
    Expired,
}

/// Why a caller who is known may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// An API key, where its owner has to be logged in.
    LoginNeeded,
    /// No role of the caller's has the permission.
    NoPermission(Permission),
    /// A role had it that the caller has lost.
    RoleLost(Permission),
    /// The API key may not do this, though its owner may.
    OutOfScope(Permission),
}

/// Tells of those who may not go on.
#[derive(Debug)]
pub(super) struct Denials {
    clock: Clock,
    next_line_at: AtomicU64,
}

impl Denials {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, next_line_at: AtomicU64::new(0) }
    }

    /// Tells of a stranger.
    pub(super) fn stranger(&self, stranger: Stranger) {
        let reason = stranger.reason();
        count(reason);
        // Credentials expire all day.
        if stranger != Stranger::Expired && self.may_write_line() {
            security(vocabulary::NOT_ALLOWED).failure(reason).log("a request without good credentials was refused");
        }
    }

    fn may_write_line(&self) -> bool {
        let (now, due) = (self.clock.unix_millis(), self.next_line_at.load(Relaxed));
        now >= due && self.next_line_at.compare_exchange(due, now + STRANGERS_LINE_EVERY, Relaxed, Relaxed).is_ok()
    }
}

impl Stranger {
    fn reason(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::BadCredentials => "bad_credentials",
            Self::Expired => "expired",
        }
    }
}

impl Denial {
    fn reason(self) -> &'static str {
        match self {
            Self::LoginNeeded => "login_needed",
            Self::NoPermission(_) => "permission",
            Self::RoleLost(_) => "role_lost",
            Self::OutOfScope(_) => "scope",
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::LoginNeeded => Problem::new(403)
                .kind("/problems/login-needed", "Login needed")
                .detail("An API key may not do this. Log in as its owner."),
            Self::NoPermission(permission) | Self::RoleLost(permission) => Problem::new(403)
                .kind("/problems/not-permitted", "Not permitted")
                .detail(format!("You have not the permission `{permission}`.")),
            Self::OutOfScope(permission) => Problem::new(403)
                .kind("/problems/out-of-scope", "Out of scope")
                .detail(format!("This API key has not the scope `{permission}`. Make another key that has it.")),
        }
    }

    /// Tells of it, and gives the answer.
    pub(super) fn refuse(self) -> Error {
        count(self.reason());
        let record = security(vocabulary::NOT_ALLOWED).failure(self.reason());
        match self {
            Self::LoginNeeded => record.log("an API key was refused where its owner has to be logged in"),
            Self::NoPermission(permission) | Self::RoleLost(permission) | Self::OutOfScope(permission) => {
                record.target("permission", permission).log("a request without the permission was refused");
            }
        }
        Error::new(self.problem())
    }
}

fn count(reason: &'static str) {
    counter!(DENIED.name, "reason" => reason).increment(1);
}
