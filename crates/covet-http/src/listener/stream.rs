//! A connection's bytes, plain or TLS, with notes for the timers.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::watch::ConnectionWatch;

/// A head and its body up to this size are copied together and sent as one piece: the copy costs less than what the kernel
/// does for a list of pieces. With TLS it is also one record.
const TOGETHER_BYTES: usize = 4096;

thread_local! {
    static TOGETHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Stream {
    transport: Transport,
    /// Bytes that were read before the connection rested.
    early: Option<Bytes>,
    watch: Arc<ConnectionWatch>,
}

impl Stream {
    pub(super) fn new(transport: Transport, watch: Arc<ConnectionWatch>) -> Self {
        Self { transport, early: None, watch }
    }

    /// Gives back bytes that were read and not used.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.early = Some(bytes);
        }
    }

    /// Waits until there is something to read. False when the client has left.
    pub(super) async fn has_more(&self) -> bool {
        if self.early.is_some() {
            return true;
        }
        let stream = match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        };
        stream.peek(&mut [0]).await.is_ok_and(|seen| seen > 0)
    }

    /// Sends what fits into the socket's buffer at once; for a last word before closing.
    pub(super) fn try_last_word(&self, text: &[u8]) {
        if let Transport::Plain(stream) = &self.transport {
            // Whoever does not take it closes without it.
            let _ = stream.try_write(text);
        }
    }
}

macro_rules! on_transport {
    ($self:ident, $method:ident $(, $argument:expr)*) => {
        match &mut $self.transport {
            Transport::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Transport::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(early) = &mut self.early {
            let length = early.len().min(buffer.remaining());
            buffer.put_slice(&early.split_to(length));
            if early.is_empty() {
                self.early = None;
            }
            self.watch.received();
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let result = ready!(on_transport!(self, poll_read, context, buffer));
        if buffer.filled().len() > before {
            self.watch.received();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = on_transport!(self, poll_write, context, bytes);
        self.watch.sent(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let result = match slices.len() > 1 && total <= TOGETHER_BYTES {
            true => TOGETHER.with_borrow_mut(|together| {
                together.clear();
                slices.iter().for_each(|slice| together.extend_from_slice(slice));
                on_transport!(self, poll_write, context, together)
            }),
            false => on_transport!(self, poll_write_vectored, context, slices),
        };
        self.watch.sent(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = on_transport!(self, poll_flush, context);
        // What TLS has taken in may still wait here.
        self.watch.sent(result.is_pending());
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_transport!(self, poll_shutdown, context)
    }
}
