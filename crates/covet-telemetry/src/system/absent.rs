//! Systems whose readings are not known here.

use super::readings::{CpuTimes, DiskIo, Interface, Load, Memory, Mount, NotRead, Process};

pub(super) fn cpu_times() -> Result<CpuTimes, NotRead> {
    Err(NotRead::Unsupported)
}

pub(super) fn memory() -> Result<Memory, NotRead> {
    Err(NotRead::Unsupported)
}

pub(super) fn mounts() -> Result<Vec<Mount>, NotRead> {
    Err(NotRead::Unsupported)
}

pub(super) fn disk_io() -> Result<Vec<DiskIo>, NotRead> {
    Err(NotRead::Unsupported)
}

pub(super) fn interfaces() -> Result<Vec<Interface>, NotRead> {
    Err(NotRead::Unsupported)
}

pub(super) fn load() -> Result<Load, NotRead> {
    Err(NotRead::Unsupported)
}

pub(super) fn process() -> Result<Process, NotRead> {
    Err(NotRead::Unsupported)
}
