//! An OTLP receiver that keeps what it is sent, and can misbehave as receivers do.
//!
//! It takes spans by HTTP with Protobuf and by gRPC on one port, compressed or not. Not for metrics and logs.

mod received;
mod serve;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

pub use received::{ReceivedSpan, SpanKind};

use crate::{Certificate, Error, Result, free_port, wait_until};

/// A receiver on a free port of 127.0.0.1. It is gone when it is dropped.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use covet_testkit::OtlpReceiver;
///
/// let receiver = OtlpReceiver::start().await?;
/// println!("OTEL_EXPORTER_OTLP_ENDPOINT={}", receiver.endpoint());
/// assert!(receiver.spans().is_empty());
/// # Ok::<_, covet_testkit::Error>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct OtlpReceiver {
    port: u16,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

impl fmt::Debug for OtlpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpReceiver").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

/// What a receiver does with an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OtlpBehaviour {
    /// Takes it.
    #[default]
    Take,
    /// Takes it after this long.
    Slow(Duration),
    /// Never answers, and keeps nothing.
    Hang,
    /// Answers with this HTTP status, and keeps nothing. To gRPC, 429 and 503 are `UNAVAILABLE`, others
    /// `INVALID_ARGUMENT`.
    Refuse(u16),
}

#[derive(Debug, Default)]
struct Shared {
    behaviour: Mutex<OtlpBehaviour>,
    spans: Mutex<Vec<ReceivedSpan>>,
    exports: Mutex<u64>,
}

impl Shared {
    fn behaviour(&self) -> OtlpBehaviour {
        *lock(&self.behaviour)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl OtlpReceiver {
    /// Starts it on the runtime of the caller.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no free port.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// Starts it with TLS.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is no free port, or the certificate cannot be used.
    pub async fn start_with_tls(certificate: &Certificate) -> Result<Self> {
        Self::start_with(Some(certificate.acceptor()?)).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Result<Self> {
        let mut receiver = Self { port: free_port()?, tls, shared: Arc::default(), task: None };
        receiver.start_again().await?;
        Ok(receiver)
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` has to be, whatever the protocol.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Changes what it does with exports that come from now on.
    pub fn behave(&self, behaviour: OtlpBehaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// Stops listening: connections are refused from now on, and those that are open are cut.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Listens again, with the spans it had.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the port has been taken by somebody else.
    pub async fn start_again(&mut self) -> Result<()> {
        self.stop();
        // The port may be in use until the task has noticed that it was stopped.
        let listener = wait_until("the receiver's port", Duration::from_secs(10), async || {
            TcpListener::bind(("127.0.0.1", self.port)).await
        })
        .await?;
        self.task = Some(tokio::spawn(serve::serve(listener, self.tls.clone(), Arc::clone(&self.shared))));
        Ok(())
    }

    /// All spans taken so far, in the order in which they came.
    #[must_use]
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        lock(&self.shared.spans).clone()
    }

    /// How many exports have come, whatever became of them.
    #[must_use]
    pub fn exports(&self) -> u64 {
        *lock(&self.shared.exports)
    }

    /// Waits until at least so many spans have come for which `wanted` is true, and returns all of these.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with the names of the spans that have come.
    pub async fn wait_for(
        &self,
        count: usize,
        deadline: Duration,
        wanted: impl Fn(&ReceivedSpan) -> bool,
    ) -> Result<Vec<ReceivedSpan>, Error> {
        wait_until(format!("{count} spans"), deadline, async || {
            let spans = self.spans();
            let found: Vec<_> = spans.iter().filter(|span| wanted(span)).cloned().collect();
            match found.len() >= count {
                true => Ok(found),
                false => Err(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>().join(", ")),
            }
        })
        .await
    }
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.stop();
    }
}
