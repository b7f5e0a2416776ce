//! Ports that nobody else uses.
//!
//! "Bind port 0, look, close" is not enough. Between the closing and the server's own bind the kernel may hand the same number to
//! another program, and two services that listen with `SO_REUSEPORT` would then share it without an error. So a port comes from
//! below the kernel's own range (no outgoing connection ever takes it) and is locked for the life of this test process by a file
//! lock, which other test processes respect and which the kernel releases whatever happens.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::{Error, Result};

/// Below Linux's usual `ip_local_port_range` (32768 and up) and above what well-known servers use.
const CANDIDATES: Range<u16> = 12_000..32_000;

/// The ports this process was given, with their locks.
static TAKEN: LazyLock<Mutex<BTreeMap<u16, File>>> = LazyLock::new(Mutex::default);

/// A TCP port on 127.0.0.1 that nobody listens on and no other test is given while this process lives.
///
/// # Errors
///
/// [`crate::Error::Io`] when the lock directory cannot be written or every candidate is taken.
pub fn free_port() -> Result<u16> {
    let locks = lock_directory();
    std::fs::create_dir_all(&locks).map_err(Error::io(format!("create {}", locks.display())))?;
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    // Processes start at different places, so that they rarely try the same port.
    let length = CANDIDATES.end - CANDIDATES.start;
    let first = u16::try_from(u64::from(std::process::id()) * 37 % u64::from(length)).unwrap_or(0);
    for step in 0..length {
        let port = CANDIDATES.start + (first + step) % length;
        if taken.contains_key(&port) {
            continue;
        }
        let path = locks.join(port.to_string());
        let lock = File::create(&path).map_err(Error::io(format!("create {}", path.display())))?;
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.insert(port, lock);
            return Ok(port);
        }
    }
    Err(Error::io("find a free port")(std::io::ErrorKind::AddrInUse.into()))
}

/// One directory a user: another user's lock files could not be opened.
fn lock_directory() -> PathBuf {
    std::env::temp_dir().join(format!("covet-testkit-ports-{}", nix::unistd::geteuid()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: BTreeSet<u16> = (0..200).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 200);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_not_given() {
        let port = free_port().unwrap();
        // Forget the lock and occupy the port for real, as a stranger would.
        TAKEN.lock().unwrap().remove(&port);
        let _stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let others: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert!(!others.contains(&port));
    }
}
