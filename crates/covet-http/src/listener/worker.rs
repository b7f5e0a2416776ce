//! One acceptor: its loop, its connections, its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use covet_telemetry::logging::access;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::ServeParts;
use super::connection::{Accepted, Protocols, refuse};
use super::watch::{CoarseTime, ConnectionWatch, Limits, SWEEP_EVERY, Watched};
use crate::pipeline::{Admission, Pipeline};

/// How often a stopping worker looks whether its last connection is gone.
const SWEEP_WHILE_STOPPING: Duration = Duration::from_millis(20);
/// How long an idle connection of HTTP/1.1 stays open when the service stops, for a request that is on its way.
const LAST_CALL: Duration = Duration::from_millis(500);
/// Pause after the system refused an accept (out of descriptors or memory), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    index: usize,
    parts: Arc<ServeParts>,
    states: Arc<WorkerStates>,
    /// This worker's own copy, so that no counter of references is shared between cores.
    pipeline: Arc<Pipeline>,
    protocols: Arc<Protocols>,
    watched: Arc<Watched>,
    now: Arc<CoarseTime>,
    /// By the runtime's clock, as a test that sets the service's own a day ahead keeps its connections.
    started: Instant,
    next_id: u64,
}

/// What the acceptors are doing: `app_workers_total`.
#[derive(Debug)]
pub struct WorkerStates {
    connections: Vec<std::sync::atomic::AtomicUsize>,
    admission: Arc<Admission>,
}

impl WorkerStates {
    pub(super) fn new(workers: usize, admission: Arc<Admission>) -> Self {
        Self { connections: (0..workers).map(|_| std::sync::atomic::AtomicUsize::new(0)).collect(), admission }
    }

    /// Acceptors with and without open connections.
    #[must_use]
    pub fn active_and_idle(&self) -> (usize, usize) {
        let active = self.connections.iter().filter(|open| open.load(Relaxed) > 0).count();
        (active, self.connections.len() - active)
    }

    /// Requests waiting for a place.
    #[must_use]
    pub fn queue_depth(&self) -> usize {
        self.admission.queue_depth()
    }
}

impl Worker {
    pub(super) fn new(index: usize, parts: Arc<ServeParts>, states: Arc<WorkerStates>) -> Self {
        Self {
            index,
            states,
            pipeline: Arc::new(parts.pipeline.clone()),
            protocols: Arc::new(Protocols::new(&parts.settings)),
            watched: Arc::default(),
            now: Arc::default(),
            started: Instant::now(),
            next_id: 0,
            parts,
        }
    }

    pub(super) async fn run(mut self, socket: std::net::TcpListener) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, worker = self.index, "acceptor cannot start");
                return;
            }
        };
        self.tick();
        let lifecycle = self.parts.lifecycle.clone();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                biased;
                () = lifecycle.stopping().cancelled() => break,
                _ = sweep.tick() => self.sweep(),
                accepted = listener.accept() => self.accepted(accepted).await,
            }
        }
        self.accept_what_waits(listener);
        self.drain().await;
    }

    /// Closes the socket. Connections that the kernel has established by then would be reset, so they are accepted first:
    /// by asking the kernel, as the runtime hears of them only later.
    fn accept_what_waits(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        loop {
            let accepted = listener.accept().and_then(|(stream, address)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, address))
            });
            match accepted {
                Ok((stream, address)) => self.serve(stream, address),
                Err(error) if is_the_clients_doing(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Lets what is in flight finish, until the deadline.
    async fn drain(&self) {
        let lifecycle = &self.parts.lifecycle;
        let mut look = tokio::time::interval(SWEEP_WHILE_STOPPING);
        self.watched.last_call();
        let patience = tokio::time::sleep(LAST_CALL);
        tokio::pin!(patience);
        let mut called = false;
        while self.watched.len() > 0 {
            tokio::select! {
                _ = look.tick() => self.sweep(),
                () = &mut patience, if !called => {
                    called = true;
                    self.watched.finish_all();
                }
                () = lifecycle.cut().cancelled() => {
                    self.watched.abort_all();
                    look.tick().await;
                }
            }
        }
        // WebSockets run on this thread's runtime too, and have left the list of connections.
        tokio::select! {
            () = lifecycle.finished() => {}
            () = lifecycle.cut().cancelled() => {}
        }
    }

    async fn accepted(&mut self, accepted: std::io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, address)) => self.serve(stream, address),
            Err(error) if is_the_clients_doing(&error) => {}
            Err(error) => {
                self.parts.metrics.connections().refused_accept.fetch_add(1, Relaxed);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot accept connections; if it says too many open files, raise LimitNOFILE or ulimit -n"
                );
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, address: SocketAddr) {
        let counted = self.parts.metrics.connections();
        if counted.open() >= self.parts.settings.max_connections as u64 {
            counted.refused_limit.fetch_add(1, Relaxed);
            if self.parts.tls.is_none() {
                tokio::spawn(refuse(stream));
            }
            return;
        }
        counted.accepted.fetch_add(1, Relaxed);
        // A response waits for nothing; failing to say so costs only latency.
        let _ = stream.set_nodelay(true);

        self.next_id += 1;
        let watch = Arc::new(ConnectionWatch::new(
            Arc::clone(&self.now),
            self.parts.lifecycle.clone(),
            self.parts.settings.max_connection_age,
        ));
        self.watched.add(self.next_id, Arc::clone(&watch));
        self.states.connections[self.index].fetch_add(1, Relaxed);
        let open = Open {
            id: self.next_id,
            worker: self.index,
            watched: Arc::clone(&self.watched),
            states: Arc::clone(&self.states),
            parts: Arc::clone(&self.parts),
        };
        let protocols = Arc::clone(&self.protocols);
        let connection = Accepted {
            stream,
            address,
            watch,
            pipeline: Arc::clone(&self.pipeline),
            tls: self.parts.tls.clone(),
            handshake_timeout: self.parts.settings.header_read_timeout,
        };
        tokio::spawn(async move {
            connection.serve(&protocols, open.parts.metrics.connections()).await;
        });
    }

    fn tick(&self) {
        self.pipeline.set_wall_clock();
        self.now.set(self.started.elapsed());
    }

    fn sweep(&self) {
        access::flush_thread();
        self.tick();
        let settings = &self.parts.settings;
        let limits = Limits { head: settings.header_read_timeout, idle: settings.keep_alive_timeout };
        let before = self.parts.clock.monotonic();
        let swept = self.watched.sweep(&self.now, limits);
        self.parts.metrics.sweep().took(self.parts.clock.monotonic().duration_since(before));
        let counted = self.parts.metrics.connections();
        counted.timed_out_header.fetch_add(swept.head, Relaxed);
        counted.timed_out_idle.fetch_add(swept.idle, Relaxed);
        counted.timed_out_age.fetch_add(swept.age, Relaxed);
    }
}

/// An open connection; closed in the books when dropped, also when its task is.
struct Open {
    id: u64,
    worker: usize,
    watched: Arc<Watched>,
    states: Arc<WorkerStates>,
    parts: Arc<ServeParts>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.watched.remove(self.id);
        self.states.connections[self.worker].fetch_sub(1, Relaxed);
        self.parts.metrics.connections().closed.fetch_add(1, Relaxed);
    }
}

/// The client gave up between connecting and being accepted.
fn is_the_clients_doing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
