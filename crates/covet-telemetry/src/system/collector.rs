//! The `system_*` and `process_*` metrics, read when somebody scrapes.

use std::sync::{Mutex, PoisonError};

use super::readings::{CpuTimes, DiskIo, Interface, Load, Memory, Mount, NotRead, Process};
use super::window::Window;
use crate::metrics::catalog::{
    PROCESS_CPU_USAGE_PERCENT, PROCESS_MEMORY_USAGE_BYTES, PROCESS_OPEN_FILE_DESCRIPTORS, PROCESS_START_TIME_SECONDS,
    PROCESS_THREADS_TOTAL, SYSTEM_CPU_USAGE_PERCENT, SYSTEM_DISK_USAGE_BYTES, SYSTEM_LOAD_AVERAGE,
    SYSTEM_MEMORY_USAGE_BYTES, SYSTEM_NETWORK_BYTES_RECEIVED, SYSTEM_NETWORK_BYTES_SENT,
};
use crate::metrics::{Collector, Exposition, Registry};

crate::declare_metrics! {
    /// Disk I/O.
    ///
    /// Read at the scrape. `device` is a whole disk such as `vda`; in a container too they are those of the machine.
    pub(crate) DISK_IO;

    /// Bytes read from a disk.
    ///
    /// From `/proc/diskstats`, since the machine started.
    counter(own) DISK_READ_BYTES = "system_disk_read_bytes_total" {device};
    /// Bytes written to a disk.
    counter(own) DISK_WRITTEN_BYTES = "system_disk_written_bytes_total" {device};
    /// Reads of a disk completed.
    counter(own) DISK_READS = "system_disk_reads_total" {device};
    /// Writes to a disk completed.
    counter(own) DISK_WRITES = "system_disk_writes_total" {device};
    /// Time in which a disk had something to do, in seconds.
    ///
    /// A rate near 1 is a disk that is always busy.
    counter(own) DISK_BUSY_SECONDS = "system_disk_busy_seconds_total" {device};
    /// Bytes that this process made the disks read.
    ///
    /// From `/proc/self/io`: what the page cache had already is not among them.
    counter PROCESS_READ_BYTES = "process_disk_read_bytes_total" {};
    /// Bytes that this process made, or will make, the disks write.
    ///
    /// From `/proc/self/io`.
    counter PROCESS_WRITTEN_BYTES = "process_disk_written_bytes_total" {};
}

/// Reads the machine and the process.
#[derive(Debug, Default)]
pub struct SystemCollector {
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    system: Window,
    process: Window,
}

impl SystemCollector {
    /// A collector for `registry`, whose first percentages are those since the start of machine and process.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        registry.declare_all(DISK_IO);
        Self::default()
    }
}

impl Collector for SystemCollector {
    fn name(&self) -> &'static str {
        "system"
    }

    fn collect(&self, out: &mut Exposition) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cpu) = tell(out, CpuTimes::read()) {
            let percent = windows.system.percent(cpu.busy_seconds, cpu.total_seconds, cpu.processors);
            out.gauge(SYSTEM_CPU_USAGE_PERCENT, &[], percent.min(100.0));
        }
        if let Some(memory) = tell(out, Memory::read()) {
            out.gauge(SYSTEM_MEMORY_USAGE_BYTES, &["used"], memory.used_bytes());
            out.gauge(SYSTEM_MEMORY_USAGE_BYTES, &["available"], memory.available_bytes);
            out.gauge(SYSTEM_MEMORY_USAGE_BYTES, &["total"], memory.total_bytes);
        }
        for Mount { mountpoint, space } in tell(out, Mount::read_all()).unwrap_or_default() {
            let mountpoint = mountpoint.to_string_lossy();
            out.gauge(SYSTEM_DISK_USAGE_BYTES, &[&mountpoint, "used"], space.used_bytes);
            out.gauge(SYSTEM_DISK_USAGE_BYTES, &[&mountpoint, "total"], space.total_bytes);
        }
        for disk in tell(out, DiskIo::read_all()).unwrap_or_default() {
            let device = &[disk.device.as_str()];
            out.counter(DISK_READ_BYTES, device, disk.read_bytes);
            out.counter(DISK_WRITTEN_BYTES, device, disk.written_bytes);
            out.counter(DISK_READS, device, disk.reads);
            out.counter(DISK_WRITES, device, disk.writes);
            out.counter(DISK_BUSY_SECONDS, device, disk.busy_seconds);
        }
        let interfaces = tell(out, Interface::read_all()).unwrap_or_default();
        for interface in &interfaces {
            out.counter(SYSTEM_NETWORK_BYTES_SENT, &[&interface.name], interface.sent_bytes);
        }
        for interface in &interfaces {
            out.counter(SYSTEM_NETWORK_BYTES_RECEIVED, &[&interface.name], interface.received_bytes);
        }
        if let Some(Load(averages)) = tell(out, Load::read()) {
            for (period, average) in ["1m", "5m", "15m"].into_iter().zip(averages) {
                out.gauge(SYSTEM_LOAD_AVERAGE, &[period], average);
            }
        }
        if let Some(process) = tell(out, Process::read()) {
            let percent = windows.process.percent(process.cpu_seconds, process.age_seconds, 1);
            out.gauge(PROCESS_CPU_USAGE_PERCENT, &[], percent);
            out.gauge(PROCESS_MEMORY_USAGE_BYTES, &["rss"], process.resident_bytes);
            out.gauge(PROCESS_MEMORY_USAGE_BYTES, &["vms"], process.virtual_bytes);
            out.gauge(PROCESS_OPEN_FILE_DESCRIPTORS, &[], process.open_file_descriptors);
            out.gauge(PROCESS_THREADS_TOTAL, &[], process.threads);
            for (metric, bytes) in
                [(PROCESS_READ_BYTES, process.read_bytes), (PROCESS_WRITTEN_BYTES, process.written_bytes)]
            {
                if let Some(bytes) = bytes {
                    out.counter(metric, &[], bytes);
                }
            }
            out.gauge(PROCESS_START_TIME_SECONDS, &[], process.start_unix_seconds);
        }
    }
}

/// The reading; what should be there and is not is told as a failure.
fn tell<T>(out: &mut Exposition, reading: Result<T, NotRead>) -> Option<T> {
    match reading {
        Ok(reading) => Some(reading),
        Err(NotRead::Unsupported) => None,
        Err(error) => {
            out.failure(error.to_string());
            None
        }
    }
}
