//! Limits of this process that a test with thousands of sockets has to raise.

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Makes sure that this process, and every process it starts from now on, may have `files` open.
///
/// # Errors
///
/// When the hard limit is lower and this user may not raise it.
pub fn allow_open_files(files: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= files {
        return Ok(());
    }
    let hard = hard.max(files);
    let hint = format!("the limit of open files is {soft}; raise it with: ulimit -n {files}");
    setrlimit(Resource::RLIMIT_NOFILE, files, hard).context(hint)?;
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(soft >= files, "the limit of open files is still {soft}");
    Ok(())
}
