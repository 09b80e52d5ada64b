//! The victim: who was killed, and who was merely marked while exiting by itself.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    macros::{fentry, kprobe, map, raw_tracepoint},
    maps::LruHashMap,
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use aya_log_ebpf::debug;
use oomtrace_ebpf::{MIRROR, Mark, RecordKind, chain, recent, task as known};

use crate::{
    cmdline, collateral, daemon, kin, memcg, mm,
    read::{forget, get},
    relief,
    ring::{Wake, emit},
    run::{self, now},
    stall,
    task::{self, current, current_tid},
    zone,
};

/// The kill that a thread made last, where no hook tells that it runs the OOM killer. Threads that are not the
/// OOM killer's leave entries here too (a dying PID namespace, hwpoison): they are overwritten in time.
#[map]
static KILLING: LruHashMap<u32, Kill> = LruHashMap::with_max_entries(recent::KILLING.holds, 0);

#[derive(Clone, Copy)]
#[repr(C)]
struct Kill {
    task: u64,
    /// When. 0: its mark has come.
    boot_ns: u64,
    /// Records of it that were made so far, …
    index: u32,
    /// … and of these, what found no room.
    lost: u32,
}

/// `SEND_SIG_PRIV` (include/linux/signal.h): a signal from the kernel itself.
pub const SEND_SIG_PRIV: u64 = 1;
/// `PF_EXITING` (include/linux/sched.h).
pub const PF_EXITING: u32 = 4;
pub const SIGKILL: u32 = 9;
pub const SIGTERM: u32 = 15;

/// A kill of `task` begins in the context of the current thread: it is marked next, if it is not exiting.
#[inline(always)]
fn killing(task: u64) {
    if let Some(run) = run::current() {
        // Two hooks tell of the same kill for as long as one stands in for the other.
        if run.killing != task {
            run.killing = task;
            run.kills += 1;
            // It may end before it is marked.
            relief::expect(task);
        }
        return;
    }
    let _ = KILLING.insert(current_tid(), Kill { task, boot_ns: now(), index: 0, lost: 0 }, 0);
}

/// The same where no hook shows the decision: now is the last moment at which the victim's memory is not yet back, so what
/// the zones have is sent.
#[inline(always)]
fn killing_undecided(task: u64) {
    let boot_ns = now();
    let mut kill = Kill { task, boot_ns, index: 0, lost: 0 };
    if let Some(short) = stall::shortage()
        && run::begin(boot_ns, task)
    {
        zone::send_zones_from(short.zoneref, short.gfp_mask);
        if let Some(run) = run::current() {
            (kill.index, kill.lost) = (run.index, run.lost);
        }
        run::end();
    }
    let _ = KILLING.insert(current_tid(), kill, 0);
}

/// Whether two tasks are threads of one process.
#[inline(always)]
pub fn same_process(one: u64, other: u64) -> bool {
    let signal = get!(one, task_signal);
    signal != 0 && signal == get!(other, task_signal)
}

/// `task` was marked: `mark_oom_victim()` set its `oom_mm`.
#[inline(always)]
fn marked(task: u64) {
    let decided = run::current().is_some();
    if !decided {
        undecided(task);
        cmdline::send_own(Wake::Later.flags());
        kin::send_kin(current(), 0);
    }
    kin::send_kin(task, current());
    let css = task::memory_css(task);
    let own = if decided { 0 } else { task::memory_css(current()) };
    if own != css && own != 0 {
        memcg::send_chain(own, u64::from(chain::TRIGGER));
    }
    let mut killed = 0;
    let mut sent = 0;
    if let Some(run) = run::current() {
        run.marks += 1;
        // The thread that is marked may be another of the same process: find_lock_task_mm().
        killed = u64::from(run.killing == task || same_process(run.killing, task));
        sent = run.sent;
        run.sent = css;
    }
    if css != sent && css != 0 {
        memcg::send_chain(css, u64::from(chain::VICTIM));
    }
    let before = stall::take();
    let rounds = u64::from(before.rounds) | u64::from(before.unseen) << 32;
    send_mark(task, killed | u64::from(before.kind) << 32, before.memcg_id, before.spent_ns, rounds);
    if !decided {
        run::end();
    }
}

/// A run of the OOM killer that begins with its mark, or with the kill just before: no hook tells of a decision, or
/// none was made, since a task that is exiting by itself asked for memory.
#[inline(always)]
fn undecided(task: u64) {
    let tid = current_tid();
    let mut opened_ns = now();
    let mut killing = 0;
    let mut sent = (0, 0);
    if let Some(kill) = KILLING.get_ptr_mut(tid) {
        // SAFETY: a map's element may be reused but never unmapped; a reused one holds another task.
        let kill = unsafe { &mut *kill };
        if kill.boot_ns != 0 && (kill.task == task || same_process(kill.task, task)) {
            killing = task;
            opened_ns = kill.boot_ns;
            sent = (kill.index, kill.lost);
        }
        kill.boot_ns = 0;
    }
    run::begin(opened_ns, killing);
    if let Some(run) = run::current() {
        (run.index, run.lost) = sent;
    }
}

/// A global function, which takes five numbers at the most: two of them are two, the first in the lower half. What leads
/// to these branches, and the verifier would walk all that is read here once for each way.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_mark(
    task: u64,
    killed_kind: u64,
    memcg_id: u64,
    stall_ns: u64,
    rounds_unseen: u64,
) -> u64 {
    emit(RecordKind::Mark, Wake::Now, |record: &mut Mark| {
        task::read(&mut record.trigger, current());
        task::read(&mut record.victim, task);
        mm::read(&mut record.mm, task::mm(task));
        record.killed = killed_kind as u32;
        record.reclaim = (killed_kind >> 32) as u32;
        record.reclaim_memcg_id = memcg_id;
        record.stall_ns = stall_ns;
        record.stall_rounds = rounds_unseen as u32;
        record.stall_unseen = (rounds_unseen >> 32) as u32;
    });
    0
}

/// `mark_oom_victim(struct task_struct *tsk)` was entered: it marks a task once, and a process's address space
/// once, but is called more often.
#[inline(always)]
fn about_to_mark(task: u64) {
    if get!(get!(task, task_signal), signal_oom_mm) == 0 {
        marked(task);
    }
}

/// The task that `mark_victim(struct task_struct *task, uid_t uid)` is about, or `(int pid)` on older kernels, which is a
/// thread id. Which of the two shows in the value: no thread id reaches `PID_MAX_LIMIT` (include/linux/threads.h), no
/// pointer is below it. 0: it cannot be found.
#[inline(always)]
pub fn marked_task(victim: u64) -> u64 {
    const PID_MAX_LIMIT: u64 = 4 << 20;
    if victim > PID_MAX_LIMIT { victim } else { by_tid(victim as u32) }
}

/// A task was marked: see [`marked_task`].
///
/// Userspace runs it too, with [`MIRROR`], to be shown itself as if it were a victim.
#[raw_tracepoint(tracepoint = "mark_victim")]
fn victim_raw_tp(ctx: RawTracePointContext) -> i32 {
    let victim = ctx.arg::<u64>(0);
    let task = if victim == MIRROR {
        cmdline::send_environment(Wake::Later.flags());
        current()
    } else {
        marked_task(victim)
    };
    if task != 0 {
        marked(task);
    } else {
        unidentified(victim as u32);
    }
    0
}

/// The task of that thread id can only be the current one, or the one that was just killed. 0: neither.
#[inline(always)]
fn by_tid(victim: u32) -> u64 {
    let tid = current_tid();
    if tid == victim {
        return current();
    }
    let killing = match run::current() {
        Some(run) => run.killing,
        None => match KILLING.get_ptr(tid) {
            // SAFETY: a map's element may be reused but never unmapped.
            Some(kill) => unsafe { (*kill).task },
            None => 0,
        },
    };
    if killing != 0 && get!(killing, task_pid as u32) == victim { killing } else { 0 }
}

/// A victim of which only the thread id is known. The rest is absent, and userspace says so.
#[inline(always)]
fn unidentified(victim: u32) {
    let decided = run::current().is_some();
    if !decided {
        run::begin(now(), 0);
    }
    emit(RecordKind::Mark, Wake::Now, |record: &mut Mark| {
        task::read(&mut record.trigger, current());
        record.victim.tid = victim;
        record.victim.present = known::TID;
    });
    if !decided {
        run::end();
    }
}

#[fentry]
fn victim_fentry(ctx: FEntryContext) -> i32 {
    // Global functions take numbers: to the verifier a trampoline's argument is a pointer.
    about_to_mark(forget(ctx.arg(0)));
    0
}

#[kprobe]
fn victim_kprobe(ctx: ProbeContext) -> u32 {
    if let Some(task) = ctx.arg(0) {
        about_to_mark(task);
    }
    0
}

/// `__oom_kill_process(struct task_struct *victim, const char *message)` was entered.
#[fentry]
fn killed_fentry(ctx: FEntryContext) -> i32 {
    debug!(&ctx, "__oom_kill_process() by {}", current_tid());
    // As above.
    killing(forget(ctx.arg(0)));
    0
}

#[kprobe]
fn killed_kprobe(ctx: ProbeContext) -> u32 {
    debug!(&ctx, "__oom_kill_process() by {}", current_tid());
    if let Some(task) = ctx.arg(0) {
        killing(task);
    }
    0
}

/// `signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)`:
/// every signal passes here, so all but the kernel's own SIGKILL leave at once.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn killed_raw_tp(ctx: RawTracePointContext) -> i32 {
    if sigkill(&ctx) {
        debug!(&ctx, "SIGKILL from the kernel by {}", current_tid());
        killing(ctx.arg(2));
    }
    0
}

/// The same where no hook shows the decision: the victim may take the signal before it is marked, and is looked out for
/// from here on. A thread that is exiting itself is not the OOM killer's; and who dies with a victim is none.
///
/// And it may be one that a daemon sends.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn signalled_raw_tp(ctx: RawTracePointContext) -> i32 {
    if let Some(task) = ends(&ctx) {
        signalled(task);
    }
    0
}

/// A global function: what every signal takes is then a few instructions, and no register or stack to be saved for the rest.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn signalled(task: u64) -> u64 {
    if collateral::struck(task) != 0 {
        return 0;
    }
    // The log does without one.
    let ctx = RawTracePointContext::new(ptr::null_mut());
    debug!(&ctx, "SIGKILL from the kernel by {}", current_tid());
    if run::current().is_some() || get!(current(), task_flags as u32) & PF_EXITING != 0 {
        killing(task);
    } else {
        killing_undecided(task);
        relief::expect(task);
    }
    0
}

/// The number of the signal that a tracepoint of signals is about.
///
/// The first argument is an int, in the lower half of a word; from the whole word it would take two instructions more, which
/// every signal pays.
#[inline(always)]
pub fn signal(ctx: &RawTracePointContext) -> u32 {
    // SAFETY: the kernel lets a program read parts of its arguments, and there is a first one.
    unsafe { ptr::read_volatile(ctx.as_ptr().cast::<u32>()) }
}

/// Who gets the kernel's own SIGKILL by the `signal_generate` with these arguments. What others send to end a process is told, if
/// it is to be.
#[inline(always)]
pub fn ends(ctx: &RawTracePointContext) -> Option<u64> {
    let signal = signal(ctx);
    if signal != SIGKILL && signal != SIGTERM {
        return None;
    }
    let (info, task) = (ctx.arg(1), ctx.arg(2));
    if signal == SIGKILL && info == SEND_SIG_PRIV {
        return Some(task);
    }
    daemon::sent(task, signal.into(), info, ctx.arg(4));
    None
}

/// Whether it is the kernel's own SIGKILL.
#[inline(always)]
fn sigkill(ctx: &RawTracePointContext) -> bool {
    signal(ctx) == SIGKILL && ctx.arg::<u64>(1) == SEND_SIG_PRIV
}
