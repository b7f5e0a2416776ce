//! Throw-away directories.

use std::path::{Path, PathBuf};

use crate::{Error, Result, undertaker};

/// A directory that goes when the value is dropped, and also when the test process is killed.
///
/// With `COVET_TESTKIT_KEEP=1` it stays and its path is printed, to look at what a failed test left.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    keep: bool,
}

impl TempDir {
    /// Makes an empty directory whose name says what it is `for_what`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when the system's temporary directory cannot be written.
    pub fn new(for_what: &str) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("covet-{for_what}-"))
            .tempdir()
            .map_err(Error::io("create a temporary directory"))?;
        let keep = std::env::var_os("COVET_TESTKIT_KEEP").is_some_and(|value| value == "1");
        let path = directory.keep();
        if keep {
            report_kept(&path);
        } else {
            undertaker::directory_made(&path);
        }
        Ok(Self { path, keep })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file into it, with the folders that `name` has, and tells its path.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Io`] when it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io(format!("create {}", folder.display())))?;
        }
        std::fs::write(&path, content).map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // What could not be removed now stays with the undertaker, which tries again when this process has ended.
        if std::fs::remove_dir_all(&self.path).is_ok() {
            undertaker::directory_gone(&self.path);
        }
    }
}

#[expect(clippy::print_stderr, reason = "asked for by the person who set COVET_TESTKIT_KEEP")]
fn report_kept(path: &Path) {
    eprintln!("kept: {}", path.display());
}
