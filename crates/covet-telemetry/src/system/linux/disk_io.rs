//! What the disks of this machine have read and written.

use procfs::{Current, DiskStat, DiskStats};

use super::failed;
use crate::system::readings::{DiskIo, NotRead};

/// The kernel counts in sectors of this size, whatever the disk's own are.
const SECTOR_BYTES: u64 = 512;
/// Memory, files and removable media that are named like disks.
const NOT_DISKS: [&str; 5] = ["loop", "ram", "zram", "fd", "sr"];

pub(in crate::system) fn disk_io() -> Result<Vec<DiskIo>, NotRead> {
    let DiskStats(devices) = DiskStats::current().map_err(failed("/proc/diskstats"))?;
    Ok(disks(&devices).map(reading).collect())
}

/// Whole disks; what a partition does is in its disk's numbers already.
fn disks(devices: &[DiskStat]) -> impl Iterator<Item = &DiskStat> {
    let is_disk = |device: &&DiskStat| {
        !NOT_DISKS.iter().any(|prefix| numbered(&device.name, prefix))
            && !devices.iter().any(|other| is_partition(&device.name, &other.name))
    };
    devices.iter().filter(is_disk)
}

fn reading(device: &DiskStat) -> DiskIo {
    DiskIo {
        device: device.name.clone(),
        reads: device.reads,
        writes: device.writes,
        read_bytes: device.sectors_read * SECTOR_BYTES,
        written_bytes: device.sectors_written * SECTOR_BYTES,
        busy_seconds: device.time_in_progress as f64 / 1000.0,
    }
}

/// `sda1` is of `sda`; where the disk's name ends in a digit, a `p` stands between: `nvme0n1p2`.
fn is_partition(name: &str, disk: &str) -> bool {
    match disk.ends_with(|last: char| last.is_ascii_digit()) {
        true => name.strip_prefix(disk).is_some_and(|rest| numbered(rest, "p")),
        false => numbered(name, disk),
    }
}

/// The prefix and a number after it.
fn numbered(name: &str, prefix: &str) -> bool {
    let number = name.strip_prefix(prefix).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Vec<DiskIo> {
        let device = |name: &&str| {
            DiskStat::from_line(&format!("254 0 {name} 10 1 800 5 20 2 1600 7 0 1500 12 0 0 0 0 0 0")).unwrap()
        };
        let devices: Vec<_> = names.iter().map(device).collect();
        disks(&devices).map(reading).collect()
    }

    #[test]
    fn whole_disks_are_told_apart_from_partitions_and_from_what_is_no_disk() {
        let names = [
            "loop0",
            "ram1",
            "zram0",
            "sr0",
            "sda",
            "sda1",
            "sda12",
            "sdaa",
            "sdaa1",
            "nvme0n1",
            "nvme0n1p1",
            "nvme0n10",
            "mmcblk0",
            "mmcblk0p2",
            "dm-1",
            "dm-10",
            "md0",
            "vda",
        ];
        let found: Vec<String> = found(&names).into_iter().map(|disk| disk.device).collect();
        assert_eq!(found, ["sda", "sdaa", "nvme0n1", "nvme0n10", "mmcblk0", "dm-1", "dm-10", "md0", "vda"]);
    }

    #[test]
    fn sectors_are_told_in_bytes_and_milliseconds_in_seconds() {
        let disk = found(&["vda"]).pop().unwrap();
        assert_eq!((disk.reads, disk.writes), (10, 20));
        assert_eq!((disk.read_bytes, disk.written_bytes), (409_600, 819_200));
        assert!((disk.busy_seconds - 1.5).abs() < 1e-9);
    }
}
