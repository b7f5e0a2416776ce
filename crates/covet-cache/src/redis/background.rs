//! The thread that the connections live on: not that of a request, which may be busy, and not that of whoever was the first
//! to connect, which may end.

use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The thread. It ends with this value.
pub(super) struct Background {
    runtime: Handle,
    end: CancellationToken,
}

impl Background {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
        let ended = end.clone();
        thread::Builder::new().name("covet-redis".to_owned()).spawn(move || runtime.block_on(ended.cancelled()))?;
        Ok(Self { runtime: handle, end })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn end(&self) {
        self.end.cancel();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_cancelled()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.end();
    }
}
