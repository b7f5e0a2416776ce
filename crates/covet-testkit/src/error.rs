//! Why a test's surroundings could not be had.
//!
//! Not for the outcome of the test itself: that is an assertion.

use std::time::Duration;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server, process or condition could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A condition did not come true in time.
    #[error("waited {waited:?} for: {what}. Last seen: {last}")]
    Deadline {
        /// What was awaited.
        what: String,
        /// How long.
        waited: Duration,
        /// The last observation.
        last: String,
    },
    /// A program is not installed.
    #[error("`{program}` is not installed (looked in {searched}). Install it: apt-get install {package}")]
    MissingProgram {
        /// The program's name.
        program: String,
        /// Where it was looked for.
        searched: String,
        /// The Debian package that has it.
        package: String,
    },
    /// A process ended although it was still needed.
    #[error("{name} ended ({status}) before {awaited}. Its last lines:\n{output}")]
    Ended {
        /// The process's name.
        name: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What was awaited of it.
        awaited: String,
        /// The end of what it printed.
        output: String,
    },
    /// A process is needed that does not run at the moment.
    #[error("{name} is not running: start it first")]
    NotRunning {
        /// The process's name.
        name: String,
    },
    /// A command answered with an error.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The command, shortened.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it printed.
        output: String,
    },
    /// The operating system refused something.
    #[error("could not {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// The reason.
        source: std::io::Error,
    },
    /// A request to a server that should answer was not answered.
    #[error("request failed")]
    Http(#[from] reqwest::Error),
}

impl Error {
    /// For `map_err`: names what was tried.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action: action.into(), source }
    }
}
