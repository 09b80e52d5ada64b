//! Who runs where while a delay is measured.
//!
//! A kernel writes "Killed process …" to its console right behind the mark, which takes a serial one some
//! milliseconds, in which nobody else runs on that processor (`PREEMPT_NONE`). That is the kernel's time and
//! not a tool's. So the victims are kept to the first processor, and who reads a tool's lines to the last,
//! before all others: what is measured is when a line can be read, not when the measurement gets round to it.
//! The tools run wherever the kernel has them run.

use std::thread::available_parallelism;

use rustix::process::nice;
use rustix::thread::{CpuSet, sched_setaffinity};

/// For a victim; safe in a forked child.
pub fn on_first_cpu() {
    on(0);
}

/// For the thread that reads.
pub fn first_in_line_on_last_cpu() {
    on(available_parallelism().map_or(1, usize::from) - 1);
    let _in_turn_without = nice(-20);
}

/// Where that is not allowed, the kernel decides.
fn on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _anywhere = sched_setaffinity(None, &set);
}
