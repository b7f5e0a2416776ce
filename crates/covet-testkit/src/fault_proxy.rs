//! A TCP proxy that does to its connections what networks do.
//!
//! Not for a server that itself hangs or is lost: servers here can be paused and killed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::{Error, Result, free_port};

/// A proxy in front of a port of this machine. It passes everything on until it is told otherwise, and ends with its value.
#[derive(Debug)]
pub struct FaultProxy {
    port: u16,
    network: watch::Sender<Network>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What the network does at the moment, and how often it has reset all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    fault: Fault,
    resets: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Latency(Duration),
    Blackhole,
    Down,
}

impl FaultProxy {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when no port can be had.
    pub async fn in_front_of(upstream: u16) -> Result<Self> {
        let port = free_port()?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(Error::io(format!("listen on {port}")))?;
        let (network, seen) = watch::channel(Network { fault: Fault::None, resets: 0 });
        let accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, upstream, seen, Arc::clone(&accepted)));
        Ok(Self { port, network, accepted, task })
    }

    /// The port to connect to, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// What is sent arrives so much later, in each direction.
    pub fn delay(&self, latency: Duration) {
        self.change(Fault::Latency(latency));
    }

    /// Connections stay open, new ones are accepted, and nothing arrives any more.
    pub fn blackhole(&self) {
        self.change(Fault::Blackhole);
    }

    /// All connections are reset, and so is each new one.
    pub fn take_down(&self) {
        self.change(Fault::Down);
    }

    /// All connections are reset, once.
    pub fn reset(&self) {
        self.network.send_modify(|network| network.resets += 1);
    }

    /// All is well again. What was held back arrives.
    pub fn heal(&self) {
        self.change(Fault::None);
    }

    fn change(&self, fault: Fault) {
        self.network.send_modify(|network| network.fault = fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, upstream: u16, network: watch::Receiver<Network>, accepted: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        connections.spawn(connection(client, upstream, network.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(mut client: TcpStream, upstream: u16, mut network: watch::Receiver<Network>) {
    let _ = client.set_nodelay(true);
    // A connection that is closed with this is reset.
    let _ = client.set_zero_linger();
    let resets = network.borrow().resets;
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
    let _ = server.set_nodelay(true);
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let (there, back) = (network.clone(), network.clone());
    let passing = async { tokio::join!(pass(from_client, to_server, there), pass(from_server, to_client, back)) };
    let cut = network.wait_for(|network| network.fault == Fault::Down || network.resets != resets);
    tokio::select! {
        biased;
        _ = cut => {}
        _ = passing => {}
    }
}

async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut network: watch::Receiver<Network>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let Ok(fault) = network.wait_for(|network| network.fault != Fault::Blackhole).await.map(|now| now.fault) else {
            break;
        };
        if let Fault::Latency(latency) = fault {
            tokio::time::sleep(latency).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
