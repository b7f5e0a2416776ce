//! What can be read, as plain data.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::platform;

/// Why there is no reading.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// This operating system does not tell, or not in a way known here.
    #[error("not known on this operating system")]
    Unsupported,
    /// It should be there, and could not be read.
    #[error("{what}: {reason}")]
    Failed {
        /// What was read.
        what: &'static str,
        /// What the operating system or the parser said.
        reason: String,
    },
}

/// Processor time of the whole machine since it started, over all processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuTimes {
    /// Time in which a processor worked, in seconds.
    pub busy_seconds: f64,
    /// All time, in seconds.
    pub total_seconds: f64,
    /// Number of processors.
    pub processors: usize,
}

impl CpuTimes {
    /// Reads them now.
    ///
    /// # Errors
    /// As [`NotRead`] says; this holds for all readings.
    pub fn read() -> Result<Self, NotRead> {
        platform::cpu_times()
    }
}

/// Memory of the machine, or of the container where it has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total_bytes: u64,
    /// What can still be had without swapping.
    pub available_bytes: u64,
}

impl Memory {
    /// Reads it now.
    ///
    /// # Errors
    /// As [`NotRead`] says.
    pub fn read() -> Result<Self, NotRead> {
        platform::memory()
    }

    /// What cannot be had.
    #[must_use]
    pub fn used_bytes(self) -> u64 {
        self.total_bytes.saturating_sub(self.available_bytes)
    }

    /// Share in use, 0 to 100.
    #[must_use]
    pub fn percent_used(self) -> f64 {
        percent(self.used_bytes(), self.total_bytes)
    }
}

/// Space on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All there is.
    pub total_bytes: u64,
    /// What is taken.
    pub used_bytes: u64,
    /// What this user can still take. Less than the rest, where some is kept for root.
    pub available_bytes: u64,
}

impl Space {
    /// Reads the space of the file system that holds `path`.
    ///
    /// # Errors
    /// When there is no such path, or it cannot be reached.
    pub fn at(path: &Path) -> Result<Self, NotRead> {
        let failed = |error: nix::Error| NotRead::Failed { what: "disk space", reason: error.to_string() };
        let space = statvfs(path).map_err(failed)?;
        // The width of these numbers differs between systems.
        #[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "useful elsewhere"))]
        let bytes = |blocks| u64::from(blocks) * u64::from(space.fragment_size());
        Ok(Self {
            total_bytes: bytes(space.blocks()),
            used_bytes: bytes(space.blocks().saturating_sub(space.blocks_free())),
            available_bytes: bytes(space.blocks_available()),
        })
    }

    /// Share of what this user may take that is taken, 0 to 100; what `df` shows.
    #[must_use]
    pub fn percent_used(self) -> f64 {
        percent(self.used_bytes, self.used_bytes.saturating_add(self.available_bytes))
    }
}

/// A file system on a disk of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is.
    pub mountpoint: PathBuf,
    /// How full it is.
    pub space: Space,
}

impl Mount {
    /// Reads all of them now. Network and user-space file systems are not asked, as they can hang; one that
    /// cannot be read is left out.
    ///
    /// # Errors
    /// As [`NotRead`] says.
    pub fn read_all() -> Result<Vec<Self>, NotRead> {
        platform::mounts()
    }
}

/// What a disk has done since the machine started.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskIo {
    /// Such as `vda`.
    pub device: String,
    /// Reads completed.
    pub reads: u64,
    /// Writes completed.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Time in which it had something to do, in seconds.
    pub busy_seconds: f64,
}

impl DiskIo {
    /// Reads all of them now: whole disks, not their partitions. In a container too they are those of the machine.
    ///
    /// # Errors
    /// As [`NotRead`] says.
    pub fn read_all() -> Result<Vec<Self>, NotRead> {
        platform::disk_io()
    }
}

/// Bytes that a network interface has moved since it came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: String,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
}

impl Interface {
    /// Reads all of them now, `lo` too.
    ///
    /// # Errors
    /// As [`NotRead`] says.
    pub fn read_all() -> Result<Vec<Self>, NotRead> {
        platform::interfaces()
    }
}

/// Load averages over 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load(pub [f64; 3]);

impl Load {
    /// Reads them now.
    ///
    /// # Errors
    /// As [`NotRead`] says.
    pub fn read() -> Result<Self, NotRead> {
        platform::load()
    }
}

/// This process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Processor time it has used, in seconds.
    pub cpu_seconds: f64,
    /// How long it has been running, in seconds.
    pub age_seconds: f64,
    /// When it started, in seconds since 1970-01-01 UTC.
    pub start_unix_seconds: f64,
    /// Memory it occupies.
    pub resident_bytes: u64,
    /// Addresses it has claimed.
    pub virtual_bytes: u64,
    /// Bytes it made the disks read. `None` where the kernel does not count them.
    pub read_bytes: Option<u64>,
    /// Bytes it made, or will make, the disks write. `None` where the kernel does not count them.
    pub written_bytes: Option<u64>,
    /// Its threads.
    pub threads: u64,
    /// Its open file descriptors.
    pub open_file_descriptors: u64,
}

impl Process {
    /// Reads it now.
    ///
    /// # Errors
    /// As [`NotRead`] says.
    pub fn read() -> Result<Self, NotRead> {
        platform::process()
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}
