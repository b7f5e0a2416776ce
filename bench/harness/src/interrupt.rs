//! SIGINT and SIGTERM set a flag; every wait looks at it, returns an error, and so the guards end what was started.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Short enough that ctrl-C feels immediate, long enough to cost nothing while a load runs.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether the user asked to stop.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag)).context("installing the signal handlers")?;
        }
        Ok(Self(flag))
    }

    /// # Errors
    /// The user asked to stop.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted; everything that was started is ended");
        }
        Ok(())
    }

    /// Sleeps, in pieces.
    ///
    /// # Errors
    /// The user asked to stop.
    pub(crate) fn sleep(&self, duration: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK_EVERY));
        }
    }

    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(Arc::default())
    }
}
