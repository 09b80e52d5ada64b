//! Whether the command can be started, found out without running any of it: it is started as a tracee, which stops before its first
//! instruction, and killed there. What only execve() finds out (an interpreter that is missing, arguments that are too long, memory that
//! is not enough to load it) is known then before anything is traced.

use std::path::Path;

use super::{
    cgroup::OwnCgroup,
    error::StartError,
    spawn::{Failure, Plan, spawn},
};

/// Starts it in this cgroup, and ends it before it runs. `limit_bytes`: what the cgroup may have.
pub fn rehearse(plan: &Plan, cgroup: Option<&OwnCgroup>, limit_bytes: Option<u64>) -> Result<(), StartError> {
    let pid = match spawn(plan, cgroup, true) {
        Ok(pid) => pid,
        // Yama, or a filter of system calls, has it so. It is found out later, then.
        Err(Failure::Trace) => return Ok(()),
        Err(Failure::Exec(error)) => {
            return Err(match (error.raw_os_error(), limit_bytes) {
                (Some(libc::ENOMEM), Some(limit)) => StartError::too_small(&plan.program, limit),
                _ => StartError::exec(&plan.program, &error),
            });
        }
        Err(failure) => return Err(failure.told(&plan.program)),
    };
    let (status, is_foreign) = stopped_or_ended(plan, pid);
    if is_foreign {
        return Err(StartError::NotExecutable(format!(
            "{} cannot be run: it is made for another machine (`file` tells for which).",
            super::error::shown_path(&plan.program.path)
        )));
    }
    match (status, limit_bytes) {
        // Killed, or with too little left to map it once its old memory was gone (`begin_new_exec()`, fs/exec.c: SIGSEGV).
        (Some(status), Some(limit))
            if libc::WIFSIGNALED(status)
                && matches!(libc::WTERMSIG(status), libc::SIGKILL | libc::SIGSEGV) =>
        {
            Err(StartError::too_small(&plan.program, limit))
        }
        _ => Ok(()),
    }
}

/// Waits until it has stopped or ended, and ends it. How it ended if it did not stop, and whether it is a shell that took a program of
/// another machine for a script.
fn stopped_or_ended(plan: &Plan, pid: i32) -> (Option<i32>, bool) {
    let Some(status) = wait(pid) else { return (None, false) };
    if !libc::WIFSTOPPED(status) {
        return (Some(status), false);
    }
    // `execvp()` has a shell read what the kernel does not know.
    let runs = std::fs::canonicalize(format!("/proc/{pid}/exe")).ok();
    let is = |path: &Path| std::fs::canonicalize(path).ok() == runs;
    let is_foreign =
        runs.is_some() && is(Path::new("/bin/sh")) && plan.program.is_binary() && !is(&plan.program.path);
    // SAFETY: the call takes no pointer. The child is not waited for yet, so that its number is nobody else's.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    while wait(pid).is_some_and(|status| libc::WIFSTOPPED(status)) {}
    (None, is_foreign)
}

fn wait(pid: i32) -> Option<i32> {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to a number of ours.
        if unsafe { libc::waitpid(pid, &raw mut status, 0) } == pid {
            return Some(status);
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return None;
        }
    }
}
