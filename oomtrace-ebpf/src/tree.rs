//! Whether a task is one of the command's own that `oomtrace run` runs. That is decided at the event by who its ancestors are:
//! oomtrace is the parent of whoever loses its own, so that none gets away from it.

use oomtrace_ebpf::whose;

use crate::read::{constant, get, into};

/// Ancestors that are looked at. A shell in a terminal has some ten; a process that has more ends up as [`whose::UNKNOWN`].
const LEVELS: u32 = 64;
/// The process id of init, whose parent is the idle task, which has 0 and is its own.
const INIT: u32 = 1;

/// A value of [`whose`]. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn whose(task: u64) -> u64 {
    // A constant to the verifier.
    let run = constant!(PARAMS.run_tgid);
    if run == 0 {
        return u64::from(whose::UNKNOWN);
    }
    let mut process = get!(task, task_group_leader);
    // oomtrace itself is neither: a test's bystanders are others.
    if get!(process, task_tgid as u32) == run {
        return u64::from(whose::UNKNOWN);
    }
    for _ in 0..LEVELS {
        // The parent may be any thread of its process.
        process = get!(get!(process, task_real_parent), task_group_leader);
        let mut tgid = 0_u32;
        if into(&raw mut tgid, process, constant!(LAYOUT.task_tgid)) == 0 {
            break;
        }
        if tgid == run {
            return u64::from(whose::OWN);
        }
        if tgid <= INIT {
            return u64::from(whose::BYSTANDER);
        }
    }
    u64::from(whose::UNKNOWN)
}
