//! The processes of the machine.
//!
//! Of each there is read what is cheap: statm. Who it is, and in which cgroup, is read when it is new, and again when it has changed
//! much. A process is told from a later one with its pid by the inode number of its folder, which comes with the list for nothing:
//! a folder of /proc is made anew for another process (`proc_pid_make_inode()`, fs/proc/base.c; the numbers come around after four
//! thousand million). Where the number is another one, the time of its begin decides.

use super::{
    OpenTasks, PROCESSES,
    cgroups::{Cgroups, Home},
    files::{Folder, Text, kilobytes, nth_number, number},
    sample::{Blocks, Key, Process, Size, largest},
    tasks::Task,
};
use crate::{say::say, text::from_kernel};

/// Processes and threads of the kernel that are looked at, at most.
pub const LOOKED_AT: usize = 3072;
/// Smaller ones are not asked for what they have in swap, which takes a file that costs three times as much.
const SWAPS_FROM: u64 = 8 << 20;
/// Who changed by so much, and by an eighth, is looked at again.
const MUCH: u64 = 1 << 20;
/// `USER_HZ` (include/asm-generic/param.h): the unit of times in /proc, on every architecture that BPF programs run on.
const TICK_NS: u64 = 10_000_000;
/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process that is known.
#[derive(Clone, Copy, Debug)]
struct Known {
    pid: u32,
    inode: u64,
    began: u64,
    /// `None`: a thread of the kernel, which has no memory.
    key: Option<Key>,
    /// What it had at the last sample.
    size: u64,
    /// What it had when it was looked at.
    looked_at: u64,
    /// Whether it is known in which cgroup it was then.
    placed: bool,
    /// What its name and its cgroup were, in short: by the kernel's list alone.
    look: u64,
}

/// What one that is known takes.
#[cfg(test)]
pub const KNOWN_BYTES: usize = size_of::<Known>();

/// Who is there.
pub struct Processes {
    page_bytes: u64,
    /// What tells them at less cost, as long as it works.
    tasks: Option<OpenTasks>,
    /// By pid.
    known: Vec<Known>,
    next: u32,
}

/// What a scan came to.
#[derive(Debug, Default)]
pub struct Scan {
    pub sizes: Box<[Size]>,
    pub told: Vec<(Key, Process)>,
    /// Whether all that have memory are in it.
    pub whole: bool,
}

/// What a look at a process came to.
struct Look {
    process: Process,
    began: u64,
    kernel: bool,
    home: Home,
}

impl Processes {
    pub fn new(page_bytes: u32, tasks: Option<OpenTasks>) -> Self {
        Self { page_bytes: page_bytes.into(), tasks, known: Vec::new(), next: 0 }
    }

    /// Looks at all of them. `swapped`: whether any swap is in use.
    pub fn scan(&mut self, proc: &Folder, cgroups: Option<&Cgroups>, swapped: bool) -> Scan {
        match self.tasks.as_ref().map(|open| Task::all(open()?, LOOKED_AT)) {
            Some(Ok(told)) => return self.told(&told, cgroups),
            Some(Err(error)) => {
                say!(
                    "The flight recorder reads /proc from here on: the kernel's list of tasks cannot be read: {error}."
                );
                self.tasks = None;
            }
            None => {}
        }
        let mut pids = Vec::with_capacity(self.known.len() + 64);
        let listed = proc.list(|inode, name, _| {
            if let Some(pid) = name.to_str().ok().and_then(|name| name.parse().ok()) {
                pids.push((pid, inode));
            }
            pids.len() <= LOOKED_AT
        });
        let fits = pids.len() <= LOOKED_AT;
        pids.truncate(LOOKED_AT);
        let mut known = Vec::with_capacity(pids.len());
        let (mut sizes, mut told) = (Vec::with_capacity(pids.len()), Vec::new());
        for (pid, inode) in pids {
            let Some((one, process)) = self.one(proc, pid, inode, cgroups, swapped) else { continue };
            known.push(one);
            let Some(key) = one.key.filter(|_| one.size > 0) else { continue };
            sizes.push(Size { key, blocks: Blocks::of(one.size) });
            told.extend(process.map(|process| (key, process)));
        }
        self.finish(known, sizes, told, listed.is_ok() && fits)
    }

    /// By what the kernel told of all of them.
    fn told(&mut self, tasks: &[Task], cgroups: Option<&Cgroups>) -> Scan {
        let mut known = Vec::with_capacity(tasks.len());
        let (mut sizes, mut told) = (Vec::with_capacity(tasks.len()), Vec::new());
        for task in tasks.iter().take(LOOKED_AT) {
            let size = task.pages.saturating_mul(self.page_bytes);
            let home = cgroups.map_or(Home::Root, |cgroups| cgroups.of_id(task.memcg_id));
            let (began, look) = (task.start_boot_ns / TICK_NS, task.look(home));
            let before = self.known(task.pid).filter(|one| one.began == began);
            let Some(key) = before.and_then(|one| one.key).or_else(|| self.new_key()) else { continue };
            if before.is_none_or(|one| one.look != look) {
                let process = Process {
                    pid: task.pid,
                    began_ns: task.start_boot_ns,
                    comm: from_kernel(&task.comm).into(),
                    cgroup: home.key(),
                };
                told.push((key, process));
            }
            let placed = home != Home::Unknown;
            let (pid, inode, looked_at) = (task.pid, 0, size);
            known.push(Known { pid, inode, began, key: Some(key), size, looked_at, placed, look });
            if size > 0 {
                sizes.push(Size { key, blocks: Blocks::of(size) });
            }
        }
        self.finish(known, sizes, told, tasks.len() <= LOOKED_AT)
    }

    /// Keeps the largest. `fits`: whether all were looked at.
    fn finish(
        &mut self,
        mut known: Vec<Known>,
        sizes: Vec<Size>,
        mut told: Vec<(Key, Process)>,
        fits: bool,
    ) -> Scan {
        known.sort_unstable_by_key(|one| one.pid);
        self.known = known;
        let (sizes, all) = largest(sizes, PROCESSES);
        if !all {
            told.retain(|(key, _)| sizes.binary_search_by_key(key, |size| size.key).is_ok());
            // Who comes back among the largest is told then.
            for one in &mut self.known {
                if one.key.is_some_and(|key| sizes.binary_search_by_key(&key, |size| size.key).is_err()) {
                    (one.placed, one.look) = (false, 0);
                }
            }
        }
        Scan { sizes, told, whole: fits && all }
    }

    fn known(&self, pid: u32) -> Option<Known> {
        let at = self.known.binary_search_by_key(&pid, |one| one.pid).ok()?;
        self.known.get(at).copied()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands where a key may be lacking")]
    fn new_key(&mut self) -> Option<Key> {
        let key = Key(self.next);
        self.next = self.next.wrapping_add(1);
        Some(key)
    }

    /// One process, and who it is if that had to be read. `None`: it has ended.
    fn one(
        &mut self,
        proc: &Folder,
        pid: u32,
        inode: u64,
        cgroups: Option<&Cgroups>,
        swapped: bool,
    ) -> Option<(Known, Option<Process>)> {
        let known = self.known(pid);
        if let Some(kernel) = known.filter(|one| one.key.is_none() && one.inode == inode) {
            return Some((kernel, None));
        }
        let asks = swapped && known.is_none_or(|one| one.size >= SWAPS_FROM);
        let size = self.size(proc, pid, asks)?;
        let same = known.filter(|one| one.inode == inode);
        if let Some(one) = same
            && !one.is_stale(size, cgroups.is_some())
        {
            return Some((Known { size, ..one }, None));
        }
        let look = look(proc, pid, cgroups)?;
        let before = known.filter(|one| one.began == look.began).and_then(|one| one.key);
        let key = before.or_else(|| if look.kernel { None } else { self.new_key() });
        let placed = look.home != Home::Unknown;
        Some((
            Known { pid, inode, began: look.began, key, size, looked_at: size, placed, look: 0 },
            Some(look.process),
        ))
    }

    /// What it has in memory, and, if that is asked for, in swap.
    fn size(&self, proc: &Folder, pid: u32, asks: bool) -> Option<u64> {
        let mut room: Text = [0; 4096];
        if asks {
            let text = proc.read(format!("{pid}/status"), &mut room).ok()?;
            let swap = kilobytes(text, "VmSwap").unwrap_or(0);
            return Some(kilobytes(text, "VmRSS").unwrap_or(0).saturating_add(swap));
        }
        let text = proc.read(format!("{pid}/statm"), &mut room).ok()?;
        nth_number(text, 1)?.checked_mul(self.page_bytes)
    }
}

impl Known {
    /// Whether it may have become another program, or have been moved.
    fn is_stale(&self, size: u64, places: bool) -> bool {
        let change = size.abs_diff(self.looked_at);
        (change >= MUCH && change >= self.looked_at / 8) || (places && !self.placed && size >= MUCH)
    }
}

/// Reads who a process is (`do_task_stat()`, fs/proc/array.c).
fn look(proc: &Folder, pid: u32, cgroups: Option<&Cgroups>) -> Option<Look> {
    let mut room: Text = [0; 4096];
    let text = proc.read(format!("{pid}/stat"), &mut room).ok()?;
    // A name may have anything in it, parentheses too: what follows the last one is not of it.
    let (open, close) = (text.iter().position(|b| *b == b'(')?, text.iter().rposition(|b| *b == b')')?);
    let comm = from_kernel(text.get(open + 1..close)?).into();
    let mut fields = text.get(close + 1..)?.split(u8::is_ascii_whitespace).skip(1);
    // state, ppid, pgrp, session, tty_nr, tpgid, flags; then minflt to itrealvalue, and starttime.
    let kernel = number(fields.nth(6)?)? & KERNEL_THREAD != 0;
    let began = number(fields.nth(12)?)?;
    let home = cgroups.filter(|_| !kernel).map_or(Home::Unknown, |cgroups| {
        proc.read(format!("{pid}/cgroup"), &mut room).map_or(Home::Unknown, |text| cgroups.of(text))
    });
    let process = Process { pid, began_ns: began.saturating_mul(TICK_NS), comm, cgroup: home.key() };
    Some(Look { process, began, kernel, home })
}
