//! Cleans up when this process cannot do it itself.
//!
//! Destructors run at the end of a test and after a panic. They do not run after SIGKILL, an abort, Ctrl-C, or a test runner's time
//! limit. So every test process that starts something also starts one small shell that reads from a pipe what is alive; when the
//! pipe closes, for whatever reason, the shell ends the processes and removes the directories that are still on its list.
//!
//! Why not `PR_SET_PDEATHSIG`: it needs `unsafe`, and it fires when the *thread* that started the child ends, not the process. Why
//! not a process group for each child: a test runner that kills the group of a test would then miss our children. They stay in the
//! group of the test; only the undertaker leaves it, or it would be killed with those it has to bury.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::signal::Signal;

/// One line an event: `process+ SIGNAL PID`, `process- PID`, `directory+ PATH`, `directory- PATH`.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
exec awk '
$1 == "process+"   { signal[$3] = $2 }
$1 == "process-"   { delete signal[$2] }
$1 == "directory+" { directory[substr($0, 12)] = 1 }
$1 == "directory-" { delete directory[substr($0, 12)] }
END {
    for (pid in signal) system("kill -CONT " pid " 2>/dev/null; kill -" signal[pid] " " pid " 2>/dev/null")
    for (pid in signal)
        system("i=0; while [ $i -lt 30 ] && kill -0 " pid " 2>/dev/null; do i=$((i+1)); sleep 0.1; done; kill -KILL " pid " 2>/dev/null")
    for (path in directory) system("rm -rf -- \"" path "\"")
}'
"#;

static PIPE: LazyLock<Mutex<Option<ChildStdin>>> = LazyLock::new(|| Mutex::new(hire()));

/// A process that has to be ended with `signal` (and, if that does not help, killed).
pub(crate) fn process_started(pid: u32, signal: Signal) {
    tell(&format!("process+ {} {pid}", signal.as_str().trim_start_matches("SIG")));
}

/// A process that is gone; its number may be given to a stranger now.
pub(crate) fn process_gone(pid: u32) {
    tell(&format!("process- {pid}"));
}

/// A directory that has to be removed.
pub(crate) fn directory_made(path: &Path) {
    tell(&format!("directory+ {}", path.display()));
}

/// A directory that is removed.
pub(crate) fn directory_gone(path: &Path) {
    tell(&format!("directory- {}", path.display()));
}

fn hire() -> Option<ChildStdin> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // Nobody waits for it: it ends after this process.
    command.spawn().ok()?.stdin.take()
}

/// Without an undertaker tests still work; only a killed test would leave something behind.
fn tell(line: &str) {
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stdin) = pipe.as_mut()
        && writeln!(stdin, "{line}").is_err()
    {
        *pipe = None;
    }
}
