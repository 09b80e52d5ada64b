//! The process that eats memory: `scenarios eat`, started by [`crate::eater::Eater`].
//!
//! Everything that could blur the figures happens before it says `ready`: its binary is locked in memory and so
//! charged outside the cgroup that it then joins, and all that it will eat is mapped. After that each line on
//! standard input sets off one step, so that the scenario decides the order of events. It ends when standard
//! input does.

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::fs::{Mode, OFlags, ftruncate, openat};
use rustix::mm::{Advice, MapFlags, MlockAllFlags, ProtFlags, madvise, mlockall, mmap, mmap_anonymous};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::Uid;
use rustix::thread::{set_name, set_thread_uid};

use crate::{hoard, kin, pace, shred, size};

/// What to be, and how much to eat.
#[derive(Debug, Clone, Default, Args)]
pub struct Eat {
    /// The comm to take; any bytes but NUL.
    #[arg(long)]
    pub name: Option<OsString>,
    /// The cgroup.procs file of the cgroup to join.
    #[arg(long)]
    pub cgroup_procs: Option<PathBuf>,
    /// The `oom_score_adj` to take.
    #[arg(long, allow_negative_numbers = true)]
    pub adj: Option<i64>,
    /// The user to become.
    #[arg(long)]
    pub uid: Option<u32>,
    /// Anonymous memory to fill.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub anon: u64,
    /// File-backed memory to fill, which cannot be reclaimed.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub file: u64,
    /// Shared memory to fill.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub shmem: u64,
    /// How fast to fill anonymous memory, bytes a second; 0: at once.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub pace: u64,
    /// Anonymous memory to fill in a second step.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub more: u64,
    /// Threads that fill at the same time, the first one included.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Bytes to write to a file in tmpfs that nobody maps, when told to hoard.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub written: u64,
    /// Bytes to send to a System V message queue that nobody reads, when told to hoard.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub messages: u64,
    /// Anonymous memory to lock, when told to hoard.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub locked: u64,
    /// Memory to lock and to give back every second page of, when told to fill.
    #[arg(long, value_parser = size::parse, default_value = "0")]
    pub shred: u64,
    /// Pipes to make whose rings take four pages in a row each, when told to hoard.
    #[arg(long, default_value_t = 0)]
    pub pipes: usize,
    /// Have the kernel count the anonymous memory as promised.
    #[arg(long)]
    pub promised: bool,
    /// Processes that share its memory and are no threads of it. They stay out of the cgroup.
    #[arg(long, default_value_t = 0)]
    pub sharers: usize,
    /// Children, in the cgroup.
    #[arg(long, default_value_t = 0)]
    pub children: usize,
    /// The NUMA node to take all memory from.
    #[arg(long)]
    pub node: Option<u32>,
    /// A path that a thread of its own asks about.
    #[arg(long)]
    pub asks_about: Option<PathBuf>,
    /// What it is called on its command line, in place of its own path.
    #[arg(skip)]
    pub program: Option<String>,
    /// Variables that it has in its environment, beside those of whoever starts it.
    #[arg(skip)]
    pub environment: Vec<(String, String)>,
    /// Arguments that mean nothing to it.
    #[arg(last = true)]
    pub ballast: Vec<OsString>,
}

/// What the eater says and is told, one word a line.
pub mod word {
    /// It is set up and waits.
    pub const READY: &str = "ready";
    /// Fill the first lot.
    pub const FILL: &str = "fill";
    /// Fill the second lot.
    pub const MORE: &str = "more";
    /// Gather what is to be hoarded.
    pub const HOARD: &str = "hoard";
    /// The lot is filled.
    pub const FULL: &str = "full";
    /// The kernel refused it (ENOMEM), and what there was of it is given back.
    pub const REFUSED: &str = "refused";
}

/// Memory that is mapped and not yet touched. Its bytes are atomics because several threads fill it.
type Region = &'static [AtomicU8];

/// Runs the eater until its standard input ends, or the kernel kills it.
pub fn run(eat: &Eat) -> Result<()> {
    // Asked for first: up to 6.3 it is read from a file of /proc that another user's process cannot open.
    let page = rustix::param::page_size();
    become_it(eat)?;
    let first =
        Arc::new(vec![shared_file(eat.file)?, shared(eat.shmem)?, anonymous(eat.anon, eat.promised)?]);
    let second = anonymous(eat.more, false)?;
    if let Some(uid) = eat.uid {
        set_thread_uid(Uid::from_raw(uid)).context("cannot become another user")?;
    }
    let gate = Arc::new(Barrier::new(eat.threads));
    for part in 1..eat.threads {
        let (first, gate, parts) = (Arc::clone(&first), Arc::clone(&gate), eat.threads);
        thread::spawn(move || help(&first, &gate, page, (part, parts)));
    }
    // Each thread has mapped what it needs for itself when it gets here, so that nothing is mapped later.
    if let Some(path) = eat.asks_about.clone() {
        let started = Arc::new(Barrier::new(2));
        let its = Arc::clone(&started);
        thread::spawn(move || {
            its.wait();
            drop(fs::metadata(path));
        });
        started.wait();
    }
    gate.wait();
    say(word::READY)?;
    let mut hoard = None;
    for line in stdin().lock().lines() {
        match line.context("cannot read standard input")?.as_str() {
            word::FILL => {
                gate.wait();
                if eat.pace > 0 {
                    first.iter().for_each(|region| pace::touch(region, page, eat.pace));
                }
                touch(&first, page, (0, eat.threads));
                gate.wait();
                shred::shred(eat.shred)?;
            }
            word::MORE => touch(&[second], page, (0, 1)),
            word::HOARD => {
                hoard = hoard::gather(eat)?;
                if hoard.is_none() {
                    say(word::REFUSED)?;
                    continue;
                }
            }
            other => bail!("the eater does not know the word {other:?}"),
        }
        say(word::FULL)?;
    }
    drop(hoard);
    Ok(())
}

/// Takes on the name, the adjustment, the cgroup and its kin, with the binary locked in memory before.
fn become_it(eat: &Eat) -> Result<()> {
    mlockall(MlockAllFlags::CURRENT).context("cannot lock the eater's binary in memory")?;
    if let Some(name) = &eat.name {
        let name = CString::new(name.clone().into_vec()).context("a name cannot hold a NUL")?;
        set_name(&name).context("cannot set the name")?;
    }
    kin::share_memory(eat.sharers)?;
    if let Some(adj) = eat.adj {
        fs::write("/proc/self/oom_score_adj", adj.to_string()).context("cannot set oom_score_adj")?;
    }
    if let Some(file) = &eat.cgroup_procs {
        fs::write(file, "0").with_context(|| format!("cannot join the cgroup by {}", file.display()))?;
    }
    if let Some(node) = eat.node {
        hoard::bind_to_node(node)?;
    }
    kin::have_children(eat.children)
}

/// A helping thread: fills its part together with the others, then sleeps for good.
fn help(regions: &[Region], gate: &Barrier, page: usize, part: (usize, usize)) {
    gate.wait();
    gate.wait();
    touch(regions, page, part);
    gate.wait();
    loop {
        thread::park();
    }
}

/// Writes to each page of one part, of so many, of the regions.
fn touch(regions: &[Region], page: usize, (part, parts): (usize, usize)) {
    for region in regions {
        let pages = region.iter().step_by(page);
        let share = pages.len().div_ceil(parts.max(1));
        for byte in pages.skip(part * share).take(share) {
            byte.store(1, Ordering::Relaxed);
        }
    }
}

/// Says one word to whoever started the eater.
fn say(word: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{word}").and_then(|()| out.flush()).context("nobody listens to the eater any more")
}

/// Maps private anonymous memory, in base pages so that filling it is charged page by page.
fn anonymous(bytes: u64, promised: bool) -> Result<Region> {
    map(bytes, |length| {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = if promised { MapFlags::PRIVATE } else { MapFlags::PRIVATE | MapFlags::NORESERVE };
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, flags)? };
        // SAFETY: the advice changes only the page size, and only of the mapping just made. A kernel without huge
        // pages refuses it, which comes to the same.
        let _no_huge_pages = unsafe { madvise(start, length, Advice::LinuxNoHugepage) };
        Ok(start)
    })
}

/// Maps shared anonymous memory, which the kernel accounts as shmem.
fn shared(bytes: u64) -> Result<Region> {
    map(bytes, |length| {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        unsafe { mmap_anonymous(std::ptr::null_mut(), length, access, flags) }
    })
}

/// Maps a file of a ramfs that is mounted nowhere. Its pages count as file pages and, unlike those of a disk's
/// file, stay when memory runs short; the file vanishes with the eater.
fn shared_file(bytes: u64) -> Result<Region> {
    map(bytes, |length| {
        let filesystem = fsopen("ramfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&filesystem)?;
        let mount = fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let file = openat(&mount, "file", OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR)?;
        ftruncate(&file, length as u64)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        unsafe { mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, &file, 0) }
    })
}

/// Makes a region of `bytes` by `mapping`, which must map that many readable and writable bytes for good.
fn map(
    bytes: u64,
    mapping: impl FnOnce(usize) -> rustix::io::Result<*mut std::ffi::c_void>,
) -> Result<Region> {
    let length = usize::try_from(bytes).context("more memory than can be addressed")?;
    if length == 0 {
        return Ok(&[]);
    }
    let start = mapping(length).with_context(|| format!("cannot map {bytes} bytes"))?;
    // SAFETY: the mapping is `length` bytes, readable and writable, zeroed, never unmapped, and referred to by
    // this slice alone.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU8>(), length) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the threads' parts together are the whole region, each page once.
    #[test]
    fn parts_make_up_the_whole() {
        let page = rustix::param::page_size();
        let region = anonymous(page as u64 * 7, false).unwrap();
        let touched = || region.iter().filter(|byte| byte.load(Ordering::Relaxed) == 1).count();
        touch(&[region], page, (0, 3));
        assert_eq!(touched(), 3);
        touch(&[region], page, (1, 3));
        touch(&[region], page, (2, 3));
        assert_eq!(touched(), 7);
        assert!(region.iter().step_by(page).all(|byte| byte.load(Ordering::Relaxed) == 1));
    }
}
