//! Which of the mounted file systems are disks of this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use procfs::process::{MountInfo, Process};

use super::failed;
use crate::system::readings::{Mount, NotRead, Space};

/// On a disk of this machine, or made of it. Asking them never waits for a network or another process.
const LOCAL: [&str; 14] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "msdos", "ntfs", "ntfs3", "vfat", "xfs", "zfs",
];

pub(in crate::system) fn mounts() -> Result<Vec<Mount>, NotRead> {
    let mounts = Process::myself().and_then(|process| process.mountinfo()).map_err(failed("/proc/self/mountinfo"))?;
    let readable = |mountpoint: PathBuf| {
        let space = Space::at(&mountpoint).ok().filter(|space| space.total_bytes > 0)?;
        Some(Mount { mountpoint, space })
    };
    Ok(disks(mounts).into_iter().filter_map(readable).collect())
}

/// One mount of each disk, the one nearest to the root.
fn disks(mounts: impl IntoIterator<Item = MountInfo>) -> Vec<PathBuf> {
    let mut by_device: BTreeMap<String, PathBuf> = BTreeMap::new();
    for mount in mounts.into_iter().filter(is_local) {
        let mountpoint = unescaped(&mount.mount_point);
        let nearer = |known: &PathBuf| depth(&mountpoint) < depth(known);
        // Containers have single files mounted too.
        if mountpoint.is_dir() && by_device.get(&mount.majmin).is_none_or(nearer) {
            by_device.insert(mount.majmin, mountpoint);
        }
    }
    by_device.into_values().collect()
}

/// A container's root is an overlay over a disk; on a machine that runs containers there is one more for each
/// of them, which tell nothing new.
fn is_local(mount: &MountInfo) -> bool {
    LOCAL.contains(&mount.fs_type.as_str()) || mount.fs_type == "overlay" && mount.mount_point == Path::new("/")
}

/// The kernel writes a space in a mountpoint as `\040`.
fn unescaped(mountpoint: &Path) -> PathBuf {
    let text = mountpoint.to_string_lossy();
    PathBuf::from(
        [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
            .iter()
            .fold(text.into_owned(), |text, (escape, char)| text.replace(escape, char)),
    )
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Vec<String> {
        let mounts = lines.iter().map(|line| MountInfo::from_line(line).unwrap());
        disks(mounts).iter().map(|mountpoint| mountpoint.display().to_string()).collect()
    }

    #[test]
    fn network_user_space_and_virtual_file_systems_are_not_asked() {
        let found = found(&[
            "21 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
            "22 21 0:5 / /dev rw - devtmpfs devtmpfs rw",
            "23 21 0:6 / /proc rw - proc proc rw",
            "24 21 0:7 / /tmp rw - nfs4 server:/share rw",
            "25 21 0:8 / /usr rw - fuse.sshfs host: rw",
            "26 21 0:9 / /var rw - cifs //server/share rw",
            "27 21 0:10 / /etc rw - tmpfs tmpfs rw",
            "28 21 0:11 / /bin rw - overlay overlay rw",
        ]);
        assert_eq!(found, ["/"]);
    }

    #[test]
    fn a_container_has_its_root_and_its_volumes_once_each() {
        let found = found(&[
            "21 1 0:99 / / rw - overlay overlay rw",
            "22 21 254:0 /docker/hosts /etc/hosts rw - ext4 /dev/vda rw",
            "23 21 254:0 /volumes/uploads /usr/lib rw - ext4 /dev/vda rw",
            "24 21 254:0 /volumes/logs /var rw - ext4 /dev/vda rw",
        ]);
        assert_eq!(found, ["/", "/var"]);
    }
}
