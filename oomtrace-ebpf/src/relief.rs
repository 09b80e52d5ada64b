//! The relief: when a victim has ended, and when its memory is free again.
//!
//! Every exit and every exec passes here. While no victim is expected to end, they leave at the first look.

use aya_ebpf::{
    helpers::generated::bpf_jiffies64,
    macros::{fexit, map, raw_tracepoint},
    maps::{Array, LruHashMap},
    programs::{FExitContext, RawTracePointContext},
};
use oomtrace_ebpf::{RELIEF_PATIENCE_NS, RecordKind, Relief, recent, relief};

use crate::{
    cmdline,
    read::{constant, forget, get, into},
    ring::{Wake, apart, send},
    run::now,
    task::{self, current},
    victim,
};

/// Victims that are expected to end, by their address space. That stays theirs for as long as there is anything of the
/// process (`signal_struct.oom_mm` holds it).
#[map]
static DYING: LruHashMap<u64, Dying> = LruHashMap::with_max_entries(recent::DYING.holds, 0);

/// How long any victim may be expected to end, at the least, in ticks of the kernel's clock: there are 1000 in a second at
/// the most (`CONFIG_HZ`).
const PATIENCE_TICKS: u64 = RELIEF_PATIENCE_NS / 1_000_000;

/// Until when any is expected to, in ticks of the kernel's clock, which takes one instruction to read; 0: there was none
/// yet.
#[map]
static EXPECTED_UNTIL: Array<u64> = Array::with_max_entries(1, 0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Dying {
    /// Until when it is expected to end.
    until_ns: u64,
    /// When it began: with the process id, what names it.
    start_boot_ns: u64,
    pid: u32,
    /// What has happened (bits of [`relief`], and [`CMDLINE`]).
    seen: u32,
}

/// Its command line and its environment have been sent.
const CMDLINE: u32 = 1 << 31;

/// `task` is going to be killed, or was marked. A global function: the verifier walks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn expect(task: u64) -> u64 {
    let mm = task::mm(task);
    let start_boot_ns = get!(get!(task, task_group_leader), task_start_boottime);
    // From its kill, and it may have ended since; or this one shares its memory. Another process that had the same memory
    // before is none of it.
    if let Some(known) = DYING.get_ptr(mm) {
        // SAFETY: a map's element may be reused but never unmapped; a reused one is another process's.
        let known = unsafe { &*known };
        // Whom a daemon asked to end may have stayed.
        let same = known.start_boot_ns == start_boot_ns || known.seen & relief::FREED == 0;
        if same && now() <= known.until_ns {
            return 0;
        }
    }
    let until_ns = now() + RELIEF_PATIENCE_NS;
    let mut seen = 0;
    if mm == get!(current(), task_mm) {
        // A trigger has told its own command line before.
        seen = CMDLINE;
        cmdline::send_environment(Wake::Later.flags());
    }
    let dying = Dying { until_ns, start_boot_ns, pid: get!(task, task_tgid as u32), seen };
    // If there is no room, the least recent one makes it: a victim whose end is not seen is told as that.
    let _ = DYING.insert(mm, dying, 0);
    if let Some(until) = EXPECTED_UNTIL.get_ptr_mut(0) {
        // SAFETY: an element lives as long as its map; a later time may be overwritten by one that is as good as equal.
        // The helper takes no argument and cannot fail.
        unsafe { *until = bpf_jiffies64() + PATIENCE_TICKS };
    }
    0
}

/// Who had an address space when it was killed or marked.
#[derive(Clone, Copy)]
pub struct Victim {
    pub pid: u32,
    pub start_boot_ns: u64,
    /// Whether its memory is free: then the address space may be another's by now.
    pub freed: bool,
}

/// The victim with this address space, if one was expected to end at `boot_ns`.
#[inline(always)]
pub fn victim_of(mm: u64, boot_ns: u64) -> Option<Victim> {
    let dying = DYING.get_ptr(mm)?;
    // SAFETY: a map's element may be reused but never unmapped; a reused one is another victim's.
    let dying = unsafe { &*dying };
    let freed = dying.seen & relief::FREED != 0;
    let victim = Victim { pid: dying.pid, start_boot_ns: dying.start_boot_ns, freed };
    (boot_ns <= dying.until_ns).then_some(victim)
}

/// The time, if a victim is expected to end; else 0.
#[inline(always)]
pub fn expected() -> u64 {
    let Some(until) = EXPECTED_UNTIL.get_ptr(0) else { return 0 };
    // SAFETY: an element lives as long as its map and is aligned to 8. The helper takes no argument and cannot fail.
    let (until, ticks) = unsafe { (*until, bpf_jiffies64()) };
    if ticks < until { now() } else { 0 }
}

/// Something happened to an address space, and this may be a victim's.
#[inline(always)]
fn happened(boot_ns: u64, mm: u64, what: u32) {
    let Some(dying) = DYING.get_ptr_mut(mm) else { return };
    // SAFETY: a map's element may be reused but never unmapped; a reused one is another victim's.
    let dying = unsafe { &mut *dying };
    // After that long the address space may be another's.
    if dying.seen & what != 0 || boot_ns > dying.until_ns {
        return;
    }
    dying.seen |= what;
    let (pid, start_boot_ns) = (dying.pid, dying.start_boot_ns);
    tell(boot_ns, |record| {
        record.what = what;
        record.pid = pid;
        record.start_boot_ns = start_boot_ns;
    });
}

/// Sends a record that belongs to no run of the OOM killer.
#[inline(always)]
fn tell(boot_ns: u64, fill: impl FnOnce(&mut Relief)) {
    let header = apart(RecordKind::Relief, size_of::<Relief>(), boot_ns);
    send(RecordKind::Relief, header, Wake::Now, fill);
}

/// Whether a number is there, and is 0.
#[inline(always)]
fn is_zero(base: u64, offset: u64) -> bool {
    let mut number = u32::MAX;
    into(&raw mut number, base, offset) == 1 && number == 0
}

/// The address space of the victim whose last thread is this, else 0.
#[inline(always)]
fn last_thread(task: u64) -> u64 {
    let signal = get!(task, task_signal);
    if is_zero(signal, constant!(LAYOUT.signal_live)) { get!(signal, signal_oom_mm) } else { 0 }
}

/// The current task, which may be a victim, is about to die, its memory at hand for the last time; of SIGTERM it need not. A global
/// function: what every signal takes is then a few instructions, and no register or stack to be saved for the rest.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn dies() -> u64 {
    let boot_ns = expected();
    if boot_ns == 0 {
        return 0;
    }
    let Some(dying) = DYING.get_ptr_mut(get!(current(), task_mm)) else { return 0 };
    // SAFETY: a map's element may be reused but never unmapped; a reused one is another victim's.
    let dying = unsafe { &mut *dying };
    if dying.seen & CMDLINE == 0 && boot_ns <= dying.until_ns {
        dying.seen |= CMDLINE;
        cmdline::send_environment(Wake::Later.flags());
        cmdline::send_own(Wake::Now.flags());
    }
    0
}

/// `signal_deliver(int sig, …)`: every signal passes here as its task takes it, so all but SIGKILL and SIGTERM, with which daemons
/// end processes, leave at once.
#[raw_tracepoint(tracepoint = "signal_deliver")]
fn dies_raw_tp(ctx: RawTracePointContext) -> i32 {
    let signal = victim::signal(&ctx);
    if signal == victim::SIGKILL || signal == victim::SIGTERM {
        dies();
    }
    0
}

/// `mark_victim(…)`: see [`victim::marked_task`].
#[raw_tracepoint(tracepoint = "mark_victim")]
fn expected_raw_tp(ctx: RawTracePointContext) -> i32 {
    let task = victim::marked_task(ctx.arg(0));
    if task != 0 {
        expect(task);
    }
    0
}

/// `sched_process_exit(struct task_struct *p, …)`: do_exit() has counted this thread off.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn exited_raw_tp(ctx: RawTracePointContext) -> i32 {
    let boot_ns = expected();
    if boot_ns != 0 {
        let mm = last_thread(ctx.arg(0));
        if mm != 0 {
            happened(boot_ns, mm, relief::EXITED);
        }
    }
    0
}

/// The same where nothing shows `exit_mmap()`: up to 6.15 the thread has let go of its memory by then (`exit_mm()`).
#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn exited_and_freed_raw_tp(ctx: RawTracePointContext) -> i32 {
    let boot_ns = expected();
    if boot_ns != 0 {
        let mm = last_thread(ctx.arg(0));
        if mm != 0 {
            if is_zero(mm, constant!(LAYOUT.mm_users)) {
                happened(boot_ns, mm, relief::FREED);
            }
            happened(boot_ns, mm, relief::EXITED);
        }
    }
    0
}

/// `exit_mmap(struct mm_struct *mm)`, at its end.
#[raw_tracepoint(tracepoint = "exit_mmap")]
fn freed_raw_tp(ctx: RawTracePointContext) -> i32 {
    let boot_ns = expected();
    if boot_ns != 0 {
        happened(boot_ns, ctx.arg(0), relief::FREED);
    }
    0
}

/// `void exit_mmap(struct mm_struct *mm)` returned.
#[fexit]
fn freed_fexit(ctx: FExitContext) -> i32 {
    let boot_ns = expected();
    if boot_ns != 0 {
        // To the verifier a trampoline's argument is a pointer.
        happened(boot_ns, forget(ctx.arg(0)), relief::FREED);
    }
    0
}

/// `finish_task_reaping(int pid)`: the OOM reaper, a thread of the kernel's, has done its work.
#[raw_tracepoint(tracepoint = "finish_task_reaping")]
fn reaped_raw_tp(ctx: RawTracePointContext) -> i32 {
    tell(now(), |record| {
        record.what = relief::REAPED;
        record.tid = ctx.arg(0);
    });
    0
}
