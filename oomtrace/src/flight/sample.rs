//! What is kept of one look at the machine.

use std::sync::Arc;

/// Names a process or a cgroup for as long as it is followed: no other ever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u32);

/// An amount of memory, in units of 4 KiB: 16 TiB fit in four bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocks(u32);

impl Blocks {
    const BYTES: u64 = 4096;

    /// So many bytes, rounded down.
    pub fn of(bytes: u64) -> Self {
        Self(u32::try_from(bytes / Self::BYTES).unwrap_or(u32::MAX))
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0) * Self::BYTES
    }
}

/// How much memory somebody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Who.
    pub key: Key,
    /// How much.
    pub blocks: Blocks,
}

/// How long programs have waited for memory since boot, µs, and which share of the last ten seconds they did, in hundredths of a
/// percent (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    pub some_us: u64,
    pub full_us: u64,
    pub some_now: u32,
    pub full_now: u32,
}

/// The machine as a whole: what /proc/meminfo has (fs/proc/meminfo.c), bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// `MemAvailable`.
    pub available: Option<u64>,
    /// `MemFree`.
    pub free: Option<u64>,
    /// `AnonPages`.
    pub anon: Option<u64>,
    /// `Active(file)` and `Inactive(file)`.
    pub file: Option<u64>,
    /// `Shmem`.
    pub shmem: Option<u64>,
    /// `Slab`.
    pub slab: Option<u64>,
    /// `SwapTotal` without `SwapFree`.
    pub swap_used: Option<u64>,
    /// /proc/pressure/memory; `None`: the kernel has none, or it is switched off.
    pub pressure: Option<Pressure>,
}

/// The clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since boot, suspended time included: the clock of incidents.
    pub boot_ns: u64,
    /// Since boot without that: nothing grows while the machine is suspended.
    pub awake_ns: u64,
}

/// One look at the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When it began.
    pub at: Moment,
    pub machine: Machine,
    /// Memory and swap of processes, by key.
    pub processes: Box<[Size]>,
    /// Memory charged to cgroups, by key.
    pub cgroups: Box<[Size]>,
    /// Whether all processes are in it that have memory.
    pub whole: bool,
}

/// A process, as it was when it was looked at last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// When it began, ns since boot, suspended time included. The kernel tells hundredths of a second.
    pub began_ns: u64,
    pub comm: Box<str>,
    /// Its memory cgroup, if that is followed.
    pub cgroup: Option<Key>,
}

/// A memory cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Path in its hierarchy.
    pub path: Arc<str>,
    /// Inode number of its directory: a later one of that path has another.
    pub id: u64,
}

/// A sample, and what was learnt of who is in it.
#[derive(Debug, Default)]
pub struct Reading {
    pub sample: Sample,
    /// Processes that are new, or that were looked at again.
    pub processes: Vec<(Key, Process)>,
    /// Cgroups that are new.
    pub cgroups: Vec<(Key, Cgroup)>,
}

/// The size of somebody, among sizes by key.
pub fn size_of(sizes: &[Size], key: Key) -> Option<u64> {
    let at = sizes.binary_search_by_key(&key, |size| size.key).ok()?;
    Some(sizes.get(at)?.blocks.bytes())
}

/// The largest of these, so many at most, by key; and whether these are all.
pub fn largest(mut sizes: Vec<Size>, most: usize) -> (Box<[Size]>, bool) {
    let all = sizes.len() <= most;
    if !all {
        sizes.select_nth_unstable_by_key(most, |size| std::cmp::Reverse(size.blocks));
        sizes.truncate(most);
    }
    sizes.sort_unstable_by_key(|size| size.key);
    (sizes.into_boxed_slice(), all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the unit: no amount wraps around.
    #[test]
    fn amounts_are_bounded() {
        assert_eq!(Blocks::of(4095).bytes(), 0);
        assert_eq!(Blocks::of(1 << 40).bytes(), 1 << 40);
        assert_eq!(Blocks::of(u64::MAX).bytes(), u64::from(u32::MAX) * 4096);
    }

    /// Guards what is kept of very many: the largest, findable by key.
    #[test]
    fn the_largest_stay() {
        let sizes = (0..100).map(|n| Size { key: Key(100 - n), blocks: Blocks::of(u64::from(n) << 20) });
        let (kept, all) = largest(sizes.collect(), 10);
        assert!(!all && kept.len() == 10 && kept.is_sorted_by_key(|size| size.key));
        assert_eq!((size_of(&kept, Key(1)), size_of(&kept, Key(11))), (Some(99 << 20), None));
        assert!(largest(kept.to_vec(), 10).1);
    }
}
