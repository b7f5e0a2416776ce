//! The only place that prints: results on stdout, progress on stderr when somebody is looking, complaints on stderr.

use std::io::{IsTerminal as _, Write as _};

/// A result, for people and pipes.
pub(crate) fn print(text: &str) {
    // A closed pipe (`| head`) is not worth a panic.
    drop(writeln!(std::io::stdout(), "{}", text.trim_end()));
}

/// What is being done now; silent when stderr is not a terminal.
pub(crate) fn progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        drop(writeln!(stderr, "· {text}"));
    }
}

/// Something the reader should know before trusting a figure.
pub(crate) fn warn(text: &str) {
    drop(writeln!(std::io::stderr(), "warning: {text}"));
}

/// Why the command failed.
pub(crate) fn complain(text: &str) {
    drop(writeln!(std::io::stderr(), "error: {text}"));
}
