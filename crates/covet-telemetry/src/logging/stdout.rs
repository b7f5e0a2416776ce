//! Standard output as a place for lines.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use super::writer::{NotWritten, Sink};

/// Standard output, also when somebody made it non-blocking.
#[derive(Debug)]
pub(super) struct Stdout;

impl Sink for Stdout {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
        let mut stdout = io::stdout().lock();
        let mut rest = lines;
        while !rest.is_empty() {
            match stdout.write(rest) {
                Ok(0) => return Err(NotWritten::of(rest, io::ErrorKind::WriteZero.into())),
                Ok(written) => rest = &rest[written..],
                Err(error) => wait_for(error).map_err(|error| NotWritten::of(rest, error))?,
            }
        }
        while let Err(error) = stdout.flush() {
            // Which lines were in the buffer is not known; it holds less than one.
            wait_for(error).map_err(|error| NotWritten { lines: 1, error })?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        "standard output".to_owned()
    }
}

/// Waits where the other end is slow; any other error is one.
fn wait_for(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => {
            thread::sleep(Duration::from_millis(5));
            Ok(())
        }
        _ => Err(error),
    }
}
