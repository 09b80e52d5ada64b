//! A run of the OOM killer: what the headers of its records say, and what its hooks tell each other. The kernel has
//! one at a time (`oom_lock`), each in the context of the trigger.

use aya_ebpf::{helpers::generated::bpf_ktime_get_boot_ns, macros::map, maps::HashMap};

use crate::task::current_tid;

/// The runs under way, by the trigger's thread id. There is one at a time, so this never fills.
#[map]
static RUNS: HashMap<u32, Run> = HashMap::with_max_entries(64, 0);

/// See the module.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Run {
    /// When it was first seen. `CLOCK_BOOTTIME`, ns.
    pub opened_ns: u64,
    /// The task that `__oom_kill_process()` was last called for.
    pub killing: u64,
    /// The css whose chain was sent as the victim's.
    pub sent: u64,
    /// Records made so far.
    pub index: u32,
    /// Of these, what found no room.
    pub lost: u32,
    /// Calls of `__oom_kill_process()`.
    pub kills: u32,
    /// Tasks marked.
    pub marks: u32,
}

/// Begins a run of the current thread. `false` if there is no room, which would take as many threads that began one
/// and never came back.
#[inline(always)]
pub fn begin(opened_ns: u64, killing: u64) -> bool {
    let run = Run { opened_ns, killing, sent: 0, index: 0, lost: 0, kills: 0, marks: 0 };
    RUNS.insert(current_tid(), run, 0).is_ok()
}

/// The current thread's run.
#[inline(always)]
pub fn current<'a>() -> Option<&'a mut Run> {
    // SAFETY: the entry is this thread's own, only this thread removes it, and a removed one stays mapped.
    unsafe { RUNS.get_ptr_mut(current_tid()).map(|run| &mut *run) }
}

/// Ends the current thread's run.
#[inline(always)]
pub fn end() {
    let _ = RUNS.remove(current_tid());
}

/// Nanoseconds since boot, suspended time included.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    unsafe { bpf_ktime_get_boot_ns() }
}
