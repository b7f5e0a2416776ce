//! The `system_*` and `process_*` metrics, read when somebody scrapes.

use std::sync::{Mutex, PoisonError};

use super::readings::{CpuTimes, Interface, Load, Memory, Mount, NotRead, Process};
use super::window::Window;
use crate::metrics::catalog::{
    PROCESS_CPU_USAGE_PERCENT, PROCESS_MEMORY_USAGE_BYTES, PROCESS_OPEN_FILE_DESCRIPTORS, PROCESS_START_TIME_SECONDS,
    PROCESS_THREADS_TOTAL, SYSTEM_CPU_USAGE_PERCENT, SYSTEM_DISK_USAGE_BYTES, SYSTEM_LOAD_AVERAGE,
    SYSTEM_MEMORY_USAGE_BYTES, SYSTEM_NETWORK_BYTES_RECEIVED, SYSTEM_NETWORK_BYTES_SENT,
};
use crate::metrics::{Collector, Exposition};

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
    /// A collector whose first percentages are those since the start of machine and process.
    #[must_use]
    pub fn new() -> Self {
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
