//! Words that one line at least of anything of interest has, wherever it begins: what has none need not be looked at.

use aho_corasick::{AhoCorasick, packed};

/// The words. Colours that `dmesg` and consoles put behind `subsystem: ` cut none of them in two.
const WORDS: [&[u8]; 27] = [
    // "x invoked oom-killer: gfp_mask=…"; before 2.6.19 "oom-killer: gfp_mask=…".
    b"oom-killer: ",
    // "oom-kill:constraint=…", since 5.0.
    b"oom-kill:",
    // "Out of memory: …", "Memory cgroup out of memory: …", "Out of memory and no killable processes...", panics.
    b"ut of memory",
    // "Out of Memory: Killed process 1324 (apache).", before 2.6.20.
    b"ut of Memory",
    // "No available memory (MPOL_BIND): kill process …", until 2.6.35.
    b"No available memory",
    // "Killed process 1 (x) total-vm:…", by itself from 2.6.36 to 5.2.
    b"illed process ",
    // "Task in /x killed as a result of limit of /y", before 4.19.
    b"Task in ",
    // The beginning of what the next names, where that comes in pieces.
    b"Tasks in ",
    // "Tasks in /x are going to be killed due to memory.oom.group set".
    b"memory.oom.group",
    // "oom_reaper: reaped process …".
    b"oom_reaper: ",
    // "Kernel panic - not syncing: System is deadlocked on memory".
    b"deadlocked on memory",
    // "sysrq: Manual OOM execution".
    b"Manual OOM execution",
    // "x: page allocation failure: order:4, …".
    b"page allocation failure",
    // "cgroup: fork rejected by pids controller in /x".
    b"fork rejected by pids controller",
    // The banner: a boot, and the kernel's release.
    b"Linux version ",
    // What is left of a report whose beginning is lost: "Mem-Info:", before 2.6.37 "Mem-info:", and its sums.
    b"Mem-Info:",
    b"Mem-info:",
    b"ctive_anon:",
    b"Active:",
    // What a memory cgroup has.
    b"Memory cgroup stats for ",
    b"memory: usage ",
    // The head of its table: "Tasks state (memory values in pages):", "[  pid  ]   uid  tgid total_vm …".
    b"Tasks state ",
    b"tgid total_vm",
    // journalctl's "-- Boot 0123… --".
    b"-- Boot ",
    // A journal's messages as arrays of numbers: only a look tells what they say.
    b"\"MESSAGE\":[",
    b"\"MESSAGE\": [",
    b"\"MESSAGE\" : [",
];
/// Bytes that are searched at once: what comes before the first find is never searched again.
pub(super) struct Needles(Search);

enum Search {
    /// With SIMD.
    Packed(packed::Searcher),
    /// Without, where the processor has none.
    Plain(AhoCorasick),
}

impl Needles {
    /// `None`: no search can be made, and everything has to be looked at.
    pub(super) fn new() -> Option<Self> {
        let packed = packed::Searcher::new(WORDS).map(Search::Packed);
        packed.or_else(|| AhoCorasick::new(WORDS).ok().map(Search::Plain)).map(Self)
    }

    /// Where the first word begins.
    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        match &self.0 {
            Search::Packed(searcher) => searcher.find(text).map(|found| found.start()),
            Search::Plain(searcher) => searcher.find(text).map(|found| found.start()),
        }
    }
}
