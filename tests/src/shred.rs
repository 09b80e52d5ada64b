//! Free memory in single pages, and kernel memory that needs more than one in a row.

use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use rustix::mm::{MapFlags, MlockFlags, ProtFlags, mlock_with, mmap_anonymous, munmap};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What each pipe is enlarged to: its ring of 256 buffers takes 10 KiB, and so four pages in a row
/// (`pipe_resize_ring`, fs/pipe.c).
const PIPE: libc::c_int = 1 << 20;

/// Pipes whose rings are large.
pub type Pipes = Vec<(PipeReader, PipeWriter)>;

/// Locks so much memory, and gives back every second page of it: most neighbours of what is free then are not, and
/// while `vm.compact_unevictable_allowed` is 0 nobody may move them.
pub fn shred(bytes: u64) -> Result<()> {
    let page = rustix::param::page_size();
    let length = usize::try_from(bytes).context("more memory than can be addressed")?;
    if length == 0 {
        return Ok(());
    }
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, flags) };
    let start = start.context("cannot map memory")?;
    // SAFETY: locks the mapping just made.
    unsafe { mlock_with(start, length, MlockFlags::empty()) }.context("cannot lock memory")?;
    for offset in (0..length).step_by(2 * page) {
        // SAFETY: a page of the mapping just made, which nothing refers to.
        unsafe { munmap(start.byte_add(offset), page) }.context("cannot give back a page")?;
    }
    Ok(())
}

/// Makes so many pipes with large rings.
pub fn pipes(count: usize) -> Result<Pipes> {
    let files = u64::try_from(2 * count + 64).context("too many pipes")?;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let maximum = limit.maximum.map(|maximum| maximum.max(files));
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).context("no more files")?;
    }
    let mut pipes = Pipes::with_capacity(count);
    for _ in 0..count {
        let (reader, writer) = pipe().context("cannot make a pipe")?;
        // SAFETY: sets the size of a pipe of our own.
        let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE) };
        ensure!(size >= PIPE, "a pipe cannot be enlarged: {}", std::io::Error::last_os_error());
        pipes.push((reader, writer));
    }
    Ok(pipes)
}
