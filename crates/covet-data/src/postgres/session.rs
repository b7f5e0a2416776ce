//! What a session is set to: whether it may write, and how long a statement may run.
//!
//! Settings are changed by a message ahead of the statement that needs them, so that they cost no round trip.

use std::time::Duration;

use super::Access;

/// What a session is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Session {
    /// One user at a time; as the server sets it up, with our limits.
    Own(Access),
    /// Quick statements of many users; whatever is not quick is stopped, so that it holds up nobody.
    Lane(Access),
}

/// The statements that set a session up.
#[derive(Debug)]
pub(super) struct Sessions {
    statement_timeout: Duration,
    idle_timeout: Duration,
}

/// A statement on a lane that runs longer is stopped by the server and run again on a connection of its own.
pub(super) const LANE_LIMIT: Duration = Duration::from_millis(50);

impl Session {
    pub(super) fn to_bits(self) -> u8 {
        match self {
            Self::Own(Access::Write) => 0,
            Self::Own(Access::Read) => 1,
            Self::Lane(Access::Write) => 2,
            Self::Lane(Access::Read) => 3,
        }
    }
}

impl Sessions {
    pub(super) fn new(statement_timeout: Duration, idle_timeout: Duration) -> Self {
        Self { statement_timeout, idle_timeout }
    }

    /// For a new connection: as [`Session::Own`] for writing.
    pub(super) fn first(&self) -> String {
        // Times are told in UTC, as on SQLite, also where they are cast to text or cut to days.
        format!(
            "SET TimeZone = 'UTC'; SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            millis(self.statement_timeout),
            millis(self.idle_timeout)
        )
    }

    /// From whatever it was to this.
    pub(super) fn switch(&self, to: Session) -> String {
        let (Session::Own(access) | Session::Lane(access)) = to;
        let limit = match to {
            Session::Own(_) => self.statement_timeout,
            Session::Lane(_) => LANE_LIMIT.min(self.statement_timeout),
        };
        let writing = match access {
            // Not "off": a server that is set to refuse writes goes on refusing them.
            Access::Write => "RESET default_transaction_read_only",
            Access::Read => "SET default_transaction_read_only = on",
        };
        format!("{writing}; SET statement_timeout = {}", millis(limit))
    }
}

/// PostgreSQL's zero is "without limit".
pub(super) fn millis(limit: Duration) -> u128 {
    limit.as_millis().max(1)
}
