//! The accept loops of the API port.
//!
//! By default every core has an acceptor of its own: a listening socket (`SO_REUSEPORT`), a thread, a single-threaded
//! runtime. A connection lives and dies on one core. Timers of connections (head, idle, age) are not armed a request
//! but swept four times a second, see `watch.rs`.
//!
//! | you want | look in |
//! |---|---|
//! | sockets, address in use | [`bind`](self) |
//! | the loop of one acceptor, and its end | [`worker`](self) |
//! | one connection: protocol, TLS, refusal | [`connection`](self) |
//! | timers | `watch.rs` |
//! | certificates and their reload | [`tls`] |

mod bind;
mod connection;
mod stream;
pub mod tls;
mod watch;
mod watched_service;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use covet_core::clock::Clock;
use covet_core::lifecycle::Lifecycle;
use covet_telemetry::logging::access;
use covet_telemetry::metrics::shard;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

pub use bind::{BindError, PortSharing, bind_one};
pub use worker::WorkerStates;

use crate::metrics::HttpMetrics;
use crate::pipeline::Pipeline;
use crate::settings::{HttpSettings, Runtime};
use tls::Tls;
use worker::Worker;

/// The bound port, not yet accepting.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<std::net::TcpListener>,
    address: SocketAddr,
}

/// The accepting port.
pub struct Serving {
    threads: Vec<thread::JoinHandle<()>>,
    runtimes: Vec<(String, Handle)>,
    /// Acceptors on the runtime of whoever began it.
    tasks: JoinSet<()>,
    states: Arc<WorkerStates>,
    metrics: HttpMetrics,
}

/// What every acceptor shares.
pub struct ServeParts {
    /// Limits and timeouts.
    pub settings: HttpSettings,
    /// What requests pass.
    pub pipeline: Pipeline,
    /// TLS, if the port speaks it.
    pub tls: Option<Tls>,
    /// Where connections are counted.
    pub metrics: HttpMetrics,
    /// When to stop.
    pub lifecycle: Lifecycle,
    /// The time.
    pub clock: Clock,
}

impl Listener {
    /// Binds the port, one socket an acceptor.
    ///
    /// # Errors
    /// When the address cannot be bound; the text says what to do.
    pub fn bind(settings: &HttpSettings, sharing: PortSharing) -> Result<Self, BindError> {
        let workers = match settings.workers {
            0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        };
        let address = SocketAddr::new(settings.host, settings.port);
        let sockets = bind::bind_shared(address, workers, settings.backlog, sharing)?;
        let address = bind::address_of(&sockets)?;
        Ok(Self { sockets, address })
    }

    /// The bound address; tells the port when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to accept.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn serve(self, parts: ServeParts) -> std::io::Result<Serving> {
        let runtime = parts.settings.runtime;
        let (workers, mut serving) = self.workers(parts);
        let mut tasks = Vec::new();
        for (index, (worker, socket)) in workers.into_iter().enumerate() {
            match runtime {
                Runtime::PerCore => {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                    serving.runtimes.push((format!("http-{index}"), runtime.handle().clone()));
                    let thread = thread::Builder::new().name(format!("covet-http-{index}"));
                    serving.threads.push(thread.spawn(move || {
                        shard::claim();
                        runtime.block_on(worker.run(socket));
                        access::flush_thread();
                    })?);
                }
                Runtime::Shared => tasks.push(worker.run(socket)),
            }
        }
        if !tasks.is_empty() {
            let (thread, runtime) = shared_runtime(tasks)?;
            serving.threads.push(thread);
            serving.runtimes.push(("http".to_owned(), runtime));
        }
        Ok(serving)
    }

    /// Begins to accept on the runtime that this is called on, without threads of its own: for tests.
    #[must_use]
    pub fn serve_here(self, parts: ServeParts) -> Serving {
        let (workers, mut serving) = self.workers(parts);
        for (worker, socket) in workers {
            serving.tasks.spawn(worker.run(socket));
        }
        serving
    }

    /// An acceptor for each socket.
    fn workers(self, parts: ServeParts) -> (Vec<(Worker, std::net::TcpListener)>, Serving) {
        let metrics = parts.metrics.clone();
        let parts = Arc::new(parts);
        let states = Arc::new(WorkerStates::new(self.sockets.len(), parts.pipeline.admission()));
        let worker = |(index, socket)| (Worker::new(index, Arc::clone(&parts), Arc::clone(&states)), socket);
        let workers = self.sockets.into_iter().enumerate().map(worker).collect();
        (workers, Serving { threads: Vec::new(), runtimes: Vec::new(), tasks: JoinSet::new(), states, metrics })
    }
}

impl Serving {
    /// The acceptors' states, for `app_workers_total`.
    #[must_use]
    pub fn states(&self) -> Arc<WorkerStates> {
        Arc::clone(&self.states)
    }

    /// The acceptors' runtimes with their names, for the `tokio_*` metrics.
    #[must_use]
    pub fn runtimes(&self) -> Vec<(String, Handle)> {
        self.runtimes.clone()
    }

    /// The HTTP metrics, to ask what is in progress.
    #[must_use]
    pub fn metrics(&self) -> HttpMetrics {
        self.metrics.clone()
    }

    /// Waits until every acceptor has stopped and its connections are gone. They stop when the lifecycle does.
    pub async fn stopped(self) {
        self.tasks.join_all().await;
        let threads = self.threads;
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        // A panicked acceptor has been logged by the panic hook.
        let _ = tokio::task::spawn_blocking(join).await;
    }
}

/// A multi-threaded runtime for all acceptors. A thread hands over its access lines when it has nothing to do.
fn shared_runtime<F>(acceptors: Vec<F>) -> std::io::Result<(thread::JoinHandle<()>, Handle)>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(acceptors.len())
        .thread_name("covet-http")
        .on_thread_start(|| {
            shard::claim();
        })
        .on_thread_park(access::flush_thread)
        .on_thread_stop(access::flush_thread)
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("covet-http".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut running = JoinSet::new();
            acceptors.into_iter().for_each(|acceptor| drop(running.spawn(acceptor)));
            running.join_all().await;
        });
    })?;
    Ok((thread, handle))
}
