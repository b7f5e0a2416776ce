//! What the kernel says about one process, and how busy everybody else was meanwhile.

use std::time::Duration;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use procfs::CurrentSI as _;
use procfs::process::{Process, Stat};

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

/// CPU time of a server that makes a process for each connection: its own, that of its children, and that of the children that
/// have ended.
///
/// # Errors
/// The process is gone.
pub(crate) fn family_cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let own = process(pid)?.stat().with_context(|| format!("reading /proc/{pid}/stat"))?;
    let ended = u64::try_from(own.cutime + own.cstime).unwrap_or(0);
    let living: u64 = children(own.pid)?.map(|stat| stat.utime + stat.stime).sum();
    Ok(ticks(own.utime + own.stime + ended + living))
}

/// Binds a process and its children to a core, and so those that it will have.
///
/// # Errors
/// The process is gone, or the core is not there.
pub(crate) fn pin_family(pid: u32, core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    let pid = i32::try_from(pid)?;
    sched_setaffinity(Pid::from_raw(pid), &cores).with_context(|| format!("binding process {pid} to core {core}"))?;
    for child in children(pid)? {
        match sched_setaffinity(Pid::from_raw(child.pid), &cores) {
            Err(Errno::ESRCH) | Ok(()) => {}
            Err(error) => return Err(error).with_context(|| format!("binding process {} to core {core}", child.pid)),
        }
    }
    Ok(())
}

/// The children that live.
fn children(parent: i32) -> anyhow::Result<impl Iterator<Item = Stat>> {
    let all = procfs::process::all_processes().context("reading /proc")?;
    // One that ends meanwhile is none any more.
    Ok(all.filter_map(|process| process.ok()?.stat().ok()).filter(move |stat| stat.ppid == parent))
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

    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;

    use super::{MachineTime, children, cpu_time, family_cpu_time, pin_family, resident_bytes};

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

    /// A parent that is told what to do on its standard input.
    fn shell() -> (std::process::Child, impl FnMut(&str)) {
        let mut shell = std::process::Command::new("sh").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let mut input = shell.stdin.take().unwrap();
        (shell, move |line: &str| std::io::Write::write_all(&mut input, line.as_bytes()).unwrap())
    }

    fn wait_for(what: &str, so: impl Fn() -> bool) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !so() {
            assert!(Instant::now() < limit, "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    const BURN: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";

    #[test]
    fn time_of_children_counts_while_they_live_and_after() {
        let (mut parent, mut tell) = shell();
        let pid = parent.id();
        tell(&format!("sh -c '{BURN}; read line'\n"));
        let burnt = || family_cpu_time(pid).unwrap() >= Duration::from_millis(50);
        wait_for("a child's time does not count", burnt);
        let before = family_cpu_time(pid).unwrap();
        tell("\n");
        wait_for("the child does not end", || children(pid.try_into().unwrap()).unwrap().next().is_none());
        wait_for("the time of a child that has ended is lost", || family_cpu_time(pid).unwrap() >= before);
        parent.kill().unwrap();
        parent.wait().unwrap();
    }

    #[test]
    fn a_family_is_bound_to_a_core_with_those_to_come() {
        let (mut parent, mut tell) = shell();
        let pid = i32::try_from(parent.id()).unwrap();
        let is_bound = |pid| {
            let cores = sched_getaffinity(Pid::from_raw(pid)).unwrap();
            (0..CpuSet::count()).filter(|core| cores.is_set(*core).unwrap()).eq([0])
        };
        tell("sleep 60 & \n");
        wait_for("no child", || children(pid).unwrap().count() == 1);
        pin_family(parent.id(), 0).unwrap();
        tell("sleep 60 & \n");
        wait_for("no second child", || children(pid).unwrap().count() == 2);
        let children: Vec<_> = children(pid).unwrap().map(|child| child.pid).collect();
        assert!(children.iter().copied().chain([pid]).all(is_bound));
        for child in children {
            nix::sys::signal::kill(Pid::from_raw(child), nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        parent.kill().unwrap();
        parent.wait().unwrap();
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
