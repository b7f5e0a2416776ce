//! One other process, asked over its socket.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No service has so many values; something else writes there.
const LIMIT_BYTES: u64 = 256 << 20;

/// A process that has been asked.
pub(super) struct Neighbour(io::Result<UnixStream>);

/// What became of the question.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its values.
    Values(String),
    /// Nobody listens there any more.
    Gone,
    /// It is there and does not answer, or not in time.
    Silent(String),
}

impl Neighbour {
    /// To connect is to ask.
    pub(super) fn ask(socket: &Path) -> Self {
        Self(UnixStream::connect(socket))
    }

    /// Waits for the whole answer, for `patience` at most.
    pub(super) fn answer(self, patience: Duration) -> Answer {
        let stream = match self.0 {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
                return Answer::Gone;
            }
            Err(error) => return Answer::Silent(error.to_string()),
        };
        let mut lines = String::new();
        // A timeout of nothing would mean none.
        let read = stream
            .set_read_timeout(Some(patience.max(Duration::from_millis(1))))
            .and_then(|()| stream.take(LIMIT_BYTES).read_to_string(&mut lines));
        match read {
            // It ended between listening and answering: what it wrote down counts the next time.
            Ok(0) => Answer::Silent("it closed the connection without an answer".to_owned()),
            Ok(_) => Answer::Values(lines),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Answer::Silent("no answer in time".to_owned()),
            Err(error) => Answer::Silent(error.to_string()),
        }
    }
}
