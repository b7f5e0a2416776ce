//! Why a command has no answer: whether it ran, what to do about it, and what the caller is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::target::Host;
use crate::Error;

/// Why.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// There is no connection. The command was not sent.
    NotConnected(Arc<Outage>),
    /// The connection broke before the answer. The command may have run.
    Lost,
    /// No answer in time. The command may have run, or will.
    TimedOut(Duration),
    /// The server does not run it at this moment, or not here. It has not run.
    Passing(Passing),
    /// The slot of its key has another master now. It has not run.
    Moved(Host),
    /// The slot of its key is being moved, and the key is there already or nowhere. It has not run.
    Ask(Host),
    /// The server does not know the script. It has not run.
    NoScript,
    /// The server will not run it, however often it is asked.
    Refused(String),
    /// The answer cannot be understood.
    Unexpected(String),
}

/// Why a server cannot be used.
#[derive(Debug)]
pub(crate) struct Outage {
    pub(super) reason: String,
    /// It answers, and lets nobody in: who has to act is a person.
    pub(super) refused: bool,
}

/// What passes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    /// A replica, also one that was the master until now.
    ReadOnly,
    /// It has just started.
    Loading,
    /// A replica without its master.
    MasterDown,
    /// A cluster without masters for all slots, as this node sees it.
    ClusterDown,
    /// Some keys of a slot are here and some there.
    TryAgain,
}

impl Failure {
    /// What an error means.
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::ReadOnly => Self::Passing(Passing::ReadOnly),
                ServerErrorKind::BusyLoading => Self::Passing(Passing::Loading),
                ServerErrorKind::MasterDown => Self::Passing(Passing::MasterDown),
                ServerErrorKind::ClusterDown => Self::Passing(Passing::ClusterDown),
                ServerErrorKind::TryAgain => Self::Passing(Passing::TryAgain),
                ServerErrorKind::NoScript => Self::NoScript,
                ServerErrorKind::Moved => redirection(error).map_or_else(|| refused(error), Self::Moved),
                ServerErrorKind::Ask => redirection(error).map_or_else(|| refused(error), Self::Ask),
                _ => refused(error),
            },
            ErrorKind::Io | ErrorKind::Parse => Self::Lost,
            ErrorKind::AuthenticationFailed | ErrorKind::Extension => refused(error),
            _ => Self::Unexpected(error.to_string()),
        }
    }

    /// The failure in an answer, if it is one.
    pub(super) fn in_answer(answer: Value) -> Result<Value, Self> {
        match answer {
            Value::ServerError(error) => Err(Self::of(&RedisError::from(error))),
            answer => Ok(answer),
        }
    }

    pub(super) fn outage(reason: impl Into<String>) -> Self {
        Self::NotConnected(Arc::new(Outage { reason: reason.into(), refused: false }))
    }

    /// The same, of a sentinel that could not be connected to.
    pub(super) fn of_sentinel(self) -> Self {
        match self {
            Self::NotConnected(outage) => {
                let hint = if outage.refused { " (COVET_CACHE__SENTINEL_PASSWORD)" } else { "" };
                let reason = format!("the sentinel {}{hint}", outage.reason);
                Self::NotConnected(Arc::new(Outage { reason, refused: outage.refused }))
            }
            failure => failure,
        }
    }

    /// What the caller is told.
    pub(super) fn into_error(self, limit: Duration) -> Error {
        match self {
            Self::NotConnected(outage) if outage.refused => Error::Refused(outage.reason.clone()),
            Self::TimedOut(_) => Error::Timeout { limit },
            Self::Refused(reason) => Error::Refused(reason),
            Self::Unexpected(reason) => Error::Unexpected(reason),
            failure => Error::Unavailable(failure.to_string()),
        }
    }

    /// Whether it lies in the connection or the server, and not in the command.
    pub(crate) fn is_of_connection(&self) -> bool {
        !matches!(self, Self::NoScript | Self::Refused(_) | Self::Unexpected(_))
    }

    /// For labels of metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotConnected(outage) if outage.refused => "refused",
            Self::NotConnected(_) => "not_connected",
            Self::Lost => "connection_lost",
            Self::TimedOut(_) => "timeout",
            Self::Passing(passing) => passing.kind(),
            Self::Moved(_) => "moved",
            Self::Ask(_) => "ask",
            Self::NoScript => "no_script",
            Self::Refused(_) => "refused",
            Self::Unexpected(_) => "unexpected",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(outage) => f.write_str(&outage.reason),
            Self::Lost => f.write_str("the connection to Redis broke before the answer"),
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Passing(Passing::ReadOnly) => f.write_str("the server is a replica and takes no writes"),
            Self::Passing(Passing::Loading) => f.write_str("the server has just started and still loads its data"),
            Self::Passing(Passing::MasterDown) => f.write_str("the replica has lost its master"),
            Self::Passing(Passing::ClusterDown) => f.write_str("the cluster has no master for some of its slots"),
            Self::Passing(Passing::TryAgain) => f.write_str("the keys are being moved to another node"),
            Self::Moved(host) | Self::Ask(host) => write!(f, "the key is at {host} now"),
            Self::NoScript => f.write_str("the script is not loaded"),
            Self::Refused(reason) | Self::Unexpected(reason) => f.write_str(reason),
        }
    }
}

impl Passing {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::MasterDown => "master_down",
            Self::ClusterDown => "cluster_down",
            Self::TryAgain => "try_again",
        }
    }
}

fn redirection(error: &RedisError) -> Option<Host> {
    let (address, _slot) = error.redirect_node()?;
    let (name, port) = address.rsplit_once(':')?;
    Some(Host { name: name.trim_matches(['[', ']']).to_owned(), port: port.parse().ok()? })
}

/// What the server said, without what it repeats of the command: `ERR unknown command 'x', with args beginning with: …`.
fn refused(error: &RedisError) -> Failure {
    let code = error.code().unwrap_or("ERR");
    let said = error.detail().unwrap_or_default();
    let said = said.split(", with args beginning").next().unwrap_or_default();
    Failure::Refused(format!("{code} {said}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(said: &str) -> Failure {
        let answer = ::redis::parse_redis_value(format!("-{said}\r\n").as_bytes()).unwrap();
        Failure::in_answer(answer).unwrap_err()
    }

    #[test]
    fn what_a_server_says_is_understood() {
        for (said, kind) in [
            ("READONLY You can't write against a read only replica.", "read_only"),
            ("LOADING Redis is loading the dataset in memory", "loading"),
            ("MASTERDOWN Link with MASTER is down", "master_down"),
            ("CLUSTERDOWN The cluster is down", "cluster_down"),
            ("TRYAGAIN Multiple keys request during rehashing of slot", "try_again"),
            ("NOSCRIPT No matching script.", "no_script"),
            ("WRONGTYPE Operation against a key", "refused"),
            ("NOPERM this user has no permissions", "refused"),
            ("NOAUTH Authentication required.", "refused"),
            ("OOM command not allowed when used memory > 'maxmemory'.", "refused"),
        ] {
            assert_eq!(failure(said).kind(), kind, "{said}");
        }
        let Failure::Moved(host) = failure("MOVED 3999 127.0.0.1:6381") else { panic!() };
        assert_eq!(host.to_string(), "127.0.0.1:6381");
        let Failure::Ask(host) = failure("ASK 3999 ::1:6381") else { panic!() };
        assert_eq!(host.to_string(), "[::1]:6381");
    }

    #[test]
    fn arguments_are_not_repeated() {
        let told = failure("ERR unknown command 'SETT', with args beginning with: 'key' 'hunter2' ").to_string();
        assert_eq!(told, "ERR unknown command 'SETT'");
    }
}
