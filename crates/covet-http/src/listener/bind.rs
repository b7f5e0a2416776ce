//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// A port could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error(
        "{0} is in use by another process. Stop it, or choose another port (for the API PORT, for the operator's port METRICS_PORT). `ss -ltnp` shows who has it"
    )]
    InUse(SocketAddr),
    /// Not for this user, or no such address.
    #[error(
        "{address} cannot be bound: {source}. Ports below 1024 need root or CAP_NET_BIND_SERVICE; the address must be this machine's"
    )]
    Refused {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Who else may have a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortSharing {
    /// Nobody: a second process is told that the port is in use.
    Alone,
    /// Other processes of this service, of the same user. The kernel spreads connections over them.
    WithSiblings,
}

/// One socket, for a port with one acceptor.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind_one(address: SocketAddr, backlog: u32, sharing: PortSharing) -> Result<TcpListener, BindError> {
    socket(address, backlog, sharing == PortSharing::WithSiblings).map_err(|source| told(address, source))
}

/// `count` sockets on one address. The kernel spreads connections over them.
pub(super) fn bind_shared(
    address: SocketAddr,
    count: usize,
    backlog: u32,
    sharing: PortSharing,
) -> Result<Vec<TcpListener>, BindError> {
    let mut address = address;
    if sharing == PortSharing::Alone {
        // With SO_REUSEPORT a second process of the same user would bind too and silently take half of the connections.
        // A socket without it says whether the port is free.
        let probe = bind_one(address, 1, sharing)?;
        address = probe.local_addr().map_err(|source| told(address, source))?;
    }
    let mut sockets = Vec::new();
    for _ in 0..count.max(1) {
        let socket = socket(address, backlog, true).map_err(|source| told(address, source))?;
        // Where any port will do, all take the one that the first has got.
        address = socket.local_addr().map_err(|source| told(address, source))?;
        sockets.push(socket);
    }
    Ok(sockets)
}

pub(super) fn address_of(sockets: &[TcpListener]) -> Result<SocketAddr, BindError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let first = sockets.first().ok_or_else(|| told(unknown, io::ErrorKind::NotFound.into()))?;
    first.local_addr().map_err(|source| told(unknown, source))
}

fn socket(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn told(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        _ => BindError::Refused { address, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_service_on_the_port_is_refused_although_the_port_is_shared() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let sockets = bind_shared(loopback, 3, 16, PortSharing::Alone).unwrap();
        let address = address_of(&sockets).unwrap();
        assert_eq!(sockets.len(), 3);
        let error = bind_shared(address, 3, 16, PortSharing::Alone).unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("PORT"), "{error}");
    }

    #[test]
    fn siblings_have_a_port_together_and_a_stranger_keeps_its_own() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind_shared(loopback, 2, 16, PortSharing::WithSiblings).unwrap();
        let address = address_of(&first).unwrap();
        let second = bind_shared(address, 2, 16, PortSharing::WithSiblings).unwrap();
        assert_eq!(address_of(&second).unwrap(), address);
        let stranger = bind_one(loopback, 16, PortSharing::Alone).unwrap();
        bind_shared(stranger.local_addr().unwrap(), 2, 16, PortSharing::WithSiblings).unwrap_err();
    }
}
