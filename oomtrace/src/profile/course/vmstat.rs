//! What the kernel counts of memory, the whole machine: /proc/vmstat (mm/vmstat.c).

use std::collections::BTreeMap;

use crate::{flight::Folder, profile::report::Counters};

/// What is read of the file, at most. 6.18 has 5 kB.
const TEXT: usize = 16 << 10;

/// What is kept of it. Of a name that several versions have changed, all.
const NAMES: [&str; 44] = [
    "allocstall",
    "allocstall_device",
    "allocstall_dma",
    "allocstall_dma32",
    "allocstall_high",
    "allocstall_movable",
    "allocstall_normal",
    "compact_daemon_wake",
    "compact_fail",
    "compact_stall",
    "compact_success",
    "drop_pagecache",
    "kswapd_high_wmark_hit_quickly",
    "kswapd_low_wmark_hit_quickly",
    "oom_kill",
    "pageoutrun",
    "pgfault",
    "pgmajfault",
    "pgpgin",
    "pgpgout",
    "pgscan_direct",
    "pgscan_direct_throttle",
    "pgscan_khugepaged",
    "pgscan_kswapd",
    "pgsteal_direct",
    "pgsteal_khugepaged",
    "pgsteal_kswapd",
    "pswpin",
    "pswpout",
    "slabs_scanned",
    "swap_ra",
    "swap_ra_hit",
    "thp_fault_alloc",
    "thp_fault_fallback",
    "thp_split_page",
    "thp_swpout",
    "thp_swpout_fallback",
    "workingset_refault",
    "workingset_refault_anon",
    "workingset_refault_file",
    "zone_reclaim_failed",
    "zswpin",
    "zswpout",
    "zswpwb",
];

/// Counters at a moment; `None`: this kernel does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vmstat([Option<u64>; NAMES.len()]);

impl Default for Vmstat {
    fn default() -> Self {
        Self([None; NAMES.len()])
    }
}

impl Vmstat {
    /// As they are now.
    pub fn read(proc: &Folder) -> Self {
        let mut room = [0; TEXT];
        Self::of(proc.read_whole("vmstat", &mut room).unwrap_or_default())
    }

    /// From the file's text.
    pub fn of(text: &[u8]) -> Self {
        let mut counters = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some(blank) = line.iter().position(|byte| *byte == b' ') else { continue };
            let (name, value) = line.split_at(blank);
            let Ok(index) = NAMES.binary_search_by(|known| known.as_bytes().cmp(name)) else { continue };
            if let Some(counter) = counters.0.get_mut(index) {
                *counter = crate::flight::number(value);
            }
        }
        counters
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<u64> {
        let index = NAMES.binary_search(&name).ok()?;
        self.0.get(index).copied().flatten()
    }

    /// What was counted since; `None` of what was not counted then or is not now. A counter may have gone back: those of a CPU that
    /// goes offline come late (`vm_events_fold_cpu()`).
    pub fn since(&self, earlier: &Self, name: &str) -> Option<u64> {
        Some(self.get(name)?.saturating_sub(earlier.get(name)?))
    }

    /// All that was counted since.
    pub fn counters_since(&self, earlier: &Self) -> Counters {
        let counted = NAMES.iter().filter_map(|name| Some(((*name).to_owned(), self.since(earlier, name)?)));
        Counters(counted.collect::<BTreeMap<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the list: it is searched by halves.
    #[test]
    fn names_are_in_order() {
        assert!(NAMES.is_sorted_by(|one, other| one < other));
    }

    /// Guards what is counted: differences by the kernel's names, and nothing of what is absent, damaged, or only begins alike.
    #[test]
    fn differences_are_by_name() {
        let before =
            Vmstat::of(b"nr_free_pages 5\npgmajfault 10\npswpin 3\noom_kill 7\npgfault x\npswpout 1");
        let after = Vmstat::of(
            b"pgmajfault 25\npswpin 3\noom_kill 6\npgfault 9\npswpout\npgmajfault_x 1\nallocstall 4\n",
        );
        let counters = after.counters_since(&before).0;
        let told: Vec<_> = counters.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        assert_eq!(told, [("oom_kill", 0), ("pgmajfault", 15), ("pswpin", 0)]);
        assert_eq!((after.since(&before, "nr_free_pages"), after.get("allocstall")), (None, Some(4)));
    }
}
