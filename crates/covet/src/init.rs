//! Being process 1 of a container.
//!
//! The kernel gives process 1 no default signal handling, and every orphan to look after. So as process 1 the service
//! starts itself once more as a child, passes signals on, reaps whatever ends, and exits as the child did: what `tini`
//! does, without needing it in the image.

use std::process::{Command, ExitCode};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Whether this is process 1.
pub(crate) fn is_needed() -> bool {
    std::process::id() == 1
}

/// Runs the service as a child until it ends.
pub(crate) async fn supervise() -> ExitCode {
    match run_child().await {
        Ok(code) => code,
        Err(error) => {
            crate::command::say(&format!("cannot start the service as a child of process 1: {error}"));
            ExitCode::from(2)
        }
    }
}

async fn run_child() -> std::io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut child_ended = signal(SignalKind::child())?;

    let mut arguments = std::env::args_os();
    let name = arguments.next();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments);
    if let Some(name) = name {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    let child = command.spawn()?;
    let child_pid = Pid::from_raw(child.id().cast_signed());

    loop {
        let pass_on = tokio::select! {
            _ = terminate.recv() => Some(Signal::SIGTERM),
            _ = interrupt.recv() => Some(Signal::SIGINT),
            _ = hangup.recv() => Some(Signal::SIGHUP),
            _ = quit.recv() => Some(Signal::SIGQUIT),
            _ = child_ended.recv() => None,
        };
        if let Some(signal) = pass_on {
            // A child that has just ended is found below.
            let _ = kill(child_pid, signal);
        }
        if let Some(code) = reap(child_pid) {
            return Ok(code);
        }
    }
}

/// Takes every ended process off the table. The child's code when it is among them.
fn reap(child: Pid) -> Option<ExitCode> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => {
                code = Some(ExitCode::from(clamp(status)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                // As a shell tells it.
                code = Some(ExitCode::from(clamp(128 + signal as i32)));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}

fn clamp(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(1)
}
