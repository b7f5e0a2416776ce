//! Readings from `/proc`; proc(5) describes the files.

mod container;
mod disk_io;
mod disks;

use std::fs;

use procfs::process::Process as ProcProcess;
use procfs::{Current, CurrentSI, KernelStats, LoadAverage, Meminfo, Uptime};

use super::readings::{CpuTimes, Interface, Load, Memory, NotRead, Process};

pub(super) use disk_io::disk_io;
pub(super) use disks::mounts;

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> NotRead {
    move |error| NotRead::Failed { what, reason: error.to_string() }
}

pub(super) fn cpu_times() -> Result<CpuTimes, NotRead> {
    let stats = KernelStats::current().map_err(failed("/proc/stat"))?;
    let cpu = &stats.total;
    let idle = cpu.idle + cpu.iowait.unwrap_or(0);
    // Guest time is in user time already.
    let busy = cpu.user + cpu.nice + cpu.system + [cpu.irq, cpu.softirq, cpu.steal].into_iter().flatten().sum::<u64>();
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    Ok(CpuTimes {
        busy_seconds: seconds(busy),
        total_seconds: seconds(busy + idle),
        processors: stats.cpu_time.len().max(1),
    })
}

pub(super) fn memory() -> Result<Memory, NotRead> {
    let info = Meminfo::current().map_err(failed("/proc/meminfo"))?;
    let machine = Memory {
        total_bytes: info.mem_total,
        // Kernels before 3.14 do not say what is available.
        available_bytes: info.mem_available.unwrap_or(info.mem_free + info.buffers + info.cached),
    };
    Ok(container::memory(machine).unwrap_or(machine))
}

pub(super) fn interfaces() -> Result<Vec<Interface>, NotRead> {
    let interfaces = procfs::net::dev_status().map_err(failed("/proc/net/dev"))?;
    let interface = |status: procfs::net::DeviceStatus| Interface {
        name: status.name,
        sent_bytes: status.sent_bytes,
        received_bytes: status.recv_bytes,
    };
    Ok(interfaces.into_values().map(interface).collect())
}

pub(super) fn load() -> Result<Load, NotRead> {
    let load = LoadAverage::current().map_err(failed("/proc/loadavg"))?;
    // The kernel tells two decimals; a float of 32 bits would show more than there are.
    Ok(Load([load.one, load.five, load.fifteen].map(|average| (f64::from(average) * 100.0).round() / 100.0)))
}

pub(super) fn process() -> Result<Process, NotRead> {
    let myself = ProcProcess::myself().map_err(failed("/proc/self"))?;
    let stat = myself.stat().map_err(failed("/proc/self/stat"))?;
    // Kernels can be built without it.
    let io = myself.io().ok();
    // It holds a descriptor.
    drop(myself);
    let uptime = Uptime::current().map_err(failed("/proc/uptime"))?.uptime;
    let boot = procfs::boot_time_secs().map_err(failed("/proc/stat"))?;
    let descriptors = fs::read_dir("/proc/self/fd").map_err(failed("/proc/self/fd"))?.count();
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    Ok(Process {
        cpu_seconds: seconds(stat.utime + stat.stime),
        age_seconds: (uptime - seconds(stat.starttime)).max(0.0),
        start_unix_seconds: boot as f64 + seconds(stat.starttime),
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        read_bytes: io.as_ref().map(|io| io.read_bytes),
        written_bytes: io.as_ref().map(|io| io.write_bytes),
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        // One of them was open for counting only.
        open_file_descriptors: descriptors.saturating_sub(1) as u64,
    })
}
