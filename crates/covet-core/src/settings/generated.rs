//! Key material for development: made once and kept in a file, so that sessions survive a restart.
//!
//! Never in staging or production: there a missing key is a problem.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::hex;
use crate::ids::random_bytes;

/// A key that lasts as long as the process: 32 random bytes as hexadecimal digits.
pub(super) fn new_key() -> String {
    hex::digits(random_bytes::<32>())
}

/// The key kept in `path`, made now if there is none. The directory is readable by its owner only, the file too.
///
/// Two processes that start at once get the same key: who creates it holds the file's lock, the other waits for it.
///
/// # Errors
/// The file system's, when the directory or the file cannot be made, locked or read.
pub(super) fn kept_key(path: &Path) -> io::Result<String> {
    if let Some(directory) = path.parent() {
        if let Some(above) = directory.parent() {
            fs::create_dir_all(above)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // Empty: it is ours to fill, also when a process died before it could.
    if text.trim().is_empty() {
        text = new_key();
        write(&mut file, &text)?;
    }
    Ok(text.trim().to_owned())
}

fn write(file: &mut File, key: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_readable_by_its_owner_only() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("data/secrets/secret_key");
        let key = kept_key(&path).unwrap();
        assert_eq!(key.len(), 64);
        assert_eq!(kept_key(&path).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn starts_at_the_same_moment_agree_on_the_key() {
        // One round rarely meets the moment between reading an empty file and filling it; many do.
        let data = tempfile::tempdir().unwrap();
        for round in 0..200 {
            let path = data.path().join(format!("{round}/secrets/secret_key"));
            let barrier = Barrier::new(4);
            let start = || {
                barrier.wait();
                kept_key(&path).unwrap()
            };
            let keys: BTreeSet<String> = thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(keys.len(), 1);
        }
    }

    #[test]
    fn an_empty_file_left_by_a_crash_is_filled() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("secret_key");
        fs::write(&path, "").unwrap();
        assert_eq!(kept_key(&path).unwrap().len(), 64);
    }
}
