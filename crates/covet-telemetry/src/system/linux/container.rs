//! Memory of a container: the tightest limit on the way from our control group up to the root (cgroup v2).
//!
//! See <https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>.

use std::fs;
use std::path::{Path, PathBuf};

use crate::system::readings::Memory;

const CGROUPS: &str = "/sys/fs/cgroup";

/// The memory of the container, where it has a limit below that of the machine.
pub(super) fn memory(machine: Memory) -> Option<Memory> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    limited(Path::new(CGROUPS), own, machine)
}

fn limited(root: &Path, own: &str, machine: Memory) -> Option<Memory> {
    let groups = Path::new(own).ancestors().map(|group| root.join(group));
    let limits = groups.filter_map(|group| Some((number(&group, "memory.max")?, group)));
    let (limit, group): (u64, PathBuf) = limits.min_by_key(|(limit, _)| *limit)?;
    if limit >= machine.total_bytes {
        return None;
    }
    // Cached files that nobody uses make room when memory is needed.
    let used = number(&group, "memory.current")?.saturating_sub(inactive_file(&group));
    let available = limit.saturating_sub(used).min(machine.available_bytes);
    Some(Memory { total_bytes: limit, available_bytes: available })
}

/// `None` also for the word `max`, which is no limit.
fn number(group: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(group.join(file)).ok()?.trim().parse().ok()
}

fn inactive_file(group: &Path) -> u64 {
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MACHINE: Memory = Memory { total_bytes: 16 * GIB, available_bytes: 8 * GIB };

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let group = root.join(path);
        fs::create_dir_all(&group).unwrap();
        for (file, content) in files {
            fs::write(group.join(file), content).unwrap();
        }
    }

    #[test]
    fn the_tightest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        group(
            root.path(),
            "pod",
            &[
                ("memory.max", "1073741824\n"),
                ("memory.current", "805306368\n"),
                ("memory.stat", "anon 1\ninactive_file 268435456\nactive_file 7\n"),
            ],
        );
        group(root.path(), "pod/container", &[("memory.max", "max\n"), ("memory.current", "1\n")]);
        group(root.path(), "", &[("memory.max", "2147483648\n"), ("memory.current", "2147483648\n")]);
        let memory = limited(root.path(), "pod/container", MACHINE).unwrap();
        assert_eq!(memory, Memory { total_bytes: GIB, available_bytes: GIB / 2 });
        assert!((memory.percent_used() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_container_without_limit_has_the_machine() {
        let root = tempfile::tempdir().unwrap();
        group(root.path(), "pod", &[("memory.max", "max\n"), ("memory.current", "805306368\n")]);
        assert_eq!(limited(root.path(), "pod", MACHINE), None);
        assert_eq!(limited(root.path(), "not/there", MACHINE), None);
    }

    #[test]
    fn a_limit_above_the_machine_is_none() {
        let root = tempfile::tempdir().unwrap();
        group(root.path(), "", &[("memory.max", "17179869185\n"), ("memory.current", "1\n")]);
        assert_eq!(limited(root.path(), "", MACHINE), None);
    }

    #[test]
    fn what_the_machine_does_not_have_is_not_available() {
        let root = tempfile::tempdir().unwrap();
        group(root.path(), "", &[("memory.max", "15000000000\n"), ("memory.current", "0\n")]);
        assert_eq!(limited(root.path(), "", MACHINE).unwrap().available_bytes, 8 * GIB);
    }
}
