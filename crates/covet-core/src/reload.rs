//! What comes from files and is read again while the service runs: certificates, keys.
//!
//! A kind of thing says by [`Reload`] which files it has and how it is replaced; when they are read again is the matter of
//! the `covet` crate. [`FileStamps`] tell that a file has been replaced, also where Kubernetes swaps the link that leads to it.

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Something that can be replaced from its files.
pub trait Reload: Send + Sync + 'static {
    /// What it is, in one word, for log, audit and metrics: `access_token_keys`.
    fn name(&self) -> &'static str;

    /// Where it comes from. Without a file it is never read again.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files, and puts what is in them in place at once and as a whole. `None`: it is what was there before.
    ///
    /// # Errors
    /// What is wrong with the files, without anything secret in it. Then what was there before stays.
    fn reload(&self) -> Result<Option<Change>, ReloadError>;
}

/// Why something could not be replaced.
pub type ReloadError = Box<dyn Error + Send + Sync>;

/// What became another: names that may be logged, such as the ids of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was in place.
    pub from: String,
    /// What is now.
    pub to: String,
}

impl Change {
    /// `None` when both are the same.
    #[must_use]
    pub fn between(from: String, to: String) -> Option<Self> {
        (from != to).then_some(Self { from, to })
    }
}

/// The state of some files as the file system tells it. Take them before the files are read: what is written meanwhile makes
/// the next ones differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamps(Vec<Option<Stamp>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    /// Of content, mode and owner: a file that becomes readable has changed too.
    changed: (i64, i64),
}

impl FileStamps {
    /// As they are now.
    #[must_use]
    pub fn of(files: &[PathBuf]) -> Self {
        // `metadata` follows links: Kubernetes replaces a link, not the file.
        let stamp = |path: &PathBuf| std::fs::metadata(path).ok().map(|data| Stamp::of(&data));
        Self(files.iter().map(stamp).collect())
    }
}

impl Stamp {
    fn of(data: &std::fs::Metadata) -> Self {
        let changed = (data.ctime(), data.ctime_nsec());
        Self { device: data.dev(), inode: data.ino(), size_bytes: data.len(), changed }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_swapped_link_is_seen_although_both_files_are_as_old_and_as_long() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, key) in [("v1", "aaaa"), ("v2", "bbbb")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("key"), key).unwrap();
        }
        symlink("v1", at("current")).unwrap();
        let file = [at("current").join("key")];
        let before = FileStamps::of(&file);
        assert_eq!(FileStamps::of(&file), before);
        symlink("v2", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert_ne!(FileStamps::of(&file), before);
    }

    #[test]
    fn a_file_that_comes_and_goes_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = [directory.path().join("key")];
        let none = FileStamps::of(&file);
        fs::write(&file[0], "key").unwrap();
        assert_ne!(FileStamps::of(&file), none);
        fs::remove_file(&file[0]).unwrap();
        assert_eq!(FileStamps::of(&file), none);
    }
}
