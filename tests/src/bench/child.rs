//! Forked children: victims, and processes that burn CPU time.
//!
//! They are forked and not executed anew, so that a kill costs little time of the measurement. A child of a process
//! with threads may only do what is safe in a signal handler: no allocation, no lock.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep as sleep_for;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::io::{pwrite, read, write};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, set_parent_process_death_signal, waitpid,
};

use super::turn::on_first_cpu;
use crate::machine::Machine;
use crate::size::MIB;
use crate::witness::cgroup::Cgroup;
use crate::witness::tree::Tree;

/// What the victims may use.
const LIMIT: u64 = 4 * MIB;
/// What they try to use.
const WANTED: usize = 16 << 20;

/// A forked child that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Forked(Pid);

impl Forked {
    /// Forks; the child does `work` and exits with status 0, and dies with the thread that forked it.
    ///
    /// # Safety
    /// `work` must be safe in a signal handler, and must not panic.
    pub unsafe fn start(work: impl FnOnce()) -> Result<Self> {
        // SAFETY: the child only does what is safe in a signal handler, as the caller promises, and never returns.
        match unsafe { libc::fork() } {
            0 => {
                let _without_it_the_drop_suffices = set_parent_process_death_signal(Some(Signal::KILL));
                work();
                // SAFETY: it ends the process at once, without running anything of its parent's.
                unsafe { libc::_exit(0) }
            }
            child => match Pid::from_raw(child) {
                Some(pid) if child > 0 => Ok(Self(pid)),
                _ => Err(std::io::Error::last_os_error()).context("cannot fork"),
            },
        }
    }

    /// A child that was started in another way.
    pub fn known(pid: i32) -> Result<Self> {
        Pid::from_raw(pid).map(Self).context("a child has no valid pid")
    }

    /// Waits for its end.
    pub fn wait(self) -> Result<WaitStatus> {
        let pid = self.0;
        // Its drop would kill whoever gets the pid next.
        std::mem::forget(self);
        let ended = waitpid(Some(pid), WaitOptions::empty()).context("cannot wait for a child")?;
        ended.map(|(_, status)| status).context("a child is gone without a status")
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let _gone_is_fine = kill_process(self.0, Signal::KILL);
        let _reaped = waitpid(Some(self.0), WaitOptions::empty());
    }
}

/// Has the kernel kill children for lack of memory, one at a time, in a cgroup of their own.
///
/// They are children of a process that does nothing else. A fork takes the right to write to its pages from the
/// forking process, and each page that this writes to then costs an interrupt on all processors that it ran on: also
/// on the one where the kernel, its interrupts off, is writing the victim's line to a console.
#[derive(Debug)]
pub struct Killer {
    _tree: Tree,
    group: Cgroup,
    _parent: Forked,
    orders: PipeWriter,
    answers: PipeReader,
}

/// How long a crowd may take to join.
const CROWD_IN: Duration = Duration::from_mins(1);
/// Of a child's pid, or of the signal that ended it.
const NUMBER: usize = size_of::<i32>();

impl Killer {
    /// Makes the cgroup, and the process that forks the victims. To be made before other threads are.
    pub fn new() -> Result<Self> {
        let hierarchy = Machine::look(false)?.hierarchy.context("this machine has no memory controller")?;
        let tree = Tree::new(&hierarchy, "bench")?;
        let group = tree.group("victims")?;
        group.set_limit(LIMIT)?;
        let (procs, region) = (open_procs(&group)?, region(WANTED)?);
        let (told, orders) = pipe().context("cannot make a pipe")?;
        let (answers, tell) = pipe().context("cannot make a pipe")?;
        // SAFETY: system calls, and stores to memory that is mapped.
        let parent = unsafe { Forked::start(move || serve(&told, &tell, &procs, region)) }?;
        Ok(Self { _tree: tree, group, _parent: parent, orders, answers })
    }

    /// Has one child killed; returns its pid.
    pub fn kill(&self) -> Result<u32> {
        (&self.orders).write_all(&[1]).context("the victims' parent takes no orders")?;
        let number = || {
            let mut bytes = [0; NUMBER];
            (&self.answers).read_exact(&mut bytes).context("the victims' parent has ended")?;
            anyhow::Ok(i32::from_ne_bytes(bytes))
        };
        let (pid, signal) = (number()?, number()?);
        if signal != Signal::KILL.as_raw() {
            bail!("a victim in {} ended by signal {signal}, not by SIGKILL", self.group.path);
        }
        u32::try_from(pid).context("a victim has no valid pid")
    }
}

impl Killer {
    /// Starts processes that sleep in the victims' cgroup until they are dropped.
    pub fn crowd(&self, count: u32) -> Result<Vec<Forked>> {
        let procs = open_procs(&self.group)?;
        let sleep = || {
            if join(&procs) {
                loop {
                    // SAFETY: it takes no pointer, and returns only where a signal has a handler.
                    unsafe { libc::pause() };
                }
            }
        };
        // SAFETY: two system calls.
        let crowd = (0..count).map(|_| unsafe { Forked::start(sleep) }).collect::<Result<Vec<_>>>()?;
        let deadline = Instant::now() + CROWD_IN;
        while self.group.members()?.len() < count as usize {
            ensure!(Instant::now() < deadline, "{count} processes did not join {}", self.group.path);
            sleep_for(Duration::from_millis(20));
        }
        Ok(crowd)
    }
}

/// Has a child killed for each byte that comes in, and answers with its pid and the signal that ended it, or 0.
fn serve(orders: &PipeReader, answers: &PipeWriter, procs: &File, region: &[AtomicU8]) {
    let mut order = [0];
    while read(orders, &mut order) == Ok(1) {
        // SAFETY: two system calls, and stores to memory that is mapped.
        let victim = unsafe {
            Forked::start(|| {
                on_first_cpu();
                if join(procs) {
                    touch(region);
                }
            })
        };
        let Ok(victim) = victim else { return };
        let pid = victim.0.as_raw_nonzero().get();
        let signal = victim.wait().ok().and_then(WaitStatus::terminating_signal).unwrap_or(0);
        for number in [pid, signal] {
            if write(answers, &number.to_ne_bytes()) != Ok(NUMBER) {
                return;
            }
        }
    }
}

/// Starts processes that burn CPU time until they are dropped.
pub fn hogs(count: u32) -> Result<Vec<Forked>> {
    let burn = || {
        loop {
            std::hint::spin_loop();
        }
    };
    // SAFETY: it computes and calls nothing.
    (0..count).map(|_| unsafe { Forked::start(burn) }).collect()
}

/// The file by which children join a cgroup.
pub fn open_procs(group: &Cgroup) -> Result<File> {
    let path = group.procs_file()?;
    OpenOptions::new().write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))
}

/// Moves this process to the cgroup; one system call.
pub fn join(procs: &File) -> bool {
    pwrite(procs, b"0", 0).is_ok()
}

/// Private memory, not yet touched, in base pages.
pub fn region(bytes: usize) -> Result<&'static [AtomicU8]> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    ensure!(bytes > 0, "an empty region cannot be mapped");
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let start =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }.context("cannot map memory")?;
    // SAFETY: the advice changes only the page size, and only of the mapping just made. A kernel without huge pages
    // refuses it, which comes to the same.
    let _no_huge_pages = unsafe { madvise(start, bytes, Advice::LinuxNoHugepage) };
    // SAFETY: the mapping is that long, readable and writable, zeroed and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU8>(), bytes) })
}

/// Writes to each page.
pub fn touch(region: &[AtomicU8]) {
    for byte in region.iter().step_by(4096) {
        byte.store(1, Ordering::Relaxed);
    }
}
