//! Processes that an eater has beside itself, and that only sleep.

use std::ffi::{c_int, c_void};

use anyhow::{Context, Result, ensure};

/// The stack of one that shares its maker's memory, in bytes. It makes system calls and nothing else.
const STACK: usize = 64 * 1024;

/// Makes processes that share this one's memory without being threads of it, as vfork does for a moment.
///
/// They end with the thread that makes them, however that comes about.
pub fn share_memory(count: usize) -> Result<()> {
    for _ in 0..count {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let stack = unsafe { libc::mmap(std::ptr::null_mut(), STACK, access, flags, -1, 0) };
        ensure!(stack != libc::MAP_FAILED, "a stack cannot be mapped: {}", last_error());
        // SAFETY: the end of the mapping just made, to which a stack grows down from; nobody unmaps it.
        let top = unsafe { stack.byte_add(STACK) };
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY: the new process has a stack of its own and runs `sleeper`, which makes system calls without touching
        // anything of this process's, its thread-local errno included.
        let pid = unsafe { libc::clone(sleeper, top, flags, std::ptr::null_mut()) };
        ensure!(pid > 0, "a process that shares memory cannot be made: {}", last_error());
    }
    Ok(())
}

/// Makes children with memory of their own.
pub fn have_children(count: usize) -> Result<()> {
    for _ in 0..count {
        // SAFETY: the child makes system calls and nothing else, so it does not matter which locks are held.
        match unsafe { libc::fork() } {
            -1 => return Err(last_error()).context("a child cannot be made"),
            0 => drop(sleeper(std::ptr::null_mut())),
            _ => {}
        }
    }
    Ok(())
}

/// Sleeps until it is killed, at the latest when the thread that made it ends. The pipes are let go of, since their
/// ends tell of the eater alone.
extern "C" fn sleeper(_: *mut c_void) -> c_int {
    // SAFETY: system calls on what is this process's own: what it dies of, and its file descriptors.
    unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::syscall(libc::SYS_close, libc::STDIN_FILENO);
        libc::syscall(libc::SYS_close, libc::STDOUT_FILENO);
    }
    loop {
        // SAFETY: waits, and touches nothing.
        unsafe { libc::syscall(libc::SYS_pause) };
    }
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}
