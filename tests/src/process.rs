//! Waiting for children with a deadline, and ending them.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use std::{env, io, thread};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open,
    set_parent_process_death_signal, waitid,
};

use crate::deadline::Deadline;

/// How often a program is started whose file is held open for writing, and how long is waited in between: a fork is
/// followed by its exec within milliseconds.
const BUSY_TRIES: u32 = 200;
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// Waits until `fd` is readable.
pub fn wait_readable(fd: impl AsFd, deadline: Deadline, what: &str) -> Result<()> {
    loop {
        let left = Timespec::try_from(deadline.left(what)?).context("a time limit is out of range")?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => bail!("the time limit passed while waiting for {what}"),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot wait for {what}")),
        }
    }
}

/// Waits until `child` has ended, and reaps it.
pub fn wait_exit(child: &mut Child, deadline: Deadline, what: &str) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait().context("cannot ask whether a child has ended")? {
        return Ok(status);
    }
    let fd = pidfd_open(pid_of(child)?, PidfdFlags::empty()).context("cannot open a pidfd of a child")?;
    wait_readable(fd, deadline, what)?;
    child.wait().context("cannot reap a child")
}

/// Has the child that `command` starts end when this process does, however that comes about.
pub fn die_with_us(command: &mut Command) {
    let ask = || Ok(set_parent_process_death_signal(Some(Signal::TERM))?);
    // SAFETY: between fork and exec only async-signal-safe things may be done; this is one system call.
    unsafe { command.pre_exec(ask) };
}

/// Starts a program whose file this process has just written, by `start`. A child that another thread forks meanwhile
/// has the file open for writing until it executes something else, and as long the kernel refuses to run it (ETXTBSY).
pub fn start_new<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..BUSY_TRIES {
        match start() {
            Err(error) if is_busy(&error) => thread::sleep(BUSY_WAIT),
            done => return done,
        }
    }
    start()
}

/// Whether a program could not be started since somebody has its file open for writing.
fn is_busy(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ExecutableFileBusy)
}

/// Asks `child` to end (SIGTERM). One that has ended already is no error.
pub fn terminate(child: &Child) -> Result<()> {
    match kill_process(pid_of(child)?, Signal::TERM) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot send SIGTERM to a child"),
    }
}

/// Stops `child` (SIGSTOP), and waits until it has: signals are seen on the way back from the kernel.
pub fn stop(child: &Child, deadline: Deadline) -> Result<()> {
    let pid = pid_of(child)?;
    kill_process(pid, Signal::STOP).context("cannot send SIGSTOP to a child")?;
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), stopped).context("cannot wait for a child to stop")?.is_none() {
        deadline.left("a child to stop")?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Lets `child` go on (SIGCONT).
pub fn go_on(child: &Child) -> Result<()> {
    kill_process(pid_of(child)?, Signal::CONT).context("cannot send SIGCONT to a child")
}

/// A program on the PATH.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Kills `child` and reaps it: for guards, which have nobody to report an error to.
pub fn end(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let _gone_is_fine = child.kill();
        let _reaped = child.wait();
    }
}

/// The child's pid in rustix's type.
fn pid_of(child: &Child) -> Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a child has no valid pid")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Guards that a child that never ends costs a time limit and not the run.
    #[test]
    fn waiting_ends_at_the_deadline() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let error = wait_exit(&mut child, Deadline::after(Duration::from_millis(50)), "sleep").unwrap_err();
        end(&mut child);
        assert!(error.to_string().contains("while waiting for sleep"), "{error}");
    }

    /// Guards that the end of a child is seen as an event, with its status.
    #[test]
    fn waiting_gives_the_status() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let status = wait_exit(&mut child, Deadline::after(Duration::from_secs(30)), "sh").unwrap();
        assert_eq!(status.code(), Some(3));
    }
}
