//! What the kernel says about one process, and how busy everybody else was meanwhile.

use std::time::Duration;

use anyhow::Context as _;
use procfs::CurrentSI as _;
use procfs::process::Process;

/// CPU time of all threads of a process since it started, user and kernel together (`/proc/PID/stat`, utime + stime).
///
/// The kernel scales the two so that their sum is the scheduler's exact run time; only the sum is used.
///
/// # Errors
/// The process is gone.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = process(pid)?.stat().with_context(|| format!("reading /proc/{pid}/stat"))?;
    Ok(ticks(stat.utime + stat.stime))
}

/// Resident memory in bytes (`VmRSS` of `/proc/PID/status`).
///
/// # Errors
/// The process is gone.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = process(pid)?.status().with_context(|| format!("reading /proc/{pid}/status"))?;
    Ok(status.vmrss.with_context(|| format!("process {pid} has no VmRSS; it has probably ended"))? * 1024)
}

fn process(pid: u32) -> anyhow::Result<Process> {
    Process::new(pid.try_into()?).with_context(|| format!("process {pid} is gone"))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs(count) / u32::try_from(procfs::ticks_per_second()).unwrap_or(100)
}

/// CPU time of the whole machine, of this process and of the children it has waited for, at one moment.
///
/// Two of these, with the server's own CPU time, tell how much of the machine strangers used during a round: on a machine
/// that compiles something else meanwhile, the figures are worth little.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MachineTime {
    /// All but idle time, of all cores. Interrupts are part of it: unless the kernel accounts for them apart, they are part
    /// of the processes' times too.
    busy: Duration,
    /// Time the hypervisor gave to other guests.
    stolen: Duration,
    /// The harness and `wrk`.
    ours: Duration,
}

impl MachineTime {
    /// Reads `/proc/stat` and `/proc/self/stat`.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn now() -> anyhow::Result<Self> {
        let total = procfs::KernelStats::current().context("reading /proc/stat")?.total;
        let own = Process::myself().and_then(|process| process.stat()).context("reading /proc/self/stat")?;
        let children = u64::try_from(own.cutime + own.cstime).unwrap_or(0);
        Ok(Self {
            busy: ticks(total.user + total.nice + total.system + total.irq.unwrap_or(0) + total.softirq.unwrap_or(0)),
            stolen: ticks(total.steal.unwrap_or(0)),
            ours: ticks(own.utime + own.stime + children),
        })
    }

    /// CPU time since `earlier` that neither the server (`server`) nor the harness nor `wrk` used, stolen time included.
    pub(crate) fn strangers_since(&self, earlier: &Self, server: Duration) -> Duration {
        let busy = self.busy.saturating_sub(earlier.busy) + self.stolen.saturating_sub(earlier.stolen);
        busy.saturating_sub(self.ours.saturating_sub(earlier.ours)).saturating_sub(server)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MachineTime, cpu_time, resident_bytes};

    #[test]
    fn burnt_cpu_time_shows_up_as_ours() {
        let pid = std::process::id();
        let (before, machine_before) = (cpu_time(pid).unwrap(), MachineTime::now().unwrap());
        let limit = Instant::now() + Duration::from_secs(20);
        while cpu_time(pid).unwrap() - before < Duration::from_millis(100) {
            assert!(Instant::now() < limit, "20 s of work are less than 100 ms of CPU time");
        }
        let machine = MachineTime::now().unwrap();
        assert!(machine.ours - machine_before.ours >= Duration::from_millis(90));
    }

    #[test]
    fn touched_memory_is_resident() {
        let before = resident_bytes(std::process::id()).unwrap();
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        let grown = resident_bytes(std::process::id()).unwrap() - before;
        assert!(grown >= 60 << 20, "64 MiB show as {grown} bytes");
        drop(memory);
    }

    #[test]
    fn time_of_server_and_harness_is_not_strangers() {
        let start = MachineTime { busy: Duration::ZERO, stolen: Duration::ZERO, ours: Duration::ZERO };
        let end =
            MachineTime { busy: Duration::from_secs(17), stolen: Duration::from_secs(1), ours: Duration::from_secs(8) };
        assert_eq!(end.strangers_since(&start, Duration::from_secs(8)), Duration::from_secs(2));
    }
}
