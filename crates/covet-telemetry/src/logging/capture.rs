//! Log lines kept in memory, for a test that looks at them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::writer::{NotWritten, Sink, Writer};

/// Longest wait for lines that have been handed over to the writer.
const FLUSH: Duration = Duration::from_secs(10);

/// The lines of a log that goes into memory. Clones share them.
#[derive(Debug, Clone)]
pub struct CapturedLines {
    memory: Memory,
    writer: Writer,
}

impl CapturedLines {
    pub(super) fn new(memory: Memory, writer: Writer) -> Self {
        Self { memory, writer }
    }

    /// Everything logged so far, a line an event.
    #[must_use]
    pub fn text(&self) -> String {
        // False after the log's end, when everything is written anyway.
        let _ = self.writer.flush(FLUSH);
        String::from_utf8_lossy(&self.memory.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// Where the lines are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Sink for Memory {
    fn write_lines(&mut self, lines: &[u8]) -> Result<(), NotWritten> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
        Ok(())
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}
