//! Has forks wait, within the kernel, for somebody who never looks.
//!
//! Who registers memory with userfaultfd(2) can ask to be told of forks, and the kernel has a fork wait until it has been
//! (`dup_userfaultfd_complete()`, fs/userfaultfd.c): by then all memory is copied. Only SIGKILL ends the waiting, and the fork
//! then fails with EINTR, which nobody gets to know (`copy_process()`, kernel/fork.c).

use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// `UFFD_API`, `UFFD_FEATURE_EVENT_FORK`, and what `UFFDIO_API` is told (include/uapi/linux/userfaultfd.h).
const API: u64 = 0xaa;
const EVENT_FORK: u64 = 1 << 1;
const UFFDIO_API: libc::Ioctl = 0xc018_aa3f;
/// `UFFDIO_REGISTER_MODE_MISSING`, and what `UFFDIO_REGISTER` is told.
const MODE_MISSING: u64 = 1;
const UFFDIO_REGISTER: libc::Ioctl = 0xc020_aa00;
/// What is registered.
const LENGTH: usize = 4096;

/// Sets the trap. It lasts as long as the descriptor is open.
pub fn set() -> Result<OwnedFd> {
    // SAFETY: a system call that makes a descriptor and touches nothing.
    let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
    let descriptor = i32::try_from(descriptor).context("a descriptor is out of range")?;
    ensure!(descriptor >= 0, "userfaultfd cannot be had: {}", Error::last_os_error());
    // SAFETY: it has just been made, and is nobody else's.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    ask(&descriptor, UFFDIO_API, &mut [API, EVENT_FORK, 0]).context("forks cannot be told of")?;
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start =
        unsafe { mmap_anonymous(ptr::null_mut(), LENGTH, access, flags) }.context("cannot map memory")?;
    ask(&descriptor, UFFDIO_REGISTER, &mut [start as u64, LENGTH as u64, MODE_MISSING, 0])
        .context("memory cannot be registered")?;
    Ok(descriptor)
}

/// Asks for something, with numbers that the kernel reads and writes.
fn ask(descriptor: &OwnedFd, what: libc::Ioctl, numbers: &mut [u64]) -> Result<()> {
    // SAFETY: the numbers are as many as this request has (its size is a part of its number), and live until it has returned.
    let result = unsafe { libc::ioctl(descriptor.as_raw_fd(), what, numbers.as_mut_ptr()) };
    ensure!(result == 0, "{}", Error::last_os_error());
    Ok(())
}
