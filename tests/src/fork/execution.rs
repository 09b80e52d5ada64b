//! A thread that is within execve(2) for as long as it is wanted to be.
//!
//! It executes a script whose interpreter somebody has a lease of (fcntl(2), `F_SETLEASE`): the kernel has marked what
//! the threads share of the file system as being in an execve by then (`check_unsafe_exec()`, fs/exec.c), and waits
//! with opening the interpreter until the lease is given up. That is empty, so that the execve fails and the process
//! lives on.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{self, Error};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::ptr;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, ensure};

use crate::stage::Scratch;

/// Such a thread.
#[derive(Debug)]
pub struct Execution {
    lease: File,
    thread: JoinHandle<Error>,
    _files: Scratch,
}

/// How long the kernel may take to ask for the lease, in s. It takes it by force after /proc/sys/fs/lease-break-time, 45.
const ASKED: libc::time_t = 20;

impl Execution {
    /// Starts it, and gives it once it is within its execve.
    pub fn begin() -> Result<Self> {
        let files = Scratch::new("execution")?;
        let (script, interpreter) = (files.file("script"), files.file("interpreter"));
        program(&interpreter, b"")?;
        program(&script, &[b"#!", interpreter.as_os_str().as_bytes(), b"\n"].concat())?;
        let lease = File::open(&interpreter).context("cannot open an interpreter")?;
        let asked = one_signal(libc::SIGIO)?;
        set_lease(&lease, libc::F_WRLCK).context("an interpreter cannot be leased")?;
        let path = CString::new(script.as_os_str().as_bytes()).context("a path holds a NUL")?;
        let thread = thread::spawn(move || {
            let arguments = [path.as_ptr(), ptr::null()];
            // SAFETY: the path and the list of arguments live until the call has returned.
            unsafe { libc::execv(path.as_ptr(), arguments.as_ptr()) };
            Error::last_os_error()
        });
        let limit = libc::timespec { tv_sec: ASKED, tv_nsec: 0 };
        // SAFETY: the set and the limit are read, and nothing else.
        let signal = unsafe { libc::sigtimedwait(&raw const asked, ptr::null_mut(), &raw const limit) };
        ensure!(signal == libc::SIGIO, "nobody asks for the lease: {}", Error::last_os_error());
        Ok(Self { lease, thread, _files: files })
    }

    /// Gives up the lease, and waits until the execve has failed.
    pub fn end(self) -> Result<()> {
        set_lease(&self.lease, libc::F_UNLCK).context("a lease cannot be given up")?;
        let error = self.thread.join().map_err(|_| anyhow!("the executing thread panicked"))?;
        ensure!(error.raw_os_error() == Some(libc::ENOEXEC), "the execve should have failed: {error}");
        Ok(())
    }
}

/// Makes a file that may be executed.
fn program(path: &Path, text: &[u8]) -> Result<()> {
    let write = || {
        fs::write(path, text)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Takes or gives up a lease.
fn set_lease(file: &File, kind: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// The set of one signal, which is blocked from now on, in threads that are yet to be made too.
fn one_signal(signal: i32) -> Result<libc::sigset_t> {
    // SAFETY: the set is a number of ours, which the calls fill and read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        ensure!(error == 0, "a signal cannot be blocked: {}", Error::from_raw_os_error(error));
        Ok(set)
    }
}
