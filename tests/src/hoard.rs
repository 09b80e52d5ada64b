//! Memory that the kernel has on an eater's behalf, or that it must not reclaim: what global OOMs are made of.

use std::fs::{self, File};
use std::io::Write;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MlockFlags, ProtFlags, mlock_with, mmap_anonymous};

use crate::eat::Eat;
use crate::shred::{Pipes, pipes};

/// How much is written or sent at a time.
const CHUNK: usize = 64 * 1024;

/// What is held until it is dropped.
#[derive(Debug)]
pub struct Hoard {
    _file: Option<File>,
    _pipes: Pipes,
}

/// Gathers all that `eat` asks for. None if the kernel refused it for want of memory; all is given back then.
pub fn gather(eat: &Eat) -> Result<Option<Hoard>> {
    let file = match written(eat.written) {
        Err(error) if is_refusal(&error) => return Ok(None),
        file => file?,
    };
    let rest = messages(eat.messages).and_then(|()| locked(eat.locked)).and_then(|()| pipes(eat.pipes));
    match rest {
        Err(error) if is_refusal(&error) => Ok(None),
        pipes => pipes.map(|pipes| Some(Hoard { _file: file, _pipes: pipes })),
    }
}

/// Writes a file in tmpfs that nobody maps: shared memory that is in no process's rss.
fn written(bytes: u64) -> Result<Option<File>> {
    if bytes == 0 {
        return Ok(None);
    }
    let mut file = File::from(memfd_create("hoard", MemfdFlags::CLOEXEC).context("cannot make a memfd")?);
    let mut left = usize::try_from(bytes).context("more memory than can be addressed")?;
    let chunk = vec![1; CHUNK];
    while left > 0 {
        let part = chunk.get(..left.min(CHUNK)).unwrap_or(&chunk);
        left -= file.write(part).context("cannot write to a file in tmpfs")?;
    }
    Ok(Some(file))
}

/// Sends messages to a queue that nobody reads: they lie in slabs that cannot be reclaimed (`load_msg`,
/// ipc/msgutil.c). The queue is in a namespace of its own and vanishes with this process.
fn messages(bytes: u64) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: only this thread's view of System V queues changes.
    ensure!(unsafe { libc::unshare(libc::CLONE_NEWIPC) } == 0, "no new IPC namespace: {}", last_error());
    for (file, most) in [("msgmax", CHUNK as u64), ("msgmnb", i32::MAX.unsigned_abs().into())] {
        let file = format!("/proc/sys/kernel/{file}");
        fs::write(&file, most.to_string()).with_context(|| format!("cannot write {file}"))?;
    }
    // SAFETY: makes a queue, and touches no memory.
    let queue = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
    ensure!(queue >= 0, "no message queue: {}", last_error());
    // A message begins with its type, which is not 0.
    let message = vec![1u8; size_of::<libc::c_long>() + CHUNK];
    for _ in 0..bytes.div_ceil(CHUNK as u64) {
        // SAFETY: the message is as long as is said, and only read.
        let sent = unsafe { libc::msgsnd(queue, message.as_ptr().cast(), CHUNK, libc::IPC_NOWAIT) };
        if sent != 0 {
            return Err(last_error()).context("cannot send a message");
        }
    }
    Ok(())
}

/// Maps anonymous memory and locks it, which fills it.
fn locked(bytes: u64) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let length = usize::try_from(bytes).context("more memory than can be addressed")?;
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, flags) };
    let start = start.context("cannot map memory to lock")?;
    // SAFETY: locks the mapping just made, which stays for good.
    match unsafe { mlock_with(start, length, MlockFlags::empty()) } {
        Ok(()) => Ok(()),
        Err(error) => Err(error).context("cannot lock memory"),
    }
}

/// Whether it is memory that there was none of.
fn is_refusal(error: &anyhow::Error) -> bool {
    let by_std = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    let by_rustix = error.downcast_ref::<Errno>().map(|errno| errno.raw_os_error());
    by_std.or(by_rustix) == Some(libc::ENOMEM)
}

/// Has this process's memory come from one node alone from now on.
pub fn bind_to_node(node: u32) -> Result<()> {
    let bits = u64::BITS;
    if node >= bits {
        bail!("node {node} is beyond what a test machine has");
    }
    let mask: u64 = 1 << node;
    // SAFETY: the mask is as long as is said (the kernel takes one bit less), and only read.
    let set = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_BIND, &raw const mask, bits + 1) };
    ensure!(set == 0, "no memory policy: {}", last_error());
    Ok(())
}

fn last_error() -> std::io::Error {
    std::io::Error::last_os_error()
}
