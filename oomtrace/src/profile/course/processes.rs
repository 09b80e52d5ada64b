//! The command's own processes: how many of each name, and what they have.

use std::{
    fs::File,
    io::{self, Read},
};

use oomtrace_ebpf::{TaskSize, size, whose};
use zerocopy::FromBytes as _;

use crate::{
    flight::{Folder, OpenTasks, kilobytes, nth_number},
    say::say,
};

/// Names that are kept apart in a sample; all others are one.
const NAMES: usize = 256;
/// Processes that are looked at, at most: more than machines have, and an end for whatever tells them without one.
const LOOKED_AT: usize = 1 << 17;
/// What is read at a time: so many records, to the byte.
const READ: usize = 128 * size_of::<TaskSize>();

/// A process's name, as the kernel has it: up to a NUL.
pub type Comm = [u8; 16];

/// Processes of one name together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many.
    pub processes: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Swapped memory.
    pub swap_bytes: u64,
}

impl Share {
    fn add(&mut self, other: Self) {
        self.processes = self.processes.saturating_add(other.processes);
        self.rss_bytes = self.rss_bytes.saturating_add(other.rss_bytes);
        self.swap_bytes = self.swap_bytes.saturating_add(other.swap_bytes);
    }
}

/// The command's own at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// All of them.
    pub all: Share,
    /// By name, in its order.
    pub names: Vec<(Comm, Share)>,
    /// Those for whose names there was no room.
    pub rest: Share,
}

impl Own {
    fn add(&mut self, comm: Comm, share: Share) {
        self.all.add(share);
        match self.names.binary_search_by_key(&comm, |(comm, _)| *comm) {
            Ok(index) => {
                if let Some((_, of_name)) = self.names.get_mut(index) {
                    of_name.add(share);
                }
            }
            Err(index) if self.names.len() < NAMES => self.names.insert(index, (comm, share)),
            Err(_) => self.rest.add(share),
        }
    }
}

/// Looks at them.
pub struct Processes {
    page_bytes: u64,
    /// The process that they are below.
    above: u32,
    /// What tells them at less cost, as long as it works.
    tasks: Option<OpenTasks>,
}

impl Processes {
    pub fn new(page_bytes: u32, above: u32, tasks: Option<OpenTasks>) -> Self {
        Self { page_bytes: page_bytes.into(), above, tasks }
    }

    /// As they are now; `None`: they cannot be told. `swapped`: whether any swap is in use.
    pub fn read(&mut self, proc: &Folder, swapped: bool) -> Option<Own> {
        if let Some(open) = &self.tasks {
            match open().and_then(|file| self.told(file)) {
                Ok(own) => return Some(own),
                Err(error) => {
                    say!(
                        "Processes are read from /proc from here on: the kernel's list of tasks cannot be used: {error}."
                    );
                    self.tasks = None;
                }
            }
        }
        self.listed(proc, swapped)
    }

    /// By the kernel's iterator.
    fn told(&self, mut from: File) -> io::Result<Own> {
        let mut own = Own::default();
        let mut room = [0; READ];
        let (mut seen, mut attributed) = (0_usize, false);
        while seen < LOOKED_AT {
            let length = match from.read(&mut room) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for record in room.get(..length).unwrap_or_default().chunks(size_of::<TaskSize>()) {
                let record =
                    TaskSize::read_from_bytes(record).map_err(|_| io::Error::other("half a record"))?;
                let of = (record.present >> size::WHOSE) & whose::MASK;
                attributed |= of != whose::UNKNOWN;
                seen = seen.saturating_add(1);
                if of == whose::OWN && record.present & size::PAGES != 0 {
                    let bytes =
                        |pages: i64| u64::try_from(pages).unwrap_or(0).saturating_mul(self.page_bytes);
                    let (rss_bytes, swap_bytes) = (bytes(record.rss_pages), bytes(record.swap_pages));
                    own.add(named(&record.comm), Share { processes: 1, rss_bytes, swap_bytes });
                }
            }
        }
        // Where it is asked, each is somebody's, oomtrace itself among them.
        if attributed { Ok(own) } else { Err(io::Error::other("it does not tell whose they are")) }
    }

    /// By all of /proc: a file each, and one more of the command's own where there is swap.
    fn listed(&self, proc: &Folder, swapped: bool) -> Option<Own> {
        let mut all = Vec::new();
        proc.list(|_, name, _| {
            let pid = name.to_str().ok().and_then(|name| name.parse().ok());
            all.extend(pid.and_then(|pid| Listed::read(proc, pid)));
            all.len() < LOOKED_AT
        })
        .ok()?;
        all.sort_unstable_by_key(|one| one.pid);
        let mut own = Own::default();
        for one in all.iter().filter(|one| is_below(one, self.above, &all)) {
            let rss_bytes = one.rss_pages.saturating_mul(self.page_bytes);
            let swap_bytes = if swapped { swap_bytes(proc, one.pid) } else { 0 };
            own.add(one.comm, Share { processes: 1, rss_bytes, swap_bytes });
        }
        Some(own)
    }
}

/// A process of /proc.
#[derive(Clone, Copy, Debug)]
struct Listed {
    pid: u32,
    parent: u32,
    rss_pages: u64,
    comm: Comm,
}

impl Listed {
    /// `None`: it has ended.
    fn read(proc: &Folder, pid: u32) -> Option<Self> {
        let mut room = [0; 4096];
        let text = proc.read(format!("{pid}/stat"), &mut room).ok()?;
        // A name may have anything in it, parentheses too: what follows the last one is not of it.
        let (open, close) =
            (text.iter().position(|byte| *byte == b'(')?, text.iter().rposition(|byte| *byte == b')')?);
        let comm = named(text.get(open + 1..close)?);
        let rest = text.get(close + 2..)?;
        // state, ppid, …; rss is the 24th of all fields (proc(5)).
        let parent = u32::try_from(nth_number(rest, 1)?).ok()?;
        Some(Self { pid, parent, rss_pages: nth_number(rest, 21)?, comm })
    }
}

/// What is in front of the NUL, and zeroes.
fn named(bytes: &[u8]) -> Comm {
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(bytes.iter().take_while(|byte| **byte != 0)) {
        *to = *from;
    }
    comm
}

/// Whether one of its parents is `above`, of all that there are, by pid.
fn is_below(one: &Listed, above: u32, all: &[Listed]) -> bool {
    /// There are no more levels of PID namespaces than 32, but a process may have any number of parents.
    const LEVELS: usize = 256;
    let mut parent = one.parent;
    for _ in 0..LEVELS {
        if parent == above {
            return true;
        }
        let Ok(at) = all.binary_search_by_key(&parent, |one| one.pid) else { return false };
        let Some(next) = all.get(at) else { return false };
        parent = next.parent;
    }
    false
}

fn swap_bytes(proc: &Folder, pid: u32) -> u64 {
    let mut room = [0; 4096];
    proc.read(format!("{pid}/status"), &mut room).ok().and_then(|text| kilobytes(text, "VmSwap")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the tree: whoever is below, at any depth; neither oomtrace itself, nor others, nor a circle without end.
    #[test]
    fn whose_parents_lead_there_is_below() {
        let one = |pid, parent| Listed { pid, parent, rss_pages: 1, comm: [0; 16] };
        let all =
            [one(1, 0), one(5, 1), one(9, 5), one(10, 9), one(11, 1), one(20, 21), one(21, 20), one(30, 99)];
        let below: Vec<_> = all.iter().filter(|one| is_below(one, 5, &all)).map(|one| one.pid).collect();
        assert_eq!(below, [9, 10]);
    }

    /// Guards names of which there are very many: the bound, and that nothing of them is lost.
    #[test]
    fn very_many_names_are_one() {
        let mut own = Own::default();
        let share = Share { processes: 1, rss_bytes: 4096, swap_bytes: 1 };
        for n in 0..2000_u32 {
            own.add(named(format!("n{n}").as_bytes()), share);
            own.add(named(b"n0"), share);
        }
        let named: u64 = own.names.iter().map(|(_, share)| share.rss_bytes).sum();
        assert_eq!(
            (own.names.len(), own.all.processes, named + own.rest.rss_bytes),
            (NAMES, 4000, 4000 * 4096)
        );
    }
}
